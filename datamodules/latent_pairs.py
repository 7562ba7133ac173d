"""Pairs of latent codes, the only training data of StyleRig (section 5): nothing is stored, sample i follows from its index.

Each code of a pair is mixed from up to five separately drawn latents, each of which feeds a run of neighbouring layers, so that
networks learn to reason about layers independently. Codes, and images where asked for, are made on the training device by the
frozen generator.
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, Protocol, runtime_checkable

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor
from torch.utils.data import DataLoader

from datamodules.counter_random import normal, sample_keys, subkeys, uniform
from datamodules.loading import ResumableDataModule, ResumableLoader
from renderers.errors import InputError

Split = Literal["train", "validate", "test"]
# Streams of the counter-based numbers: samples of two splits never share a key, whatever their sizes.
_STREAMS: dict[str, int] = {"train": 0, "validate": 1, "test": 2}


@runtime_checkable
class CodeGenerator(Protocol):
    """What pairs need of a generator: its mapping network, its synthesis and the sizes of its codes."""

    # Attributes are declared for the type checker only: from Python 3.12 on isinstance looks attributes of a protocol up
    # statically, where a module's buffers are not found.
    if TYPE_CHECKING:
        num_layers: int
        w_dim: int
        z_dim: int
        mean_w: Tensor

    def mapping(self, z: Tensor) -> Tensor: ...

    def synthesis(self, codes: Tensor, noise: Literal["const", "random", "none"] = "const") -> Tensor: ...


class LatentPairs(NamedTuple):
    """A batch of pairs.

    Attributes:
        indices: (batch,) int64, index of each pair in its split.
        w: (batch, layers, w_dim) codes.
        v: (batch, layers, w_dim) codes, independent of `w`.
        image_w: (batch, 3, size, size) images of `w` in [-1, 1], or None where images were not asked for.
        image_v: Likewise of `v`.
    """

    indices: Int[Tensor, " batch"]
    w: Float[Tensor, "batch layers width"]
    v: Float[Tensor, "batch layers width"]
    image_w: Tensor | None = None
    image_v: Tensor | None = None


@dataclass(frozen=True)
class PairRecipe:
    """How a pair follows from its index.

    Attributes:
        seed: Seed of all pairs.
        max_latents: Up to so many latents are mixed into a code; their number is uniform from 1 to this (StyleRig section 5
            says "up to 5" and leaves the distribution open). Never more than the generator has layers.
        truncation: Factor by which codes are drawn towards the generator's mean code, from 0 to 1; None leaves them as they are.
    """

    seed: int = 0
    max_latents: int = 5
    truncation: float | None = None

    def __post_init__(self) -> None:
        if self.max_latents < 1:
            raise InputError(
                f"expected at least 1 latent per code, got max_latents={self.max_latents}; 5 is StyleRig's"
            )
        if self.truncation is not None and not 0 <= self.truncation <= 1:
            raise InputError(f"expected a truncation from 0 to 1, got {self.truncation}; leave it out for none")

    @torch.no_grad()
    def pairs(
        self, generator: CodeGenerator, split: Split, indices: Int[Tensor, " batch"], images: bool = False
    ) -> LatentPairs:
        """Make the pairs of these indices on the indices' device.

        Args:
            generator: Frozen generator on the same device.
            split: Pairs of two splits are drawn independently.
            indices: (batch,) int64.
            images: Also synthesise both images, with the generator's constant noise, clamped to [-1, 1].
        """
        keys = sample_keys(self.seed, _STREAMS[split], indices)
        # Both codes of all pairs in one pass: rows 0..batch-1 are w, the rest v.
        codes = self._codes(generator, torch.cat([subkeys(keys, 1), subkeys(keys, 2)]))
        w, v = codes.chunk(2)
        if not images:
            return LatentPairs(indices, w, v)
        # Clamped as every picture that is shown, stored or measured: what observers see and losses compare with is the same.
        image_w, image_v = generator.synthesis(codes, noise="const").clamp(-1, 1).chunk(2)
        return LatentPairs(indices, w, v, image_w, image_v)

    def _codes(self, generator: CodeGenerator, keys: Int[Tensor, " codes"]) -> Float[Tensor, "codes layers width"]:
        limit = min(self.max_latents, generator.num_layers)
        z = normal(keys, limit * generator.z_dim).to(generator.mean_w.dtype)
        latents = generator.mapping(z.reshape(-1, generator.z_dim)).reshape(len(keys), limit, generator.w_dim)
        source = mixing_sources(keys, generator.num_layers, limit)
        codes = latents.gather(1, source[..., None].expand(-1, -1, generator.w_dim))
        return codes if self.truncation is None else generator.mean_w.lerp(codes, self.truncation)


def mixing_sources(keys: Int[Tensor, " codes"], num_layers: int, max_latents: int) -> Int[Tensor, "codes {num_layers}"]:
    """Which latent feeds each layer of a code: runs 0, 1, 2, ... of neighbouring layers.

    The number n of latents is uniform from 1 to `max_latents`, and the n - 1 crossovers are uniform among the distinct
    boundaries between layers, so that exactly n latents take part.

    Args:
        keys: (codes,) keys from `counter_random.sample_keys`.
        num_layers: Layers of a code.
        max_latents: From 1 to `num_layers`.
    """
    draws = uniform(subkeys(keys, 1), num_layers)
    count = 1 + (draws[:, 0] * max_latents).long().clamp_(max=max_latents - 1)
    rank_of_boundary = draws[:, 1:].argsort(dim=1).argsort(dim=1)
    crossover: Bool[Tensor, "codes boundaries"] = rank_of_boundary < (count - 1)[:, None]
    return torch.cat([torch.zeros_like(count)[:, None], crossover.long().cumsum(dim=1)], dim=1)


class LatentPairDataModule(ResumableDataModule):
    """Pairs for every method: `batch` of a step is a `LatentPairs`.

    Sample i of a split under a seed is the same pair whatever the batch size, number of workers and ranks, or point of resumption;
    ranks never see the same sample in a pass; train, validation and test pairs are drawn from disjoint streams. The generator is
    the attribute `generator` of the LightningModule that is trained.
    """

    def __init__(
        self,
        batch_size: int = 16,
        train_pairs: int = 100_000,
        validation_pairs: int = 64,
        test_pairs: int = 500,
        max_latents: int = 5,
        truncation: float | None = None,
        images: bool = True,
        seed: int = 0,
        num_workers: int = 0,
    ) -> None:
        """
        Args:
            batch_size: Pairs per step and rank.
            train_pairs: Pairs of one training pass; 100,000 pairs hold the 200,000 codes of StyleRig's corpus (section 5).
            validation_pairs: Pairs of the validation split.
            test_pairs: Pairs of the test split.
            max_latents: Up to so many latents are mixed into a code (5 in StyleRig section 5).
            truncation: Truncation of the codes towards the mean code, 0 to 1; null for none.
            images: Also make both images of each pair.
            seed: Seed of the pairs.
            num_workers: Worker processes; they only count, so 0 is right almost always.
        """
        super().__init__()
        for name, value in (("batch_size", batch_size), ("train_pairs", train_pairs)):
            if value < 1:
                raise InputError(f"expected {name} of at least 1, got {value}; give a positive number")
        if train_pairs < batch_size:
            raise InputError(
                f"expected at least one batch of training pairs, got train_pairs={train_pairs} under "
                f"batch_size={batch_size}; lower the batch size"
            )
        self.recipe = PairRecipe(seed, max_latents, truncation)
        self._batch_size = batch_size
        self._sizes: dict[Split, int] = {"train": train_pairs, "validate": validation_pairs, "test": test_pairs}
        self._images = images
        self._num_workers = num_workers

    def train_dataloader(self) -> ResumableLoader:
        sampler = self.rank_sampler(self._sizes["train"], drop_uneven=True)
        # In the order of their indices: neighbouring indices give independent pairs already.
        return self.resumable(ResumableLoader(sampler.dataset, sampler, self._batch_size, self._num_workers))

    def val_dataloader(self) -> DataLoader[Any]:
        return self._evaluation_loader("validate")

    def test_dataloader(self) -> DataLoader[Any]:
        return self._evaluation_loader("test")

    def on_after_batch_transfer(self, batch: Int[Tensor, " batch"], dataloader_idx: int) -> LatentPairs:
        """Indices to pairs, on the device that the indices are on.

        Raises:
            InputError: if the module that is trained has no generator.
        """
        assert self.trainer is not None
        generator = getattr(self.trainer.lightning_module, "generator", None)
        if generator is None:
            name = type(self.trainer.lightning_module).__name__
            raise InputError(
                f"expected a LightningModule with a frozen `generator` to make latent pairs, {name} has none; "
                "train a method that edits codes, or choose another data module"
            )
        if self.trainer.training:
            split: Split = "train"
        else:
            split = "test" if self.trainer.testing else "validate"
        return self.recipe.pairs(generator, split, batch, self._images)

    def _evaluation_loader(self, split: Split) -> DataLoader[Any]:
        sampler = self.rank_sampler(self._sizes[split], drop_uneven=False)
        return DataLoader(sampler.dataset, self._batch_size, sampler=sampler, num_workers=self._num_workers)
