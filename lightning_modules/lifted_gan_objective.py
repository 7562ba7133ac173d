"""The losses of LiftedGAN put together (equations 2 to 9): what trains the faces, and what trains M."""

import math
from typing import NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from lightning_modules.lifted_gan_losses import (
    PictureDistance,
    convex_error,
    counted_pixels,
    cycle_error,
    high_passed_albedo,
    identity_error,
    nuclear_norm,
    style_prior,
)
from lightning_modules.lifted_gan_perturbation import Perturbation, draw_perturbation
from lightning_modules.lifted_gan_settings import LiftedTraining
from models.lifted_gan import LiftedGAN, LiftedOutput, LiftedRender
from models.observers import FaceEmbedder
from models.perceptual import PerceptualLoss
from renderers.errors import InputError


class Perturbed(NamedTuple):
    """Faces under another view and light.

    Attributes:
        asked: V' and L'.
        render: I'_w of equation 4, without gradients.
    """

    asked: Perturbation
    render: LiftedRender


class FaceTerms(NamedTuple):
    """What `LiftedObjective.faces` returns.

    Attributes:
        loss: () weighted sum.
        terms: By name, without weights and gradients.
        output: The faces.
        perturbed: Where any loss looks at it, for `LiftedObjective.manipulation`.
    """

    loss: Float[Tensor, ""]
    terms: dict[str, Tensor]
    output: LiftedOutput
    perturbed: Perturbed | None


class Moved(NamedTuple):
    """M's codes of perturbed faces: `codes` (B, width), and `picture`, G2D's of them in [-1, 1], not clamped."""

    codes: Tensor
    picture: Tensor


