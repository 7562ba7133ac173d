"""What the figures of LiftedGAN look at: a trained lifted generator, those it is compared with, and the networks that look at pictures."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

import torch
from jaxtyping import Float
from torch import Tensor

from datamodules.latent_pairs import PairRecipe
from evaluation.lifted_gan.published import PROPOSED
from evaluation.lifted_gan.views import LiftedViews
from models.lifted_gan import LiftedGAN
from models.observers import FaceEmbedder, Judge, LandmarkDetector
from models.stylegan2 import Generator
from renderers.errors import InputError

# Codes that are lifted at once.
BATCH = 25


@dataclass(frozen=True, eq=False)
class LiftedUnderTest:
    """A trained lifted generator, all parts on one device and frozen.

    Attributes:
        views: Draws its faces.
        recipe: Of codes of W; those of its test split were never trained on.
        landmarker: 68-landmark network.
        embedder: Identity network.
        judge: Reads pictures and took no part in any training; None where none knows pictures like these.
        ablations: Lifted generators that were trained without a term, by the name of that; of the same generator.
    """

    views: LiftedViews
    recipe: PairRecipe
    landmarker: LandmarkDetector
    embedder: FaceEmbedder
    judge: Judge | None = None
    ablations: Mapping[str, LiftedViews] = field(default_factory=dict)

    @property
    def model(self) -> LiftedGAN:
        """The lifted generator in question."""
        return self.views.model

    @property
    def generator(self) -> Generator:
        """G2D."""
        return self.model.generator

    @property
    def device(self) -> torch.device:
        """Where all parts are."""
        return self.generator.mean_w.device

    @property
    def size(self) -> int:
        """Side of pictures and renders in pixels."""
        return self.generator.resolution

    @property
    def methods(self) -> dict[str, LiftedViews]:
        """All lifted generators by their names in tables, the one in question last."""
        return {**self.ablations, PROPOSED: self.views}

    def to(self, device: torch.device | str) -> "LiftedUnderTest":
        """The same, all parts moved to a device."""
        for part in (*(views.model for views in self.methods.values()), self.landmarker, self.embedder, self.judge):
            if part is not None:
                part.to(device)
        return self

    def unseen_codes(self, count: int, start: int = 0) -> Float[Tensor, "count w_dim"]:
        """Codes of W of the test split from index `start` on."""
        return self.recipe.pairs(self.generator, "test", torch.arange(start, start + count, device=self.device)).w[:, 0]

    def batches(self, count: int, start: int = 0) -> Iterator[Float[Tensor, "batch w_dim"]]:
        """The same, `BATCH` of them at a time."""
        for first in range(start, start + count, BATCH):
            yield self.unseen_codes(min(BATCH, start + count - first), first)

    def pictures(self, codes: Float[Tensor, "batch w_dim"]) -> Float[Tensor, "batch 3 size size"]:
        """The 2D generator's pictures of codes, clamped to [-1, 1]."""
        with torch.no_grad():
            return torch.cat([self.model.picture(part).clamp(-1, 1) for part in codes.split(BATCH)])


def open_ablations(files: Mapping[str, str], generator: Generator) -> dict[str, LiftedViews]:
    """Lifted generators of files, by the names of what they were trained without.

    Raises:
        InputError: for the name of the one in question, and files that are missing, broken, of another kind or another generator.
    """
    if PROPOSED in files:
        raise InputError(
            f"expected names of what ablations leave out, got {PROPOSED}, which is the one in question; rename it"
        )
    return {name: LiftedViews(LiftedGAN.load(path, generator)) for name, path in files.items()}
