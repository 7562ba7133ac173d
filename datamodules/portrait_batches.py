"""Portraits to embed, as training batches: one iteration of the optimisation for a batch of portraits, with fresh codes v."""

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple, Protocol, runtime_checkable

import torch
from jaxtyping import Float, Int
from pytorch_lightning import LightningDataModule
from torch import Tensor
from torch.utils.data import DataLoader, IterableDataset

from datamodules.latent_pairs import PairRecipe
from datamodules.photos.screening import ScreenSettings
from datamodules.portrait_sources import PreparedPortrait, RefusedPortrait, prepare_portraits
from models.portrait_embedding import PortraitEmbedding
from models.stylegan2 import Generator
from renderers.errors import InputError

# Iterations of one portrait draw neighbouring pairs; no optimisation is as long.
_LONGEST = 1 << 20
# Portraits draw from streams of their own: 2^27 of them, so that all indices stay below 2^47.
_KEYS = 1 << 27


class NameTaken(InputError):
    """A portrait that cannot be embedded, as its file holds something else, which is left alone; the others can."""


class PortraitStep(NamedTuple):
    """One iteration for a batch of portraits.

    Attributes:
        portraits: What is embedded; none in an idle step, of a rank that has less to do than others.
        iteration: Counted from 0.
        images: (B, 3, S, S) the portraits in [-1, 1].
        v: (B, layers, width) codes drawn for this iteration, one for each portrait.
    """

    portraits: tuple[PreparedPortrait, ...]
    iteration: int
    images: Float[Tensor, "batch 3 size size"]
    v: Float[Tensor, "batch layers width"]


class EmbeddedBatch(NamedTuple):
    """Some embeddings, with the numbers by which test codes v are drawn for them."""

    embeddings: tuple[PortraitEmbedding, ...]
    keys: Int[Tensor, " batch"]


@runtime_checkable
class PortraitOptimisation(Protocol):
    """What portraits are embedded by."""

    if TYPE_CHECKING:
        generator: Generator
        iterations: int

    @property
    def folder(self) -> Path: ...

    def iterations_done(self, portrait: PreparedPortrait) -> int:
        """Raises NameTaken for a portrait whose file holds something else."""
        ...

    def embeddings(self) -> list[PortraitEmbedding]: ...


@dataclass(frozen=True)
class PortraitGroup:
    """Portraits that are optimised together, from the same iteration on."""

    portraits: tuple[PreparedPortrait, ...]
    start: int

    @cached_property
    def keys(self) -> tuple[int, ...]:
        """`portrait_key` of each: looked at in every iteration, and slow for large portraits."""
        return tuple(portrait_key(portrait.image) for portrait in self.portraits)


class _Steps(IterableDataset[int]):
    """Numbers 0 to count - 1, the same on every rank: each rank has steps of its own."""

    def __init__(self, count: int) -> None:
        self._count = count

    def __len__(self) -> int:
        return self._count

    def __iter__(self) -> Iterator[int]:
        return iter(range(self._count))


