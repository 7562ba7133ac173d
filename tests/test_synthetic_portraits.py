"""Synthetic portraits as training data: cached, resumed, repaired, split by people."""

from pathlib import Path

import pytest
import torch

from datamodules.portraits.corpus import (
    CorpusSpec,
    PortraitCorpus,
    corpus_folder,
    render_corpus,
    shard_path,
)
from datamodules.synthetic_portraits import (
    PortraitDataset,
    SyntheticPortraitDataModule,
    mirror_landmarks,
)
from models.landmark_order import MIRRORED_LANDMARKS
from renderers.errors import InputError

SPEC = CorpusSpec(
    image_size=16, num_samples=5, samples_per_person=2, seed=1, density="coarse", supersample=1, shard_size=2
)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = corpus_folder(SPEC, tmp_path_factory.mktemp("portraits"))
    render_corpus(SPEC, path)
    return path


def test_rows_from_memory_and_from_disk_agree(folder: Path) -> None:
    index = torch.tensor([4, 0, 3])
    memory = PortraitCorpus(SPEC, folder, in_memory=True).rows(index)
    disk = PortraitCorpus(SPEC, folder, in_memory=False).rows(index)
    assert memory.keys() == disk.keys()
    assert all(torch.equal(memory[name], disk[name]) for name in memory)
    assert memory["image"].dtype == torch.uint8
    assert memory["person"].tolist() == [2, 0, 1]


def test_finished_shards_are_kept(folder: Path) -> None:
    before = shard_path(folder, SPEC, 0).stat().st_mtime_ns
    render_corpus(SPEC, folder)
    assert shard_path(folder, SPEC, 0).stat().st_mtime_ns == before


@pytest.mark.parametrize("damage", ["truncated", "missing"])
def test_damaged_shards_are_noticed_and_drawn_again(folder: Path, damage: str) -> None:
    path = shard_path(folder, SPEC, 1)
    whole = PortraitCorpus(SPEC, folder).rows(torch.arange(5))
    if damage == "truncated":
        path.write_bytes(path.read_bytes()[:-10])
    else:
        path.unlink()
    with pytest.raises(InputError, match="render the corpus again"):
        PortraitCorpus(SPEC, folder)
    render_corpus(SPEC, folder)
    again = PortraitCorpus(SPEC, folder).rows(torch.arange(5))
    assert torch.equal(whole["image"], again["image"])
    assert not list(folder.glob("*.part"))


def test_sample_does_not_depend_on_shards(folder: Path, tmp_path: Path) -> None:
    other = CorpusSpec(
        image_size=16, num_samples=3, samples_per_person=2, seed=1, density="coarse", supersample=1, shard_size=3
    )
    render_corpus(other, tmp_path)
    first = PortraitCorpus(SPEC, folder).rows(torch.arange(3))
    second = PortraitCorpus(other, tmp_path).rows(torch.arange(3))
    assert torch.equal(first["latent"], second["latent"])
    assert torch.allclose(first["parameters"], second["parameters"], atol=1e-5)
    # A pixel on an edge may change hands where a matrix product rounds differently.
    assert ((first["image"].int() - second["image"].int()).abs() > 4).float().mean() < 0.01


def test_data_module_serves_dictionaries(tmp_path: Path) -> None:
    data = SyntheticPortraitDataModule(
        image_size=16,
        num_samples=4,
        num_val_samples=2,
        num_test_samples=2,
        batch_size=2,
        density="coarse",
        supersample=1,
        folder=tmp_path,
        processes=1,
    )
    data.prepare_data()
    batch = next(iter(data.train_dataloader()))
    assert batch["image"].shape == (2, 3, 16, 16) and batch["image"].abs().max() <= 1
    assert batch["parameters"].shape == (2, 257)
    assert data.state_dict() == {"pass": 0, "seen": 2}
    people = [
        set(data.dataset(split).corpus.rows(torch.arange(2))["person"].tolist()) for split in ("train", "val", "test")
    ]
    assert not (people[0] & people[1] or people[1] & people[2] or people[0] & people[2])
    assert data.dataset("val")[1]["landmarks"].shape == (68, 2)


def test_mirroring() -> None:
    landmarks = torch.rand(2, 68, 2) * 16
    assert sorted(MIRRORED_LANDMARKS) == list(range(68))
    assert torch.allclose(mirror_landmarks(mirror_landmarks(landmarks, 16), 16), landmarks)
    assert torch.allclose(mirror_landmarks(landmarks, 16)[:, 36, 0], 16 - landmarks[:, 45, 0])


def test_flipped_batches_carry_no_coefficients(folder: Path) -> None:
    plain = PortraitDataset(PortraitCorpus(SPEC, folder))
    flipped = PortraitDataset(PortraitCorpus(SPEC, folder), flip=True)
    torch.manual_seed(0)
    batch = flipped.__getitems__(list(range(5)))
    assert "parameters" not in batch and "latent" not in batch
    reference = plain.__getitems__(list(range(5)))["image"]
    same = (batch["image"] == reference).flatten(1).all(1)
    mirrored = (batch["image"] == reference.flip(-1)).flatten(1).all(1)
    assert (same | mirrored).all() and mirrored.any() and same.any()


def test_bad_options_are_refused() -> None:
    with pytest.raises(InputError, match="image_size"):
        CorpusSpec(image_size=0)
    with pytest.raises(InputError, match="batch size"):
        SyntheticPortraitDataModule(batch_size=0)


def test_measured_portraits_are_in_order_and_not_mirrored(tmp_path: Path) -> None:
    sizes = {"num_samples": 6, "num_val_samples": 1, "num_test_samples": 1}
    data = SyntheticPortraitDataModule(
        16, **sizes, batch_size=2, density="coarse", supersample=1, folder=tmp_path, flip=True, processes=1
    )
    data.prepare_data()
    state = torch.get_rng_state()
    pictures = torch.cat([batch["image"] for batch in data.measured_loader(5, 2)])
    assert torch.equal(torch.get_rng_state(), state)
    rows = data.dataset("train").corpus.rows(torch.arange(5))
    assert torch.equal(pictures, rows["image"].float() / 127.5 - 1)
