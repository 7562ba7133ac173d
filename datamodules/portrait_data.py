"""A folder of aligned photos as batches for training."""

from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor
from torch.utils.data import DataLoader

from datamodules.loading import ResumableDataModule, ResumableLoader, batch_as_is
from datamodules.photo_folder import PhotoDataset, check_photos, find_photos, split_photos
from renderers.errors import InputError

Split = Literal["train", "val"]


class PortraitDataModule(ResumableDataModule):
    """Serves the photos under a folder, as `lightning align` writes them: square, at any depth.

    Batches are dictionaries with ``image`` (batch, 3, size, size) in [-1, 1]. The order of training photos follows from the seed and
    the number of the pass; ranks share them out without overlap, and a resumed run goes on with the next ones. Larger photos are
    scaled down with antialiasing; smaller or oblong ones are refused at the start by their headers. A photo whose content is damaged is
    found then only where photos are kept in memory, and otherwise when its batch is read.

    Args:
        root: The folder.
        image_size: Height and width in pixels; None for that of the model's generator.
        batch_size: Photos per batch and rank.
        flip: Also show every training photo mirrored: a pass is then twice as long.
        validation_fraction: Which part of the photos is held out for validation and test, chosen by their names.
        seed: Of the order in training.
        cache_gigabytes: Photos are decoded once and kept in memory, on each rank, where they take no more than this.
        num_workers: Processes that decode photos where these are not kept in memory.
    """

    def __init__(
        self,
        root: str,
        image_size: int | None = None,
        batch_size: int = 16,
        flip: bool = False,
        validation_fraction: float = 0.0,
        seed: int = 0,
        cache_gigabytes: float = 4.0,
        num_workers: int = 4,
    ) -> None:
        super().__init__()
        if batch_size < 1 or (image_size is not None and image_size < 1) or num_workers < 0:
            raise InputError(
                f"expected positive sizes, got batch_size {batch_size}, image_size {image_size}, num_workers {num_workers}; raise them"
            )
        self.root = Path(root).expanduser()
        self.batch_size, self.flip, self.validation_fraction = batch_size, flip, validation_fraction
        self.seed, self.cache_gigabytes, self.num_workers = seed, cache_gigabytes, num_workers
        self._image_size = image_size
        self._paths: dict[Split, list[Path]] = {}
        self._datasets: dict[Split, PhotoDataset] = {}

    @property
    def image_size(self) -> int:
        """Height and width in pixels.

        Raises:
            InputError: if none was given and there is no generator to take it from.
        """
        if self._image_size is None:
            model = self.trainer.lightning_module if self.trainer is not None else None
            size = getattr(getattr(model, "generator", None), "resolution", None)
            if not isinstance(size, int):
                raise InputError("expected an image_size, got none, and the model has no generator that tells it; set data.image_size")
            self._image_size = size
        return self._image_size

    def setup(self, stage: str) -> None:
        """Find, split and check the photos."""
        self._find()

    def dataset(self, split: Split) -> PhotoDataset:
        """The photos of a split; decoded on the first call where they are kept in memory."""
        if split not in self._datasets:
            paths = self._find()[split]
            mirror = self.flip and split == "train"
            self._datasets[split] = PhotoDataset(paths, self.image_size, mirror, in_memory=self._in_memory)
        return self._datasets[split]

    def train_dataloader(self) -> ResumableLoader:
        sampler = self.rank_sampler(len(self.dataset("train")), drop_uneven=True, shuffle_seed=self.seed)
        return self.resumable(
            ResumableLoader(self.dataset("train"), sampler, self.batch_size, self._workers, batch_as_is)
        )

    def val_dataloader(self) -> DataLoader[dict[str, Tensor]] | list[Any]:
        """Photos held out; no loader without any, as for a generator, which is not validated on batches."""
        return self._held_out() if self.validation_fraction else []

    def test_dataloader(self) -> DataLoader[dict[str, Tensor]]:
        return self._held_out()

    def predict_dataloader(self) -> DataLoader[dict[str, Tensor]]:
        return self._held_out()

    def measured_loader(self, count: int | None, batch_size: int) -> DataLoader[dict[str, Tensor]]:
        """The first `count` training photos, or all, in their order and not mirrored, shared out to the ranks."""
        dataset = self.dataset("train")
        # Mirror images follow the photos.
        photos = len(dataset.paths) if count is None else min(count, len(dataset.paths))
        return DataLoader(
            dataset,
            batch_size=batch_size,
            sampler=self.rank_sampler(photos, drop_uneven=False),
            num_workers=self._workers,
            collate_fn=batch_as_is,
            # Every pass draws a number for its workers, otherwise from the stream that training draws from.
            generator=torch.Generator(),
        )

    def _find(self) -> dict[Split, list[Path]]:
        if not self._paths:
            paths = find_photos(self.root)
            check_photos(paths, self.image_size)
            train, val = split_photos(paths, self.root, self.validation_fraction)
            self._paths = {"train": train, "val": val}
        return self._paths

    def _held_out(self) -> DataLoader[dict[str, Tensor]]:
        if not self.validation_fraction:
            raise InputError("expected photos that are held out, got a validation_fraction of 0; set data.validation_fraction")
        return DataLoader(
            self.dataset("val"),
            batch_size=self.batch_size,
            sampler=self.rank_sampler(len(self.dataset("val")), drop_uneven=False),
            num_workers=self._workers,
            collate_fn=batch_as_is,
            persistent_workers=self._workers > 0,
        )

    @property
    def _in_memory(self) -> bool:
        photos = sum(map(len, self._find().values()))
        return photos * 3 * self.image_size**2 <= self.cache_gigabytes * 1e9

    @property
    def _workers(self) -> int:
        # Photos in memory are handed over faster than a worker could.
        return 0 if self._in_memory else self.num_workers
