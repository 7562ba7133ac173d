"""Photographs: decoding of every kind of file, faces and their landmarks."""

import io
import math
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image, ImageCms, ImageDraw

from datamodules.photos import Detection, FaceDetector, crop_quad, decode_photo, list_photos, read_landmarks
from models.face_crops import quads_from_landmarks
from renderers.errors import InputError
from tests.photo_pictures import bomb, decibels, five_points, linear_profile, smooth_photo, square


def test_orientation_is_applied(tmp_path: Path) -> None:
    upright = Image.new("RGB", (40, 24), "white")
    ImageDraw.Draw(upright).rectangle((0, 0, 9, 9), fill="red")
    stored = {
        1: upright,
        2: upright.transpose(Image.Transpose.FLIP_LEFT_RIGHT),
        3: upright.transpose(Image.Transpose.ROTATE_180),
        4: upright.transpose(Image.Transpose.FLIP_TOP_BOTTOM),
        5: upright.transpose(Image.Transpose.TRANSPOSE),
        6: upright.transpose(Image.Transpose.ROTATE_90),
        7: upright.transpose(Image.Transpose.TRANSVERSE),
        8: upright.transpose(Image.Transpose.ROTATE_270),
    }
    for orientation, image in stored.items():
        for suffix in ("jpg", "png", "tif"):
            exif = Image.Exif()
            exif[0x0112] = orientation
            path = tmp_path / f"{orientation}.{suffix}"
            image.save(path, exif=exif, **({"quality": 98} if suffix == "jpg" else {}))
            got = decode_photo(path).image
            assert got.size == upright.size
            assert decibels(got, upright) > 25, (orientation, suffix)


@pytest.mark.parametrize("mode", ["RGB", "RGBA", "L", "LA", "P", "1", "CMYK", "I;16", "F", "YCbCr"])
def test_every_mode_becomes_rgb(tmp_path: Path, mode: str) -> None:
    grey = np.linspace(20, 235, 64).repeat(48).reshape(64, 48).T.astype(np.uint8)
    if mode == "I;16":
        image = Image.fromarray(grey.astype(np.uint16) * 257)
    elif mode == "F":
        image = Image.fromarray(grey.astype(np.float32) / 255)
    elif mode == "P":
        image = Image.fromarray(grey).convert("RGB").quantize(128)
    else:
        image = Image.fromarray(grey).convert("RGB").convert(mode)
    path = tmp_path / ("photo.tif" if mode in ("F", "CMYK", "YCbCr", "I;16") else "photo.png")
    image.save(path)
    got = decode_photo(path).image
    assert got.mode == "RGB" and got.size == (64, 48)
    if mode == "1":
        assert abs(np.asarray(got).mean() - grey.mean()) < 10
    else:
        assert decibels(got, Image.fromarray(grey).convert("RGB")) > 30


def test_sixteen_bit_png_keeps_its_greys(tmp_path: Path) -> None:
    values = np.linspace(0, 65535, 256).astype(np.uint16)[None].repeat(4, 0)
    Image.fromarray(values).save(tmp_path / "grey.png")
    got = np.asarray(decode_photo(tmp_path / "grey.png").image)[0, :, 0]
    assert np.abs(got.astype(int) - np.arange(256)).max() <= 1