class LiftedObjective(nn.Module):
    """L_G3D of equations 8 and 9; every part of it is frozen.

    Args:
        settings: Weights and choices.
        perceptual: See `PictureDistance`.
        embedder: f of equation 6; None where its weight is 0.
        mean, deviation: (width), of W.

    Raises:
        InputError: for a weight without its network, or the other way round.
    """

    mean: Tensor
    deviation: Tensor

    def __init__(
        self,
        settings: LiftedTraining,
        perceptual: PerceptualLoss | None,
        embedder: FaceEmbedder | None,
        mean: Float[Tensor, " width"],
        deviation: Float[Tensor, " width"],
    ) -> None:
        super().__init__()
        if (settings.identity > 0) != (embedder is not None):
            raise InputError(
                "expected a face embedder where settings.identity is above 0, and null where it is 0, got "
                f"{'none' if embedder is None else 'one'} and {settings.identity}; correct either"
            )
        self.settings = settings
        self.distance = PictureDistance(settings.perceptual, perceptual)
        self.embedder = embedder
        self.register_buffer("mean", mean.clone(), persistent=False)
        self.register_buffer("deviation", deviation.clone(), persistent=False)

    def faces(
        self,
        lifted: LiftedGAN,
        codes: Float[Tensor, "batch width"],
        images: Float[Tensor, "batch 3 size size"],
        pairs: Int[Tensor, " pairs"],
        step: int,
    ) -> FaceTerms:
        """All terms but part a of L_perturb, which comes with them unless `parts_in_turn`.

        Args:
            lifted: G3D.
            codes: Of W, both of each pair.
            images: Their pictures in [-1, 1].
            pairs: Their indices.
            step: Steps before this one.
        """
        settings = self.settings
        output = lifted(codes)
        terms: dict[str, Tensor] = {}
        maps = self.distance.feature_maps(images)
        terms["reconstruction"] = self._compared(lifted, lifted.render(output), images, maps)
        loss = settings.reconstruction * terms["reconstruction"]
        if settings.flip > 0:
            terms["flip"] = self._compared(lifted, lifted.render(output.flipped()), images, maps)
            loss = loss + settings.flip * (settings.reconstruction if settings.flip_within else 1.0) * terms["flip"]
        if settings.albedo > 0:
            terms["albedo"] = nuclear_norm(high_passed_albedo(lifted, output, settings))
            loss = loss + settings.albedo * terms["albedo"]
        if step < settings.convex_steps:
            terms["convex"] = convex_error(output.depth, lifted.settings)
            loss = loss + settings.convex * terms["convex"]
        perturbed = None
        if settings.perturbs:
            asked = draw_perturbation(pairs, step, output.light, settings, lifted.settings)
            with torch.set_grad_enabled(torch.is_grad_enabled() and self._needs("perturbed")):
                render = lifted.render(output, asked.view, asked.light)
            stopped = LiftedRender(render.image.detach(), render.depth.detach(), render.mask)
            perturbed = Perturbed(asked, stopped)
            moved = None if settings.parts_in_turn else self._moved(lifted, codes, asked)
            added, found = self._turned(lifted, codes, output, asked, render, moved)
            loss, terms = loss + added, terms | found
            if moved is not None and settings.perturbation > 0:
                added, found = self._manipulation(lifted, perturbed, moved)
                loss, terms = loss + added, terms | found
        return FaceTerms(loss, {name: value.detach() for name, value in terms.items()}, output, perturbed)

    def manipulation(
        self, lifted: LiftedGAN, codes: Float[Tensor, "batch width"], perturbed: Perturbed
    ) -> tuple[Float[Tensor, ""], dict[str, Tensor]]:
        """Part a of L_perturb, weighted, and its terms: it trains M alone."""
        loss, terms = self._manipulation(lifted, perturbed, self._moved(lifted, codes, perturbed.asked))
        return loss, {name: value.detach() for name, value in terms.items()}

    def _turned(
        self,
        lifted: LiftedGAN,
        codes: Tensor,
        output: LiftedOutput,
        asked: Perturbation,
        render: LiftedRender,
        moved: Moved | None,
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """Part b of L_perturb, and L_idt."""
        settings = self.settings
        loss, terms = codes.new_zeros(()), {}
        if settings.perturbation > 0 or self._needs("estimated"):
            trains = torch.is_grad_enabled() and settings.estimate_trains_manipulation
            if moved is None:
                with torch.set_grad_enabled(trains):
                    there = lifted.manipulate(codes, asked.view, asked.light).to(codes.dtype)
            else:
                there = moved.codes if trains else moved.codes.detach()
            view, light = (network(there).to(codes.dtype) for network in (lifted.networks.view, lifted.networks.light))
            estimated = lifted.render(output, view, light)
            if settings.perturbation > 0:
                with torch.no_grad():
                    picture = lifted.picture(there) if moved is None else moved.picture.detach()
                    picture = picture.to(codes.dtype).clamp(-1, 1)
                terms["perturbed"] = self._compared(lifted, estimated, picture)
                terms["cycle"] = cycle_error(view, light, asked.view, asked.light, settings)
                loss = loss + settings.perturbation * (terms["perturbed"] + settings.cycle * terms["cycle"])
            if settings.identity_render == "estimated":
                render = estimated
        if self.embedder is not None:
            limit = math.radians(settings.identity_limit_deg)
            terms["identity"] = identity_error(self.embedder, output.texture, render.image, asked.yaw, limit)
            loss = loss + settings.identity * terms["identity"]
        return loss, terms

    def _manipulation(self, lifted: LiftedGAN, perturbed: Perturbed, moved: Moved) -> tuple[Tensor, dict[str, Tensor]]:
        settings = self.settings
        target = perturbed.render
        mask = counted_pixels(target, lifted.settings.background_depth)
        terms = {
            "manipulation": self.distance(moved.picture, target.image, mask),
            "prior": style_prior(moved.codes, self.mean, self.deviation, settings),
        }
        within = settings.perturbation if settings.prior_within else 1.0
        return settings.perturbation * terms["manipulation"] + settings.prior * within * terms["prior"], terms

    def _compared(
        self, lifted: LiftedGAN, render: LiftedRender, target: Tensor, maps: list[Tensor] | None = None
    ) -> Tensor:
        mask = counted_pixels(render, lifted.settings.background_depth)
        return self.distance(render.image, target, mask, maps)

    def _needs(self, render: str) -> bool:
        """Whether L_idt looks at this render."""
        return self.settings.identity > 0 and self.settings.identity_render == render

    @staticmethod
    def _moved(lifted: LiftedGAN, codes: Tensor, asked: Perturbation) -> Moved:
        there = lifted.manipulate(codes, asked.view, asked.light).to(codes.dtype)
        return Moved(there, lifted.picture(there).to(codes.dtype))
