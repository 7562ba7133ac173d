"""Portraits to embed: photos that are screened and cut out, synthetic ones with their truth, and samples of the generator."""

import json
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from datamodules.latent_pairs import PairRecipe
from datamodules.photos import Detection, FaceDetector, FaceTransform, crop_quad, decode_photo
from datamodules.photos.contact_sheet import CONTACT_SHEET
from datamodules.photos.records import read_transform
from datamodules.portrait_sources import FIRST_SAMPLE, PreparedPortrait, RefusedPortrait, prepare_portraits
from datamodules.portraits import PortraitSampler
from models.face_crops import quads_from_landmarks
from models.observers import LandmarkNet, save_observer
from models.stylegan2 import Generator
from renderers.errors import InputError
from tests.photo_pictures import bomb, decibels, five_points, smooth_photo, square

SIZE = 16
RECIPE = PairRecipe(3)


@pytest.fixture(scope="module")
def generator() -> Generator:
    torch.manual_seed(0)
    return Generator([8, 8, 8], z_dim=10, w_dim=12, mapping_layers=2).eval().requires_grad_(False)


@pytest.fixture
def detector(monkeypatch: pytest.MonkeyPatch) -> None:
    """In place of MTCNN, which sees no face in painted waves: one in the middle, two in wide photos, none where a corner is black."""

    def detect(self: FaceDetector, photos: Sequence[Image.Image]) -> list[list[Detection]]:
        found: list[list[Detection]] = []
        for photo in photos:
            if photo.getpixel((0, 0)) == (255, 0, 255):
                raise RuntimeError("the detector\nstumbled")
            centres = [0.25, 0.75] if photo.width >= 2 * photo.height else [0.5]
            found.append([])
            for share in centres if photo.getpixel((0, 0)) != (0, 0, 0) else []:
                points = five_points(square((photo.width * share, photo.height * 0.5), photo.height * 0.9, 10)).float()
                margin = photo.height / 8
                found[-1].append(Detection(torch.cat([points.amin(0) - margin, points.amax(0) + margin]), 0.99, points))
        return found

    monkeypatch.setattr(FaceDetector, "detect", detect)


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """A folder of good and bad photos."""
    folder = tmp_path / "photos"
    (folder / "more").mkdir(parents=True)
    smooth_photo(200, 180).save(folder / "one.png")
    smooth_photo(400, 190).save(folder / "two.png")
    smooth_photo(240, 200).convert("L").save(folder / "more" / "one.png")
    smooth_photo(50, 44).save(folder / "small.png")
    Image.new("RGB", (90, 80)).save(folder / "black.png")
    Image.new("RGB", (90, 80), (255, 0, 255)).save(folder / "stumble.png")
    (folder / "bomb.png").write_bytes(bomb())
    (folder / "cut.png").write_bytes((folder / "one.png").read_bytes()[:3000])
    (folder / "text.jpg").write_text("no picture")
    (folder / "notes.txt").write_text("left out")
    return folder


def prepare(
    photos: Path | None,
    generator: Generator,
    portraits: int = 0,
    samples: int = 0,
    aligned: bool = False,
    **options: Any,
) -> tuple[list[PreparedPortrait], list[RefusedPortrait]]:
    return prepare_portraits(photos, aligned, portraits, samples, SIZE, generator, RECIPE, **options)


def test_no_photo_stops_the_others(detector: None, photos: Path, generator: Generator) -> None:
    prepared, refused = prepare(photos, generator)
    assert [portrait.name for portrait in prepared] == ["more-one", "one"]
    assert [portrait.origin["path"] for portrait in prepared] == ["more/one.png", "one.png"]
    assert all(portrait.image.shape == (3, SIZE, SIZE) and portrait.truth is None for portrait in prepared)
    reasons = {portrait.name: portrait.reason for portrait in refused}
    assert list(reasons) == ["black", "bomb", "cut", "small", "stumble", "text", "two"]
    for name, words in {
        "black": "found none",
        "bomb": "million pixels",
        "cut": "truncated",
        "small": "at least 40 px",
        "stumble": "the detector stumbled",
        "text": "another format",
        "two": "found 2",
    }.items():
        assert words in reasons[name] and "\n" not in reasons[name]
    assert {portrait.name: portrait.origin for portrait in refused}["text"] == {"path": "text.jpg"}