def test_transparency_shows_white(tmp_path: Path) -> None:
    image = Image.new("RGBA", (8, 8), (255, 0, 0, 0))
    image.putpixel((0, 0), (255, 0, 0, 255))
    image.save(tmp_path / "rgba.png")
    image.convert("RGB").quantize(4).save(tmp_path / "palette.png", transparency=0)
    # Modes without alpha whose file declares one colour transparent.
    for mode in ("RGB", "L", "1"):
        plain = Image.new(mode, (8, 8), 0)
        plain.putpixel((0, 0), {"RGB": (9, 9, 9), "L": 9, "1": 255}[mode])
        plain.save(tmp_path / f"{mode}.png", transparency=(0, 0, 0) if mode == "RGB" else 0)
        pixel = decode_photo(tmp_path / f"{mode}.png").image.getpixel
        assert pixel((5, 5)) == (255, 255, 255) and pixel((0, 0)) == ((255,) * 3 if mode == "1" else (9, 9, 9))
    # Of 16 bits, 2570 is transparent, and 2571 is the same grey of 8 bits.
    sixteen = np.full((8, 8), 2570, np.uint16)
    sixteen[0, 0] = 2571
    Image.fromarray(sixteen).save(tmp_path / "sixteen.png", transparency=2570)
    pixel = decode_photo(tmp_path / "sixteen.png").image.getpixel
    assert pixel((5, 5)) == (255, 255, 255) and pixel((0, 0)) == (10, 10, 10)
    got = decode_photo(tmp_path / "rgba.png").image
    assert got.getpixel((0, 0)) == (255, 0, 0) and got.getpixel((5, 5)) == (255, 255, 255)
    assert decode_photo(tmp_path / "palette.png").image.getpixel((5, 5)) == (255, 255, 255)


def test_colour_profiles(tmp_path: Path) -> None:
    image = Image.new("RGB", (8, 8), (200, 40, 90))
    srgb = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    for name, profile in {"same": srgb, "broken": b"no profile", "cut": srgb[:200]}.items():
        image.save(tmp_path / f"{name}.png", icc_profile=profile)
        assert decode_photo(tmp_path / f"{name}.png").image.getpixel((3, 3)) == (200, 40, 90)


def test_colours_of_another_profile_become_srgb(tmp_path: Path) -> None:
    """A profile of sRGB's primaries with values proportional to light: IEC 61966-2-1 says what sRGB's are."""
    values = (200, 40, 90)
    Image.new("RGB", (8, 8), values).save(tmp_path / "linear.png", icc_profile=linear_profile())
    expected = [255 * (1.055 * (value / 255) ** (1 / 2.4) - 0.055) for value in values]
    got = decode_photo(tmp_path / "linear.png").image.getpixel((3, 3))
    np.testing.assert_allclose(got, expected, atol=1.5)
    # One that describes another kind of picture is left alone.
    Image.new("L", (8, 8), 90).save(tmp_path / "grey.png", icc_profile=linear_profile())
    assert decode_photo(tmp_path / "grey.png").image.getpixel((3, 3)) == (90, 90, 90)


def test_first_frame_of_an_animation(tmp_path: Path) -> None:
    frames = [Image.new("RGB", (30, 20), colour) for colour in ("red", "blue")]
    for suffix in ("gif", "webp", "png", "tif"):
        path = tmp_path / f"animation.{suffix}"
        frames[0].save(path, save_all=True, append_images=frames[1:])
        red, _, blue = decode_photo(path).image.getpixel((10, 10))
        assert red > 240 and blue < 10


def test_bad_files_are_named_in_one_line(tmp_path: Path) -> None:
    whole = io.BytesIO()
    smooth_photo(200, 200).save(whole, "JPEG")
    bad = {
        "bomb.png": bomb(),
        "cut.jpg": whole.getvalue()[:2000],
        "empty.jpg": b"",
        "text.png": b"no picture",
        "script.jpg": b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 10 10\nshowpage\n",
    }
    for name, content in bad.items():
        (tmp_path / name).write_bytes(content)
        with pytest.raises(InputError, match=name) as error:
            decode_photo(tmp_path / name)
        assert "\n" not in str(error.value)
    with pytest.raises(InputError, match="million pixels"):
        decode_photo(tmp_path / "bomb.png")
    with pytest.raises(InputError, match="another format"):
        decode_photo(tmp_path / "script.jpg")
    with pytest.raises(InputError, match="nowhere"):
        decode_photo(tmp_path / "nowhere.jpg")
    (tmp_path / "whole.jpg").write_bytes(whole.getvalue())
    with pytest.raises(InputError, match="200x200"):
        decode_photo(tmp_path / "whole.jpg", max_pixels=39_999)
    assert decode_photo(tmp_path / "whole.jpg", max_pixels=40_000).image.size == (200, 200)


