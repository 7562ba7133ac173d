"""Pictures of faces from several sources: which one a sample is of, and what is refused."""

from pathlib import Path
from typing import Any

import pytest
import torch

from datamodules.counter_random import sample_keys, uniform
from datamodules.face_pictures import FacePictureDataModule
from datamodules.latent_pairs import PairRecipe
from datamodules.photo_folder import find_photos, read_photo
from models.stylegan2 import load_generator
from renderers.errors import InputError
from tests.photo_files import write_photos
from tests.tiny_stylerig import RESOLUTION, write_networks

SMALL: dict[str, Any] = {
    "image_size": RESOLUTION,
    "batch_size": 4,
    "pictures": 40,
    "portraits": 5,
    "num_val_portraits": 3,
    "num_test_portraits": 4,
    "density": "coarse",
    "supersample": 1,
    "processes": 1,
    "mirror": False,
}


@pytest.fixture(scope="module")
def sources(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """A generator, photos, and where portraits are kept, which all tests share."""
    folder = tmp_path_factory.mktemp("faces")
    write_photos(folder / "photos", count=6, size=20)
    return {"generator": write_networks(folder)["generator"], "photos": str(folder / "photos"), "folder": folder / "portraits"}


def of_all(sources: dict[str, Any], **changes: Any) -> FacePictureDataModule:
    data = FacePictureDataModule(**{**SMALL, **sources, "sample_share": 0.4, "photo_share": 0.3, **changes})
    data.prepare_data()
    return data


def one_source(sources: dict[str, Any], name: str, **changes: Any) -> FacePictureDataModule:
    alone = {"samples": ("generator", 1.0, 0.0), "photos": ("photos", 0.0, 1.0), "portraits": (None, 0.0, 0.0)}[name]
    kept = {key: value for key, value in sources.items() if key in (alone[0], "folder")}
    portraits = SMALL["portraits"] if name == "portraits" else 0
    shares = {"sample_share": alone[1], "photo_share": alone[2], "portraits": portraits}
    data = FacePictureDataModule(**{**SMALL, **kept, **shares, **changes})
    data.prepare_data()
    return data


def holds(pictures: torch.Tensor, picture: torch.Tensor) -> bool:
    """Up to the rounding of batched arithmetic."""
    return bool(((pictures - picture).abs().amax(dim=(1, 2, 3)) < 1e-4).any())


def test_each_picture_is_of_its_own_source_in_about_the_asked_shares(sources: dict[str, Any]) -> None:
    data, indices = of_all(sources), torch.arange(60)
    pictures = data.training_pictures(indices)
    assert pictures.shape == (60, 3, RESOLUTION, RESOLUTION) and pictures.abs().max() <= 1
    samples = data.recipe.pairs(load_generator(sources["generator"]), "train", indices).w
    made = load_generator(sources["generator"]).synthesis(samples, noise="const").clamp(-1, 1)
    photos = torch.stack([read_photo(path, RESOLUTION) for path in find_photos(sources["photos"])]).float() / 127.5 - 1
    portraits = torch.stack([data._dataset("train")[index]["image"] for index in range(5)])
    counts = [0, 0, 0]
    for index, picture in enumerate(pictures):
        found = [holds(made[index : index + 1], picture), holds(photos, picture), holds(portraits, picture)]
        assert sum(found) == 1
        counts[found.index(True)] += 1
    # Binomial deviations of 60 draws are 3.8 and 3.5.
    assert abs(counts[0] - 24) < 11 and abs(counts[1] - 18) < 11 and min(counts) > 0


def test_a_picture_follows_from_its_index_alone(sources: dict[str, Any]) -> None:
    data, indices = of_all(sources), torch.arange(12)
    whole = data.training_pictures(indices)
    order = torch.randperm(12, generator=torch.Generator().manual_seed(0))
    parts = torch.cat([of_all(sources).training_pictures(part) for part in indices[order].split(5)])
    torch.testing.assert_close(parts, whole[order], rtol=0, atol=1e-4)
    assert not torch.allclose(of_all(sources, seed=1).training_pictures(indices), whole, atol=1e-3)


@pytest.mark.parametrize("name", ["samples", "photos", "portraits"])
def test_one_source_is_enough(sources: dict[str, Any], name: str) -> None:
    data = one_source(sources, name)
    pictures = data.training_pictures(torch.arange(6))
    assert pictures.shape == (6, 3, RESOLUTION, RESOLUTION) and len(pictures.flatten(1).unique(dim=0)) > 1
    assert ("train" in data.specs) == (name == "portraits")


def test_half_of_the_pictures_are_mirrored(sources: dict[str, Any]) -> None:
    plain = one_source(sources, "samples").training_pictures(torch.arange(40))
    mirrored = one_source(sources, "samples", mirror=True).training_pictures(torch.arange(40))
    same = (mirrored - plain).abs().amax(dim=(1, 2, 3)) < 1e-6
    torch.testing.assert_close(mirrored[~same], plain[~same].flip(-1))
    assert torch.equal(same, uniform(sample_keys(0, 3, torch.arange(40)), 3)[:, 2] >= 0.5) and 10 < int(same.sum()) < 30


def test_samples_are_mixed_as_latent_pairs_are(sources: dict[str, Any]) -> None:
    data = one_source(sources, "samples", max_latents=2, truncation=0.5, seed=3)
    generator = load_generator(sources["generator"])
    codes = PairRecipe(3, 2, 0.5).pairs(generator, "train", torch.arange(3)).w
    torch.testing.assert_close(data.training_pictures(torch.arange(3)), generator.synthesis(codes).clamp(-1, 1))


def test_portraits_to_measure_on_have_their_truth_and_are_of_other_people(sources: dict[str, Any]) -> None:
    data = of_all(sources)
    people = []
    for loader, count in ((data.val_dataloader(), 3), (data.test_dataloader(), 4)):
        batches = list(loader)
        assert sum(len(batch["image"]) for batch in batches) == count
        assert all({"parameters", "landmarks"} <= batch.keys() for batch in batches)
        assert data.on_after_batch_transfer(batches[0], 0) is batches[0]
        people.append({int(person) for batch in batches for person in batch["person"]})
    training = {int(data._dataset("train")[index]["person"]) for index in range(5)}
    assert not people[0] & people[1] and not training & (people[0] | people[1])
    assert set(data.on_after_batch_transfer(torch.arange(2), 0)) == {"image"}


@pytest.mark.parametrize(
    ("changes", "match"),
    [
        ({"sample_share": 0.8}, "add up to at most 1"),
        ({"photo_share": -0.1}, "add up to at most 1"),
        ({"generator": None}, "expected generator where their share is above 0"),
        ({"photos": None}, "expected photos"),
        ({"portraits": 0}, "expected portraits"),
        ({"photo_share": 0.0}, "got a share of 0;"),
        ({"image_size": 8}, "image_size of 16 as the generator's, got 8"),
        ({"batch_size": 0}, "a batch of 1 or more"),
        ({"pictures": 3}, "as many pictures"),
    ],
)
def test_what_cannot_be_is_refused(sources: dict[str, Any], changes: dict[str, Any], match: str) -> None:
    with pytest.raises(InputError, match=match):
        of_all(sources, **changes)


def test_photos_that_are_too_small_are_refused_before_anything_is_trained(tmp_path: Path, sources: dict[str, Any]) -> None:
    write_photos(tmp_path / "small", count=2, size=8)
    with pytest.raises(InputError, match="16"):
        of_all(sources, photos=str(tmp_path / "small"))