def test_portraits_are_ffhq_crops_that_know_their_place(detector: None, photos: Path, generator: Generator) -> None:
    (portrait,) = (each for each in prepare(photos, generator)[0] if each.name == "one")
    transform = read_transform(json.loads(json.dumps(portrait.origin))["transform"], "the portrait")
    photo = decode_photo(photos / "one.png")
    assert portrait.origin["sha256"] == photo.sha256 and transform.photo_size == (200, 180)
    expected = square((100, 90), 162, 10)
    torch.testing.assert_close(transform.quad_tensor, expected, atol=1e-3, rtol=0)
    np.testing.assert_array_equal(
        portrait.image.permute(1, 2, 0), np.array(crop_quad(photo.image, transform.quad_tensor, SIZE).image)
    )
    # The points of the face are where FFHQ has them.
    torch.testing.assert_close(
        torch.tensor(transform.points)[0], torch.tensor([0.375, 0.475]) * SIZE, atol=1e-2, rtol=0
    )
    assert transform.landmarks is None


def test_landmarks_of_a_network_align(detector: None, photos: Path, generator: Generator, tmp_path: Path) -> None:
    network = LandmarkNet(working_size=16, widths=(4, 8, 8), blocks=(1, 1))
    path = save_observer(tmp_path / "landmarks.safetensors", network)
    (portrait,), _ = prepare(photos / "one.png", generator, landmarks=str(path))
    transform = FaceTransform(**portrait.origin["transform"])
    landmarks = torch.tensor(transform.landmarks, dtype=torch.float64)
    again = quads_from_landmarks(transform.to_photo(landmarks)[None])[0]
    torch.testing.assert_close(again, transform.quad_tensor, atol=1e-2, rtol=0)
    (by_points,), _ = prepare(photos / "one.png", generator)
    assert not torch.allclose(transform.quad_tensor, FaceTransform(**by_points.origin["transform"]).quad_tensor, atol=1)


def test_aligned_photos_are_taken_as_they_are(tmp_path: Path, generator: Generator) -> None:
    exact, large = smooth_photo(SIZE, SIZE), smooth_photo(4 * SIZE, 4 * SIZE)
    exact.save(tmp_path / "exact.png")
    large.save(tmp_path / "large.png")
    large.save(tmp_path / CONTACT_SHEET)
    smooth_photo(30, 20).save(tmp_path / "wide.png")
    smooth_photo(8, 8).save(tmp_path / "tiny.png")
    (first, second), refused = prepare(tmp_path, generator, aligned=True)
    assert (first.name, second.name) == ("exact", "large")
    assert first.origin["transform"] is None and first.origin["path"] == "exact.png"
    np.testing.assert_array_equal(first.image.permute(1, 2, 0), np.array(exact))
    assert decibels(second.image.permute(1, 2, 0).numpy(), large.resize((SIZE, SIZE), Image.Resampling.LANCZOS)) > 80
    assert [(each.name, each.reason.split(",")[0]) for each in refused] == [
        ("tiny", f"expected an aligned photo of at least {SIZE} px"),
        ("wide", "expected a square aligned photo"),
    ]


def test_names_are_files_of_their_own(tmp_path: Path, generator: Generator) -> None:
    (tmp_path / "a").mkdir()
    for name in ("a/b.png", "A-B.png", "sample_0000.png", "sample_0001.png", "c.png", "c.jpg"):
        smooth_photo(SIZE, SIZE).save(tmp_path / name)
    prepared, refused = prepare(tmp_path, generator, samples=1, aligned=True)
    names = [portrait.name for portrait in prepared]
    assert len({name.casefold() for name in names}) == len(names) == 5 and not any("/" in name for name in names)
    assert {"c.png", "c.jpg", "sample_0001", "sample_0000"} <= set(names) and prepared[-1].source == "sample"
    assert {each.origin["path"] for each in refused} == {"a/b.png", "sample_0000.png"}
    assert all("rename" in each.reason for each in refused)