class EmbeddingDataModule(LightningDataModule):
    """Photos, held-out synthetic portraits and samples of the generator, to be embedded by the module that is trained.

    A portrait's codes v follow from its picture and the iteration: its embedding is the same whatever it is batched with, how many ranks
    there are, or where a run was interrupted. Ranks share the portraits out; those that are finished are left out.

    Args:
        photos: Folder with photos, or one photo; null for none.
        portraits: Synthetic portraits of known parameters, of people that no shipped network was trained on.
        samples: Pictures of the generator's own codes, which no training saw.
        aligned: Photos are square and aligned already; false finds the one face of each, and cuts it out as FFHQ does.
        landmarks: 68-landmark network to align by, as `lightning align` takes it; null for the detector's five points.
        screen: What photos are refused for.
        batch_size: Portraits that are optimised together on each rank.
        test_samples: Codes v over which `lightning test` averages the energies of each embedding.
        max_latents, truncation, seed: Of the codes v, see `PairRecipe`; samples and portraits follow from the seed, too.
        cache: Where rendered portraits are kept; null for $LATENTRIG_CACHE, else ~/.cache/latentrig.
    """

    def __init__(
        self,
        photos: str | None = None,
        portraits: int = 0,
        samples: int = 0,
        aligned: bool = False,
        landmarks: str | None = None,
        screen: ScreenSettings = ScreenSettings(),
        batch_size: int = 8,
        test_samples: int = 8,
        max_latents: int = 5,
        truncation: float | None = None,
        seed: int = 0,
        cache: Path | None = None,
    ) -> None:
        super().__init__()
        if batch_size < 1 or test_samples < 1 or min(portraits, samples) < 0:
            raise InputError(
                f"expected a batch_size and test_samples of 1 or more and counts of 0 or more, got {batch_size}, {test_samples}, "
                f"{portraits} and {samples}; correct them"
            )
        self.photos = None if photos is None else Path(photos).expanduser()
        self.portraits, self.samples, self.aligned = portraits, samples, aligned
        self.landmarks, self.screen, self.cache = landmarks, screen, cache
        self.batch_size, self.test_samples = batch_size, test_samples
        self.recipe = PairRecipe(seed, max_latents, truncation)
        self.everything: tuple[PreparedPortrait, ...] = ()
        self.refused: tuple[RefusedPortrait, ...] = ()
        self._ready: tuple[list[PreparedPortrait], list[RefusedPortrait]] | None = None
        self._steps: list[tuple[PortraitGroup, int]] = []
        self._count = 0
        self._embeddings: list[PortraitEmbedding] = []

    def prepare_data(self) -> None:
        """Find, align and render what is to be embedded."""
        if self.trainer is not None and self.trainer.state.fn == "fit":
            self._ready = self._prepared()

    def setup(self, stage: str) -> None:
        """Share unfinished portraits out to the ranks, or read the embeddings to test."""
        if stage != "fit":
            self._embeddings = self._module.embeddings()
            return
        # Other ranks than the first find what that one has rendered.
        portraits, refused = self._ready or self._prepared()
        done: dict[str, int] = {}
        for portrait in portraits:
            try:
                done[portrait.name] = self._module.iterations_done(portrait)
            except NameTaken as error:
                refused = [*refused, RefusedPortrait(portrait.name, portrait.origin, str(error))]
        portraits = [portrait for portrait in portraits if portrait.name in done]
        self.everything, self.refused = tuple(portraits), tuple(refused)
        assert self.trainer is not None
        ranks, rank = self.trainer.world_size, self.trainer.global_rank
        unfinished = [
            (portrait, done[portrait.name]) for portrait in portraits if done[portrait.name] < self._module.iterations
        ]
        shares = share_out(unfinished, ranks, self.batch_size)
        steps = [
            [(group, iteration) for group in groups for iteration in range(group.start, self._module.iterations)]
            for groups in shares
        ]
        self._steps, self._count = steps[rank], max(len(each) for each in steps)

    def train_dataloader(self) -> DataLoader[int]:
        return DataLoader(_Steps(self._count), batch_size=None)

    def test_dataloader(self) -> DataLoader[int]:
        assert self.trainer is not None
        mine = range(self.trainer.global_rank, len(self._embeddings), self.trainer.world_size)
        return DataLoader(_Steps(-(-len(mine) // self.batch_size)), batch_size=None)

    def on_after_batch_transfer(self, batch: int, dataloader_idx: int) -> PortraitStep | EmbeddedBatch:
        """The number of a step to what it looks at, on the module's device."""
        assert self.trainer is not None
        if self.trainer.testing:
            mine = self._embeddings[self.trainer.global_rank :: self.trainer.world_size]
            chosen = tuple(mine[batch * self.batch_size : (batch + 1) * self.batch_size])
            return EmbeddedBatch(chosen, torch.tensor([portrait_key(each.image) for each in chosen]))
        generator = self._module.generator
        device, size = generator.mean_w.device, generator.resolution
        if batch >= len(self._steps):
            return PortraitStep(
                (), 0, torch.zeros(0, 3, size, size), torch.zeros(0, generator.num_layers, generator.w_dim)
            )
        group, iteration = self._steps[batch]
        keys = torch.tensor(group.keys, device=device)
        images = torch.stack([portrait.image for portrait in group.portraits]).to(device).float() / 127.5 - 1
        v = self.recipe.pairs(generator, "train", keys * _LONGEST + iteration).v
        return PortraitStep(group.portraits, iteration, images, v)

    def test_codes(self, batch: EmbeddedBatch) -> Iterator[Float[Tensor, "batch layers width"]]:
        """Codes v of the test split, `test_samples` for each embedding."""
        generator = self._module.generator
        keys = batch.keys.to(generator.mean_w.device)
        for number in range(self.test_samples):
            yield self.recipe.pairs(generator, "test", keys * _LONGEST + number).v

    @property
    def _module(self) -> PortraitOptimisation:
        assert self.trainer is not None
        module = self.trainer.lightning_module
        if not isinstance(module, PortraitOptimisation):
            raise InputError(
                f"expected a module that embeds portraits, such as lightning_modules.pie.module.PIE, got {type(module).__name__}; "
                "choose another data module"
            )
        return module

    def _prepared(self) -> tuple[list[PreparedPortrait], list[RefusedPortrait]]:
        if self.photos is None and not self.portraits + self.samples:
            raise InputError("expected photos, portraits or samples to embed, got none; give --data.photos FOLDER")
        generator = self._module.generator
        return prepare_portraits(
            self.photos,
            self.aligned,
            self.portraits,
            self.samples,
            generator.resolution,
            generator,
            self.recipe,
            folder=self.cache,
            landmarks=self.landmarks,
            screen=self.screen,
            seed=self.recipe.seed,
        )


def portrait_key(image: Tensor) -> int:
    """A number that follows from a portrait's bytes, by which its codes v are drawn."""
    digest = hashlib.sha256(image.cpu().contiguous().numpy().tobytes()).digest()
    return int.from_bytes(digest[:8], "big") % _KEYS


def share_out(
    portraits: Sequence[tuple[PreparedPortrait, int]], ranks: int, batch_size: int
) -> list[list[PortraitGroup]]:
    """Groups of portraits for each rank: of those at the same iteration, as evenly as goes.

    Args:
        portraits: Each with the iterations that are done.
        ranks: Their number.
        batch_size: Portraits of a group at most.
    """
    groups: list[PortraitGroup] = []
    for start in sorted({done for _, done in portraits}, reverse=True):
        level = [portrait for portrait, done in portraits if done == start]
        size = min(batch_size, -(-len(level) // ranks))
        groups += [PortraitGroup(tuple(level[first : first + size]), start) for first in range(0, len(level), size)]
    return [groups[rank::ranks] for rank in range(ranks)]