def test_photos_of_one_stem_get_names_of_their_own(tmp_path: Path) -> None:
    out = tmp_path / "out"
    names = [
        "a.jpg",
        "b/a.jpg",
        "c/a.jpg",
        "c/A.png",
        "c/a.jpg.png",
        "c/notes.txt",
        ".hidden/x.jpg",
        "._a.jpg",
        "out/a_0.png",
    ]
    for name in names:
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(b"")
    found = list_photos(tmp_path, out)
    assert {name: path.relative_to(tmp_path).as_posix() for name, path in found.items()} == {
        "a": "a.jpg",
        "b/a": "b/a.jpg",
        "c/a.jpg": "c/a.jpg",
        "c/A.png": "c/A.png",
        "c/a.jpg.png": "c/a.jpg.png",
    }
    assert list_photos(tmp_path / "a.jpg") == {"a": tmp_path / "a.jpg"}
    with pytest.raises(InputError, match="does not hold the photos"):
        list_photos(out / "..", tmp_path)
    with pytest.raises(InputError, match="does not hold the photos"):
        list_photos(tmp_path / "b", tmp_path)
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match="found none"):
        list_photos(tmp_path / "empty", out)
    with pytest.raises(InputError, match="nothing at"):
        list_photos(tmp_path / "missing")


def test_landmarks_are_read_upright_and_returned_to_the_photo() -> None:
    photo = Image.new("RGB", (400, 300), "black")
    quads = [square((200, 150), 120, 50), square((30, 40), 90, -120)]
    faces = []
    for quad in quads:
        points = five_points(quad)
        # A white dot at the nose: the network below returns the brightest place 68 times.
        x, y = points[2].tolist()
        ImageDraw.Draw(photo).ellipse((x - 3, y - 3, x + 3, y + 3), fill="white")
        faces.append(Detection(torch.zeros(4), 1.0, points.float()))
    seen = []

    def brightest(images: torch.Tensor) -> torch.Tensor:
        seen.append(images)
        weights = (images.mean(1) + 1).flatten(1)
        place = torch.stack(torch.meshgrid(*[torch.arange(images.shape[-1]) + 0.5] * 2, indexing="xy"), -1).flatten(
            0, 1
        )
        return ((weights @ place) / weights.sum(1, keepdim=True))[:, None].expand(-1, 68, 2)

    landmarks = read_landmarks(brightest, [photo, photo], faces)
    assert landmarks.shape == (2, 68, 2) and seen[0].shape == (2, 3, 256, 256)
    for face, found in zip(faces, landmarks, strict=True):
        assert float((found - face.points[2]).abs().max()) < 0.7
    assert read_landmarks(brightest, [], []).shape == (0, 68, 2)


@pytest.mark.parametrize("centre", [(20, 150), (200, 15), (385, 150), (200, 290), (10, 10), (395, 295)])
def test_landmark_network_sees_black_outside_the_photo(centre: tuple[int, int]) -> None:
    photo = Image.new("RGB", (400, 300), "white")
    # Not turned, so that the crop's pixels inside and outside the photo are known.
    quad = square(centre, 120)
    seen = []

    def network(images: torch.Tensor) -> torch.Tensor:
        seen.append(images)
        return torch.zeros(len(images), 68, 2)

    landmarks = read_landmarks(network, [photo], [Detection(torch.zeros(4), 1.0, five_points(quad).float())])
    recipe = quads_from_landmarks(five_points(quad)[None])[0]
    torch.testing.assert_close(landmarks[0, 0].double(), recipe[0], atol=0.01, rtol=0)
    share = (torch.arange(256, dtype=torch.float64) + 0.5) / 256
    x = recipe[0, 0] + share * (recipe[3, 0] - recipe[0, 0])
    y = recipe[0, 1] + share * (recipe[1, 1] - recipe[0, 1])
    depth = torch.minimum(torch.minimum(x, 400 - x)[None], torch.minimum(y, 300 - y)[:, None])
    crop = seen[0][0].mean(0)
    assert float(crop[depth < -1.5].max()) < -0.99 and float(crop[depth > 1.5].min()) > 0.99


