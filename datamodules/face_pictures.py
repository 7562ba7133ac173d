"""Pictures of faces from several sources at once, for networks that learn from pictures alone: portraits, generator samples, photos."""

from pathlib import Path
from typing import Literal

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.utils.data import DataLoader

from datamodules.counter_random import sample_keys, uniform
from datamodules.latent_pairs import PairRecipe
from datamodules.loading import IndexDataset, ResumableDataModule, ResumableLoader, batch_as_is
from datamodules.photo_folder import PhotoDataset, check_photos, find_photos
from datamodules.portraits.corpus import PortraitCorpus, corpus_folder, render_corpus
from datamodules.synthetic_portraits import PortraitDataset, split_spec
from models.morphable.procedural import Density
from models.stylegan2 import Generator, load_generator
from renderers.errors import InputError

# Of the random numbers that say which picture a training sample is.
_STREAM = 3


class FacePictureDataModule(ResumableDataModule):
    """Training batches {image: (batch, 3, size, size) in [-1, 1]}, each picture from a source that follows from its index; validation
    and test batches are synthetic portraits with their truth (`PortraitDataset`), of people that training does not see.

    Args:
        generator: StyleGAN2 checkpoint whose samples, mixed as latent pairs are, are looked at; null for none.
        photos: Folder of aligned square photos; null for none.
        image_size: Height and width in pixels; of a generator's samples too.
        batch_size: Pictures per step and rank.
        pictures: Training pictures of one pass; portraits and photos repeat, samples do not.
        sample_share: Of the training pictures, those that the generator makes.
        photo_share: Likewise photos; the rest are portraits.
        portraits: Different training portraits; 0 for none, where the other shares add up to 1.
        num_val_portraits, num_test_portraits: Of the other splits.
        mirror: Mirror a random half of the training pictures.
        max_latents, truncation: Of the samples, see `PairRecipe`.
        seed: Of samples, portraits and their order.
        density, supersample, folder, processes: Of the portraits, see `SyntheticPortraitDataModule`.
    """

    def __init__(
        self,
        generator: str | None = None,
        photos: str | None = None,
        image_size: int = 64,
        batch_size: int = 64,
        pictures: int = 1_000_000,
        sample_share: float = 0.5,
        photo_share: float = 0.0,
        portraits: int = 20000,
        num_val_portraits: int = 512,
        num_test_portraits: int = 1000,
        mirror: bool = True,
        max_latents: int = 5,
        truncation: float | None = None,
        seed: int = 0,
        density: Density = "medium",
        supersample: int = 2,
        folder: Path | None = None,
        processes: int = 2,
    ) -> None:
        super().__init__()
        if batch_size < 1 or pictures < batch_size:
            raise InputError(
                f"expected a batch of 1 or more and as many pictures, got batch_size={batch_size} and pictures={pictures}; correct them"
            )
        portrait_share = 1 - sample_share - photo_share
        if min(sample_share, photo_share) < 0 or portrait_share < -1e-6:
            raise InputError(
                f"expected shares of 0 or more that add up to at most 1, got {sample_share} and {photo_share}; correct them"
            )
        for share, there, what in (
            (sample_share, generator is not None, "generator"),
            (photo_share, photos is not None, "photos"),
            (portrait_share, portraits > 0, "portraits"),
        ):
            if (share > 1e-6) != there:
                raise InputError(
                    f"expected {what} where their share is above 0 and none where it is 0, got a share of {share:g}; correct the "
                    "share or the source"
                )
        self._generator: Generator | None = None
        if generator is not None:
            self._generator = load_generator(generator)
            if self._generator.resolution != image_size:
                raise InputError(
                    f"expected an image_size of {self._generator.resolution} as the generator's, got {image_size}; set it to that"
                )
        self._photos: PhotoDataset | None = None
        if photos is not None:
            paths = find_photos(photos)
            check_photos(paths, image_size)
            self._photos = PhotoDataset(paths, image_size)
        self.recipe = PairRecipe(seed, max_latents, truncation)
        self.batch_size, self.pictures, self.mirror, self.seed = batch_size, pictures, mirror, seed
        self._bounds = (sample_share, sample_share + photo_share)
        sizes: dict[Literal["train", "val", "test"], int] = {"val": num_val_portraits, "test": num_test_portraits}
        if portraits:
            sizes["train"] = portraits
        self.specs = {
            split: split_spec(split, image_size, size, 1, seed, density, supersample) for split, size in sizes.items()
        }
        self._folder, self._processes = folder, processes
        self._portraits: dict[str, PortraitDataset] = {}

    def prepare_data(self) -> None:
        """Render what is missing of all portraits."""
        for spec in self.specs.values():
            render_corpus(spec, corpus_folder(spec, self._folder), self._processes)

    def train_dataloader(self) -> ResumableLoader:
        sampler = self.rank_sampler(self.pictures, drop_uneven=True)
        return self.resumable(ResumableLoader(IndexDataset(self.pictures), sampler, self.batch_size))

    def val_dataloader(self) -> DataLoader[dict[str, Tensor]]:
        return self._evaluation_loader("val")

    def test_dataloader(self) -> DataLoader[dict[str, Tensor]]:
        return self._evaluation_loader("test")

    def on_after_batch_transfer(self, batch: Tensor | dict[str, Tensor], dataloader_idx: int) -> dict[str, Tensor]:
        """Indices to pictures, on the device that the indices are on; portraits with their truth as they are."""
        return batch if isinstance(batch, dict) else {"image": self.training_pictures(batch)}

    @torch.no_grad()
    def training_pictures(self, indices: Int[Tensor, " batch"]) -> Float[Tensor, "batch 3 size size"]:
        """The training pictures of these indices."""
        draws = uniform(sample_keys(self.seed, _STREAM, indices), 3)
        samples, photos = draws[:, 0] < self._bounds[0], draws[:, 0] < self._bounds[1]
        parts: list[Tensor] = []
        rows: list[Tensor] = []
        if self._generator is not None and bool(samples.any()):
            generator = self._generator.to(indices.device)
            codes = self.recipe.pairs(generator, "train", indices[samples]).w
            parts.append(generator.synthesis(codes, noise="const").clamp(-1, 1))
            rows.append(samples.nonzero()[:, 0])
        for chosen, pictures in ((photos & ~samples, self._photos), (~photos, self._portrait_pictures())):
            if pictures is not None and bool(chosen.any()):
                numbers = (draws[chosen, 1] * len(pictures)).long().clamp_max(len(pictures) - 1).tolist()
                parts.append(pictures.__getitems__(numbers)["image"].to(indices.device))
                rows.append(chosen.nonzero()[:, 0])
        images = torch.cat(parts)[torch.cat(rows).argsort()]
        return torch.where(draws[:, 2, None, None, None] < 0.5, images.flip(-1), images) if self.mirror else images

    def _portrait_pictures(self) -> PortraitDataset | None:
        return self._dataset("train") if "train" in self.specs else None

    def _dataset(self, split: Literal["train", "val", "test"]) -> PortraitDataset:
        if split not in self._portraits:
            spec = self.specs[split]
            self._portraits[split] = PortraitDataset(PortraitCorpus(spec, corpus_folder(spec, self._folder)))
        return self._portraits[split]

    def _evaluation_loader(self, split: Literal["val", "test"]) -> DataLoader[dict[str, Tensor]]:
        dataset = self._dataset(split)
        sampler = self.rank_sampler(len(dataset), drop_uneven=False)
        return DataLoader(dataset, batch_size=self.batch_size, sampler=sampler, collate_fn=batch_as_is)
