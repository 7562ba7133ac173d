"""FFHQ's oriented crop: its geometry, its pixels, and pasting an edit back."""

import math

import numpy as np
import pytest
import torch
from PIL import Image
from scipy.ndimage import gaussian_filter

from datamodules.photos import FaceTransform, crop_quad, paste_back
from models.face_crops import crop_to_photo, ffhq_quads, photo_to_crop, quads_from_landmarks, sample_quads
from renderers.errors import InputError
from tests.photo_pictures import decibels, smooth_photo, square, transform_of


def official_quad(left: np.ndarray, right: np.ndarray, mouth: np.ndarray) -> np.ndarray:
    """As FFHQ's `recreate_aligned_images` writes it."""
    eye_avg = (left + right) * 0.5
    eye_to_eye = right - left
    eye_to_mouth = mouth - eye_avg
    x = eye_to_eye - np.flipud(eye_to_mouth) * [-1, 1]
    x /= np.hypot(*x)
    x *= max(np.hypot(*eye_to_eye) * 2.0, np.hypot(*eye_to_mouth) * 1.8)
    y = np.flipud(x) * [-1, 1]
    c = eye_avg + eye_to_mouth * 0.1
    return np.stack([c - x - y, c - x + y, c + x + y, c + x - y])


def random_faces(count: int) -> torch.Tensor:
    """68 landmarks each, spread as no face is: the recipe must not mind."""
    return torch.randn(count, 68, 2, dtype=torch.float64) * 40 + 200


def test_quads_are_the_official_ones() -> None:
    faces = random_faces(9)
    quads = quads_from_landmarks(faces)
    for face, quad in zip(faces.numpy(), quads.numpy(), strict=True):
        mouth = (face[48:60][0] + face[48:60][6]) * 0.5
        np.testing.assert_allclose(quad, official_quad(face[36:42].mean(0), face[42:48].mean(0), mouth), rtol=1e-9)
    five = torch.stack(
        [faces[:, 36:42].mean(1), faces[:, 42:48].mean(1), faces[:, 30], faces[:, 48], faces[:, 54]], dim=1
    )
    torch.testing.assert_close(quads_from_landmarks(five), quads)
    torch.testing.assert_close(quads_from_landmarks(faces[3:4])[0], quads[3])
    assert quads_from_landmarks(faces[:0]).shape == (0, 4, 2)
    with pytest.raises(InputError, match="68 or 5"):
        quads_from_landmarks(faces[:, :66])


def test_an_upright_face_gives_an_upright_square() -> None:
    quad = ffhq_quads(torch.tensor([[90.0, 100]]), torch.tensor([[110.0, 100]]), torch.tensor([[100.0, 120]]))[0]
    torch.testing.assert_close(quad, torch.tensor([[60.0, 62], [60, 142], [140, 142], [140, 62]]))


def test_points_go_there_and_back() -> None:
    quads = quads_from_landmarks(random_faces(5))
    points = torch.rand(5, 7, 2, dtype=torch.float64) * 256
    there = crop_to_photo(points, quads, 256)
    torch.testing.assert_close(photo_to_crop(there, quads, 256), points)
    corners = torch.tensor([[0.0, 0], [0, 256], [256, 256], [256, 0]], dtype=torch.float64).expand(5, 4, 2)
    torch.testing.assert_close(crop_to_photo(corners, quads, 256), quads)