def test_detector_keeps_certain_and_large_faces() -> None:
    detector = FaceDetector(detection_size=200, smallest_face=30, min_confidence=0.8)

    class Found:
        min_face_size = 0

        def detect(self, images: list[Image.Image], landmarks: bool) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
            assert landmarks and len({image.size for image in images}) == 1
            # Object arrays, as facenet-pytorch returns them.
            boxes = np.array([[0, 0, 20, 20], [50, 50, 90, 100], [100, 10, 110, 20], [0, 0, 50, 50]], dtype=object)
            sure = np.array([0.99, 0.95, 0.99, 0.5], dtype=object)
            return np.array([boxes, None], dtype=object)[:1], np.array([sure]), np.zeros((1, 4, 5, 2), dtype=object)

    detector.mtcnn = Found()  # type: ignore[assignment]
    (faces,) = detector.detect([Image.new("RGB", (400, 300))])
    assert [face.confidence for face in faces] == pytest.approx([0.95, 0.99])
    torch.testing.assert_close(faces[0].box, torch.tensor([100.0, 100, 180, 200]))
    assert faces[0].area == 8000 and detector.mtcnn.min_face_size == 20


def test_detector_on_pictures_without_faces_and_of_any_size() -> None:
    detector = FaceDetector()
    sizes = [(1, 1), (300, 8), (19, 19), (20, 20), (64, 64), (64, 64), (3000, 30)]
    assert detector.detect([smooth_photo(*size) for size in sizes]) == [[] for _ in sizes]
    assert detector.detect([]) == []
    for options in ({"detection_size": 10}, {"smallest_face": 0}, {"min_confidence": 1.5}):
        with pytest.raises(InputError):
            FaceDetector(**options)  # type: ignore[arg-type]


def test_astronaut_is_found_however_turned() -> None:
    data = pytest.importorskip("skimage.data", reason="scikit-image, whose picture this is, is not installed")
    photo = Image.fromarray(data.astronaut())
    turned = photo.rotate(25, Image.Resampling.BICUBIC)
    (faces, faces_turned) = FaceDetector().detect([photo, turned])
    quad = quads_from_landmarks(faces[0].points[None].double())[0]
    assert 160 < float(quad[3, 0] - quad[0, 0]) < 260
    np.testing.assert_allclose(quad.mean(0), [222, 118], atol=12)
    sides = [points[3] - points[0] for points in (quad, quads_from_landmarks(faces_turned[0].points[None].double())[0])]
    angles = [math.degrees(math.atan2(float(side[1]), float(side[0]))) for side in sides]
    assert angles[0] - angles[1] == pytest.approx(25, abs=5)
    crops = [crop_quad(image, square((quad.mean(0)[0], quad.mean(0)[1]), 200), 128).image for image in (photo, photo)]
    assert decibels(*crops) > 80


def test_aligned_photos_are_reproduced(shared: Path) -> None:
    photos = sorted((shared / "data" / "portraits").glob("aligned_1024_*.jpg"))
    if not photos:
        pytest.skip("no aligned portraits in the shared data")
    images = [decode_photo(path).image for path in photos]
    found = FaceDetector().detect(images)
    quads = quads_from_landmarks(torch.stack([faces[0].points for faces in found]).double())
    ideal = torch.tensor([[0.0, 0], [0, 1024], [1024, 1024], [1024, 0]], dtype=torch.float64)
    errors = (quads - ideal).norm(dim=-1)
    assert float(errors.mean()) < 25 and float(errors.max()) < 45