def test_synthetic_portraits_are_people_of_the_test_split_with_their_truth(
    tmp_path: Path, generator: Generator
) -> None:
    options: dict[str, Any] = {"folder": tmp_path, "density": "coarse", "supersample": 1, "seed": 5}
    prepared, refused = prepare(None, generator, portraits=3, **options)
    assert [portrait.name for portrait in prepared] == [
        "portrait_0000",
        "portrait_0001",
        "portrait_0002",
    ] and not refused
    assert {portrait.source for portrait in prepared} == {"portrait"}
    sampler = PortraitSampler("coarse")
    person = torch.tensor([portrait.origin["person"] for portrait in prepared])
    shot = torch.tensor([portrait.origin["shot"] for portrait in prepared])
    drawn = sampler.render(sampler.latents(person, shot, 5), SIZE, 1)
    assert int(person.min()) >= 1 << 27
    truth = torch.stack([portrait.truth for portrait in prepared if portrait.truth is not None])
    torch.testing.assert_close(truth, drawn.parameters.pack())
    images = torch.stack([portrait.image for portrait in prepared]).float() / 127.5 - 1
    torch.testing.assert_close(images, drawn.image, atol=1 / 127, rtol=0)
    # Fewer are the first of more.
    (again,), _ = prepare(None, generator, portraits=1, **options)
    assert torch.equal(again.image, prepared[0].image)


def test_samples_are_first_codes_of_far_test_pairs(generator: Generator) -> None:
    prepared, refused = prepare(None, generator, samples=20)
    assert [portrait.name for portrait in prepared][::19] == ["sample_0000", "sample_0019"] and not refused
    index = torch.tensor([portrait.origin["index"] for portrait in prepared])
    assert index.tolist() == list(range(FIRST_SAMPLE, FIRST_SAMPLE + 20))
    recipe = PairRecipe(prepared[0].origin["seed"], prepared[0].origin["max_latents"], prepared[0].origin["truncation"])
    codes = recipe.pairs(generator, "test", index).w
    pictures = generator.synthesis(codes, noise="const").clamp(-1, 1)
    images = torch.stack([portrait.image for portrait in prepared]).float() / 127.5 - 1
    torch.testing.assert_close(images, pictures, atol=1 / 255, rtol=0)


def test_order_and_values_do_not_change(detector: None, photos: Path, generator: Generator, tmp_path: Path) -> None:
    options: dict[str, Any] = {"folder": tmp_path / "cache", "density": "coarse", "supersample": 1}
    runs = [prepare(photos, generator, portraits=1, samples=2, **options) for _ in range(2)]
    names = ["more-one", "one", "portrait_0000", "sample_0000", "sample_0001"]
    assert [[portrait.name for portrait in prepared] for prepared, _ in runs] == [names, names]
    assert all(torch.equal(first.image, second.image) for first, second in zip(runs[0][0], runs[1][0], strict=True))
    assert runs[0][1] == runs[1][1]


def test_errors_of_the_whole(tmp_path: Path, generator: Generator) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match="found none"):
        prepare(tmp_path / "empty", generator)
    with pytest.raises(InputError, match="found nothing"):
        prepare(tmp_path / "missing", generator)
    with pytest.raises(InputError, match="0 or more"):
        prepare(None, generator, portraits=-1)
    with pytest.raises(InputError, match="resolution"):
        prepare_portraits(None, False, 0, 1, 2 * SIZE, generator, RECIPE)
    smooth_photo(SIZE, SIZE).save(tmp_path / "photo.png")
    with pytest.raises(InputError):
        prepare(tmp_path / "photo.png", generator, landmarks=str(tmp_path / "missing.safetensors"))


def test_photographs_of_people_are_aligned(shared: Path, generator: Generator, tmp_path: Path) -> None:
    folder = shared / "data" / "portraits"
    names = ("aligned_1024_01", "aligned_1024_02", "photo_03_two_faces", "photo_14")
    if not all((folder / f"{name}.jpg").is_file() for name in names):
        pytest.skip("no portraits in the shared data")
    for name in names:
        shutil.copy(folder / f"{name}.jpg", tmp_path)
    prepared, refused = prepare_portraits(tmp_path, False, 0, 0, 64, generator, RECIPE)
    assert [each.name for each in refused] == ["photo_03_two_faces"]
    assert [each.name for each in prepared] == ["aligned_1024_01", "aligned_1024_02", "photo_14"]
    ideal = torch.tensor([[0.0, 0], [0, 1024], [1024, 1024], [1024, 0]], dtype=torch.float64)
    for portrait in prepared[:2]:
        # Found again within a few hundredths of the side.
        quad = FaceTransform(**portrait.origin["transform"]).quad_tensor
        assert float((quad - ideal).norm(dim=1).max()) < 0.045 * 1024
        original = decode_photo(tmp_path / portrait.origin["path"]).image.resize((64, 64), Image.Resampling.LANCZOS)
        assert decibels(portrait.image.permute(1, 2, 0).numpy(), original) > 14