def test_geometry_and_sampling_are_differentiable() -> None:
    landmarks = random_faces(2).div(20).requires_grad_()
    image = torch.rand(2, 1, 14, 12, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(quads_from_landmarks, landmarks)
    assert torch.autograd.gradcheck(
        lambda points: photo_to_crop(points[:, :3], quads_from_landmarks(points), 8), landmarks
    )
    quads = torch.stack([square((6.1, 7.2), 5.3, 20), square((5.7, 6.4), 6.1, -35)]).requires_grad_()
    assert torch.autograd.gradcheck(lambda images, corners: sample_quads(images, corners, 4), (image, quads))


@pytest.mark.parametrize("side,degrees", [(90, 0), (140, 30), (260, -75), (50, 170)])
def test_torch_and_pillow_cut_the_same_crop(side: float, degrees: float) -> None:
    photo = smooth_photo(480, 440)
    quad = square((231.3, 215.8), side, degrees)
    crop = crop_quad(photo, quad, 64)
    assert crop.padding == (0, 0, 0, 0)
    pixels = torch.from_numpy(np.array(photo)).permute(2, 0, 1)[None].double()
    sampled = sample_quads(pixels, quad[None], 64)[0].permute(1, 2, 0)
    assert decibels(sampled.numpy(), crop.image) > 40


def official_crop(image: Image.Image, quad: np.ndarray, size: int) -> Image.Image:
    """FFHQ's `recreate_aligned_images`, from its quad on, for quads in continuous pixels (there +0.5 makes them so)."""
    qsize = np.hypot(*(quad[3] - quad[0]))
    quad = quad.copy()
    shrink = int(np.floor(qsize / size * 0.5))
    if shrink > 1:
        image = image.resize((round(image.width / shrink), round(image.height / shrink)), Image.Resampling.LANCZOS)
        quad /= shrink
        qsize /= shrink
    border = max(int(np.rint(qsize * 0.1)), 3)
    low, high = np.floor(quad.min(0)).astype(int), np.ceil(quad.max(0)).astype(int)
    crop = (max(low[0] - border, 0), max(low[1] - border, 0))
    crop += (min(high[0] + border, image.width), min(high[1] + border, image.height))
    image = image.crop(crop)
    quad -= crop[:2]
    low, high = np.floor(quad.min(0)).astype(int), np.ceil(quad.max(0)).astype(int)
    pad = [max(-low[0] + border, 0), max(-low[1] + border, 0)]
    pad += [max(high[0] - image.width + border, 0), max(high[1] - image.height + border, 0)]
    if max(pad) > border - 4:
        pad = np.maximum(pad, int(np.rint(qsize * 0.3)))
        img = np.pad(np.float32(image), ((pad[1], pad[3]), (pad[0], pad[2]), (0, 0)), "reflect")
        h, w, _ = img.shape
        y, x, _ = np.ogrid[:h, :w, :1]
        mask = np.maximum(
            1.0 - np.minimum(np.float32(x) / pad[0], np.float32(w - 1 - x) / pad[2]),
            1.0 - np.minimum(np.float32(y) / pad[1], np.float32(h - 1 - y) / pad[3]),
        )
        blur = qsize * 0.02
        img += (gaussian_filter(img, [blur, blur, 0]) - img) * np.clip(mask * 3.0 + 1.0, 0.0, 1.0)
        img += (np.median(img, axis=(0, 1)) - img) * np.clip(mask, 0.0, 1.0)
        image = Image.fromarray(np.uint8(np.clip(np.rint(img), 0, 255)))
        quad += pad[:2]
    image = image.transform(
        (4 * size, 4 * size), Image.Transform.QUAD, quad.flatten().tolist(), Image.Resampling.BILINEAR
    )
    return image.resize((size, size), Image.Resampling.LANCZOS)


@pytest.mark.parametrize(
    "centre,side,degrees,padded",
    [
        ((300, 200), 130, 10, False),
        ((300, 200), 60, -40, False),
        ((300, 200), 320, 3, False),
        ((40, 60), 200, 0, True),
        ((560, 380), 300, 25, True),
        ((300, 200), 700, -8, True),
    ],
)
def test_crop_is_the_official_one(centre: tuple[float, float], side: float, degrees: float, padded: bool) -> None:
    photo = smooth_photo(600, 400)
    quad = square(centre, side, degrees)
    crop = crop_quad(photo, quad, 64)
    assert crop.image.size == (64, 64) and crop.image.mode == "RGB"
    assert any(crop.padding) == padded
    assert decibels(crop.image, official_crop(photo, quad.numpy(), 64)) > 36


def test_crop_has_no_aliasing() -> None:
    checks = np.indices((512, 512)).sum(0) % 2 * 255
    photo = Image.fromarray(checks.astype(np.uint8)).convert("RGB")
    crop = np.asarray(crop_quad(photo, square((256, 256), 400), 50).image).astype(float)
    assert abs(crop.mean() - 127.5) < 2 and crop.std() < 3


def test_crop_of_a_tiny_photo_and_bad_quads() -> None:
    photo = smooth_photo(5, 1)
    assert crop_quad(photo, square((2, 0.5), 8), 64).image.size == (64, 64)
    for quad in (square((2, 1), 0.2), square((500, 500), 20), square((2, math.nan), 4)):
        with pytest.raises(InputError, match="expected a face"):
            crop_quad(photo, quad, 64)


@pytest.mark.parametrize("side,degrees", [(128, 0), (170, 33), (60, -20), (250, 100)])
def test_pasting_the_untouched_crop_changes_nothing_visible(side: float, degrees: float) -> None:
    photo = smooth_photo(420, 380)
    crop, transform = transform_of(photo, square((203.7, 190.2), side, degrees), 128)
    back = paste_back(photo, crop, transform)
    inside = np.asarray(photo) != np.asarray(back)
    assert back.size == photo.size and decibels(photo, back) > 48
    assert inside.any()
    assert paste_back(photo, crop, transform, keep_detail=True).tobytes() == photo.tobytes()


def test_an_edit_lands_where_it_was_made() -> None:
    photo = smooth_photo(420, 380)
    crop, transform = transform_of(photo, square((203.7, 190.2), 200, 37), 256)
    dot = torch.tensor([[100.5, 150.5]])
    rows, columns = np.indices((256, 256)) + 0.5
    bump = np.exp(-((columns - 100.5) ** 2 + (rows - 150.5) ** 2) / 2 / 8**2)
    # Nothing saturates: the photo's colours end at 228.
    edited = Image.fromarray((np.asarray(crop) + 25 * bump[..., None]).round().astype(np.uint8))
    unedited = np.asarray(paste_back(photo, crop, transform)).astype(float)
    for keep_detail in (False, True):
        before = np.asarray(photo).astype(float) if keep_detail else unedited
        change = (np.asarray(paste_back(photo, edited, transform, keep_detail=keep_detail)) - before).sum(-1)
        rows, columns = np.indices(change.shape) + 0.5
        centre = np.array([(columns * change).sum(), (rows * change).sum()]) / change.sum()
        assert np.abs(centre - transform.to_photo(dot)[0].numpy()).max() < 0.1
    torch.testing.assert_close(transform.to_crop(transform.to_photo(dot)), dot.double())


def test_padding_is_never_pasted() -> None:
    photo = smooth_photo(300, 260)
    # Fine detail, so that blur would show.
    noisy = np.asarray(photo).astype(int) + np.random.default_rng(0).integers(-40, 40, (260, 300, 3))
    photo = Image.fromarray(noisy.clip(0, 255).astype(np.uint8))
    crop, transform = transform_of(photo, square((40, 50), 160), 160)
    assert transform.padding[0] > 0
    back = paste_back(photo, crop, transform)
    assert decibels(photo, back) > 30
    plain = FaceTransform(
        "crop.png", 160, transform.quad, (0.0, 0.0, 0.0, 0.0), photo.size, 1.0, transform.points, None
    )
    assert decibels(photo, back) > decibels(photo, paste_back(photo, crop, plain)) + 1
    edge = np.asarray(back)[:, 0].astype(int) - np.asarray(photo)[:, 0]
    assert np.abs(edge).max() <= 20


def test_mask_feather_and_other_sizes() -> None:
    photo = smooth_photo(300, 300)
    white = Image.new("RGB", (512, 512), "white")
    _, transform = transform_of(photo, square((150, 150), 100), 64)
    hard = np.asarray(paste_back(photo, white, transform, feather=0.0))
    assert (hard[100:200, 100:200] == 255).all() and (hard[:100] == np.asarray(photo)[:100]).all()
    soft = np.asarray(paste_back(photo, white, transform, feather=0.2))
    assert (soft[121:179, 121:179] == 255).all() and (soft[100, 100] == np.asarray(photo)[100, 100]).all()
    half = np.zeros((32, 32))
    half[:, 16:] = 1
    masked = np.asarray(paste_back(photo, white, transform, mask=half, feather=0.0))
    assert (masked[100:200, 160:200] == 255).all() and (masked[100:200, :140] == np.asarray(photo)[100:200, :140]).all()
    outside = square((-500, -500), 50)
    away = FaceTransform("crop.png", 64, outside.tolist(), (0.0,) * 4, photo.size, 1.0, transform.points, None)  # type: ignore[arg-type]
    assert paste_back(photo, white, away).tobytes() == photo.tobytes()


def test_pasting_refuses_what_does_not_fit() -> None:
    photo = smooth_photo(300, 300)
    crop, transform = transform_of(photo, square((150, 150), 100), 64)
    with pytest.raises(InputError, match="upright RGB photo"):
        paste_back(photo.resize((150, 300)), crop, transform)
    with pytest.raises(InputError, match="square edited crop"):
        paste_back(photo, crop.crop((0, 0, 64, 32)), transform)
    with pytest.raises(InputError, match="feather"):
        paste_back(photo, crop, transform, feather=0.7)
    with pytest.raises(InputError, match="mask"):
        paste_back(photo, crop, transform, mask=np.full((4, 4), 2.0))
