"""What the figures of StyleRig look at: a trained network with everything around it."""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor, nn

from datamodules.latent_pairs import LatentPairs, PairRecipe
from models.morphable import FaceParameters, MorphableModel
from models.observers import Judge
from models.stylegan2 import Generator
from models.stylerig import ParameterReader, RigNetwork
from renderers.errors import InputError
from renderers.face_renderer import FaceRenderer


def check_judge(judge: Judge, face_model: MorphableModel) -> None:
    """Raise InputError unless a judge's readings are parameters of a face model."""
    if judge.sizes != face_model.sizes:
        raise InputError(f"expected a judge of the face model's sizes {face_model.sizes}, got {judge.sizes}; set judge to null")
    if judge.expression_names and tuple(judge.expression_names) != tuple(face_model.expression_names):
        raise InputError("expected a judge of the face model's expressions, got one that names others; set judge to null")


@dataclass(frozen=True)
class RigUnderTest:
    """A trained network of StyleRig, all parts on one device and frozen.

    Attributes:
        generator: Whose codes are edited.
        face_reconstruction: F, or what takes its place.
        network: A RigNet, or the steering baseline.
        landmarker: 68-landmark network of the training.
        renderer: Draws the face region as in the training.
        face_model: The whole face model.
        recipe: Of the pairs; those of its test split were never trained on.
        judge: Reads pictures and took no part in the training; None where none knows pictures like these.
    """

    generator: Generator
    face_reconstruction: ParameterReader
    network: RigNetwork
    landmarker: nn.Module
    renderer: FaceRenderer
    face_model: MorphableModel
    recipe: PairRecipe
    judge: Judge | None

    @property
    def device(self) -> torch.device:
        """Where all parts are."""
        return self.generator.mean_w.device

    @property
    def components(self) -> tuple[str, ...]:
        """What the network controls."""
        return self.network.components

    def unseen_pairs(self, count: int, start: int = 0) -> LatentPairs:
        """Codes of the test split from index `start` on, without pictures."""
        return self.recipe.pairs(self.generator, "test", torch.arange(start, start + count, device=self.device))

    @torch.no_grad()
    def transfer(
        self, codes: Float[Tensor, "batch layers width"], sources: Float[Tensor, "batch layers width"], component: str
    ) -> Float[Tensor, "batch layers width"]:
        """Codes with one component of others (section 8.1); everything else is asked to stay as F reads it."""
        own = self.face_reconstruction.parameters_of(codes)
        return self.edit(codes, own.with_components_from(self.face_reconstruction.parameters_of(sources), (component,)))

    @torch.no_grad()
    def edit(
        self, codes: Float[Tensor, "batch layers width"], target: FaceParameters
    ) -> Float[Tensor, "batch layers width"]:
        """Codes edited towards parameters, of which the network reads those of its components."""
        return self.network.edit(codes, self.face_reconstruction(codes), target.pack())

    @torch.no_grad()
    def pictures(
        self, codes: Float[Tensor, "batch layers width"], batch_size: int = 50
    ) -> Float[Tensor, "batch 3 size size"]:
        """Pictures of codes, clamped to [-1, 1]."""
        return torch.cat([self.generator.synthesis(part).clamp(-1, 1) for part in codes.split(batch_size)])
