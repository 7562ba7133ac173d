"""Synthetic portraits with their truth as batches for training."""

from pathlib import Path
from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from datamodules.loading import ResumableDataModule, ResumableLoader, batch_as_is
from datamodules.portraits.corpus import CorpusSpec, PortraitCorpus, corpus_folder, render_corpus
from models.landmark_order import MIRRORED_LANDMARKS
from models.morphable.procedural import Density
from renderers.errors import InputError

# People of the splits, far apart so that no split ever grows into another.
_FIRST_PERSON = {"train": 0, "val": 1 << 26, "test": 1 << 27}
Split = Literal["train", "val", "test"]


def split_spec(
    split: Split, image_size: int, size: int, samples_per_person: int, seed: int, density: Density, supersample: int
) -> CorpusSpec:
    """The portraits of a split: people of different splits are different people."""
    return CorpusSpec(image_size, size, samples_per_person, seed, _FIRST_PERSON[split], density, supersample)


class PortraitDataset(Dataset[dict[str, Tensor]]):
    """Rows of a corpus as dictionaries: image float [-1, 1] (3, H, W), latent, parameters (packed), landmarks (68, 2)
    pixels, mask (1, H, W), person.

    Args:
        flip: mirror a random half of the pictures. A mirrored face has other, unknown coefficients, so batches then carry
            neither latent nor parameters.
    """

    def __init__(self, corpus: PortraitCorpus, flip: bool = False) -> None:
        self.corpus, self.flip = corpus, flip

    def __len__(self) -> int:
        return len(self.corpus)

    def __getitem__(self, index: int) -> dict[str, Tensor]:
        return {name: value[0] for name, value in self.__getitems__([index]).items()}

    def __getitems__(self, indices: list[int]) -> dict[str, Tensor]:
        """A whole batch at once."""
        batch = self.corpus.rows(torch.tensor(indices, dtype=torch.int64))
        batch["image"] = batch["image"].float() / 127.5 - 1
        if not self.flip:
            return batch
        del batch["latent"], batch["parameters"]
        mirror = torch.rand(len(indices)) < 0.5
        batch["image"] = torch.where(mirror[:, None, None, None], batch["image"].flip(-1), batch["image"])
        batch["mask"] = torch.where(mirror[:, None, None, None], batch["mask"].flip(-1), batch["mask"])
        flipped = mirror_landmarks(batch["landmarks"], batch["image"].shape[-1])
        batch["landmarks"] = torch.where(mirror[:, None, None], flipped, batch["landmarks"])
        return batch


def mirror_landmarks(landmarks: Float[Tensor, "batch 68 2"], width: int) -> Float[Tensor, "batch 68 2"]:
    """The 68 landmarks (pixels) of the picture mirrored left to right."""
    mirrored = landmarks[:, list(MIRRORED_LANDMARKS)].clone()
    mirrored[..., 0] = width - mirrored[..., 0]
    return mirrored


class SyntheticPortraitDataModule(ResumableDataModule):
    """Renders portraits once, keeps them on disk, and serves them.

    Batches are dictionaries, see `PortraitDataset`. People of training, validation and test are different people. The order of
    training pictures follows from the seed and the number of the pass; ranks share them out without overlap, and a resumed run
    goes on with the next ones.

    Args:
        image_size: height and width in pixels.
        num_samples: pictures for training.
        num_val_samples: pictures for validation.
        num_test_samples: pictures for test.
        samples_per_person: consecutive pictures that show one person.
        batch_size: pictures per batch and rank.
        seed: of the portraits and of their order in training.
        density: of the head's mesh.
        supersample: rays per pixel and axis.
        folder: where rendered portraits are kept; by default $LATENTRIG_CACHE, else ~/.cache/latentrig.
        in_memory: read the pictures at once instead of from disk.
        flip: mirror a random half of the training pictures, drawn from the process's random stream: a resumed run goes on with the
            same pictures, mirrored otherwise.
        processes: that render side by side.
        num_workers: of the loaders; with pictures in memory none is fastest.
    """

    def __init__(
        self,
        image_size: int = 64,
        num_samples: int = 20000,
        num_val_samples: int = 512,
        num_test_samples: int = 1000,
        samples_per_person: int = 1,
        batch_size: int = 32,
        seed: int = 0,
        density: Density = "medium",
        supersample: int = 2,
        folder: Path | None = None,
        in_memory: bool = True,
        flip: bool = False,
        processes: int = 2,
        num_workers: int = 0,
    ) -> None:
        super().__init__()
        if batch_size < 1:
            raise InputError(f"expected a batch size of at least 1, got {batch_size}: raise it")
        sizes: dict[Split, int] = {"train": num_samples, "val": num_val_samples, "test": num_test_samples}
        self.specs = {
            split: split_spec(split, image_size, size, samples_per_person, seed, density, supersample)
            for split, size in sizes.items()
        }
        self.batch_size, self.folder, self.in_memory, self.flip = batch_size, folder, in_memory, flip
        self.processes, self.num_workers, self.seed = processes, num_workers, seed
        self._datasets: dict[Split, PortraitDataset] = {}

    def prepare_data(self) -> None:
        """Render what is missing of all splits."""
        for spec in self.specs.values():
            render_corpus(spec, corpus_folder(spec, self.folder), self.processes)

    def dataset(self, split: Split) -> PortraitDataset:
        """The pictures of a split; rendered already."""
        if split not in self._datasets:
            spec = self.specs[split]
            corpus = PortraitCorpus(spec, corpus_folder(spec, self.folder), self.in_memory)
            self._datasets[split] = PortraitDataset(corpus, flip=self.flip and split == "train")
        return self._datasets[split]

    def train_dataloader(self) -> ResumableLoader:
        sampler = self.rank_sampler(len(self.dataset("train")), drop_uneven=True, shuffle_seed=self.seed)
        loader = ResumableLoader(self.dataset("train"), sampler, self.batch_size, self.num_workers, batch_as_is)
        return self.resumable(loader)

    def val_dataloader(self) -> DataLoader[dict[str, Tensor]]:
        return self._evaluation_loader("val")

    def test_dataloader(self) -> DataLoader[dict[str, Tensor]]:
        return self._evaluation_loader("test")

    def predict_dataloader(self) -> DataLoader[dict[str, Tensor]]:
        return self._evaluation_loader("test")

    def measured_loader(self, count: int | None, batch_size: int) -> DataLoader[dict[str, Tensor]]:
        """The first `count` training portraits, or all, in their order and not mirrored, shared out to the ranks."""
        dataset = PortraitDataset(self.dataset("train").corpus)
        portraits = len(dataset) if count is None else min(count, len(dataset))
        return DataLoader(
            dataset,
            batch_size=batch_size,
            sampler=self.rank_sampler(portraits, drop_uneven=False),
            num_workers=self.num_workers,
            collate_fn=batch_as_is,
            # Every pass draws a number for its workers, otherwise from the stream that training draws from.
            generator=torch.Generator(),
        )

    def _evaluation_loader(self, split: Split) -> DataLoader[dict[str, Tensor]]:
        return DataLoader(
            self.dataset(split),
            batch_size=self.batch_size,
            sampler=self.rank_sampler(len(self.dataset(split)), drop_uneven=False),
            num_workers=self.num_workers,
            collate_fn=batch_as_is,
            persistent_workers=self.num_workers > 0,
        )
