"""The supervised first phase of a StyleGAN2's training on portraits with known latents."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn.functional import avg_pool2d

from lightning_modules.painting_loss import PaintingWeights
from models.stylegan2.generator import Generator
from models.stylegan2.importance import latent_importance, scale_mapping_inputs
from renderers.errors import InputError

# Side of the blocks of pixels over which pictures are averaged before they are regressed on latents; ours.
_BLOCK = 4


@dataclass(frozen=True)
class WarmStart:
    """A first phase in which the generator learns to paint the portrait that each latent stands for.

    Needs batches with ``latent``, drawn from the standard normal distribution that the adversarial phase samples, too.

    Args:
        images: Portraits seen before the adversarial phase begins; 0 for no warm start.
        discriminator_images: The last so many of them also train the discriminator, so that its first gradients mean something.
        transition_images: Portraits of the adversarial phase over which the supervised loss fades out.
        transition_fraction: Part of a batch that the fading loss sees.
        transition_weight: Weight of the supervised loss beside the adversarial one at the start of the transition.
        painting: Weights of the terms of the supervised loss.
        landmarker: Weights of the landmark network that the supervised loss looks through, if it does.
        reader: Weights of a network of the judge's kind, trained apart from the judge that measures, that it looks through, if it does.
        learning_rate: Of the generator before the adversarial phase.
        momentum: First Adam coefficient of the generator before the adversarial phase; regression gains from it, the game does not.
        importance_images: Portraits, on each rank, from which the importance of each latent number is estimated at the start, to
            scale the mapping network's inputs (`models.stylegan2.importance`); 0 leaves them alone.
        importance_power: Exponent of that scale.
    """

    images: int = 0
    discriminator_images: int = 0
    transition_images: int = 0
    transition_fraction: float = 0.25
    transition_weight: float = 1.0
    painting: PaintingWeights = PaintingWeights()
    landmarker: str | None = None
    reader: str | None = None
    learning_rate: float = 0.004
    momentum: float = 0.9
    importance_images: int = 0
    importance_power: float = 0.5

    def supervision(self, images_seen: int) -> tuple[float, float]:
        """Weight of the supervised loss, and the part of a batch it sees."""
        if images_seen < self.images:
            return 1.0, 1.0
        faded = (images_seen - self.images) / self.transition_images if self.transition_images else 1.0
        return self.transition_weight * max(1.0 - faded, 0.0), self.transition_fraction


def portrait_latents(batch: dict[str, Tensor], z_dim: int) -> Float[Tensor, "batch z_dim"]:
    """The latents of a batch of portraits.

    Raises:
        InputError: if the batch has none, or of another size than the generator's.
    """
    if "latent" not in batch or batch["latent"].shape[1:] != (z_dim,):
        came = tuple(batch["latent"].shape) if "latent" in batch else "none"
        raise InputError(
            f"expected latents (batch, {z_dim}) of the portraits for the warm start, got {came}; "
            "set the generator's z_dim to the portraits' latent size, or warm_start.images to 0"
        )
    return batch["latent"]


def weigh_latents(
    generator: Generator,
    batches: Iterable[dict[str, Tensor]],
    warm_start: WarmStart,
    mean_over_ranks: Callable[[Tensor], Tensor],
) -> None:
    """Scale the mapping network's inputs by their importance in the first portraits of `batches`.

    Args:
        generator: Generator with fresh weights.
        batches: Portraits with their latents.
        warm_start: How many portraits, and the exponent.
        mean_over_ranks: Averages a tensor over all ranks, each of which estimates from portraits of its own: networks that are trained
            together must stay equal.
    """
    views: dict[str, list[Tensor]] = {}
    latents: list[Tensor] = []
    for batch in batches:
        latents.append(portrait_latents(batch, generator.z_dim).float())
        for name, values in _views(batch, warm_start).items():
            views.setdefault(name, []).append(values.flatten(1).float())
        if sum(map(len, latents)) >= warm_start.importance_images:
            break
    importance = mean_over_ranks(latent_importance([torch.cat(parts) for parts in views.values()], torch.cat(latents)))
    scale_mapping_inputs(generator, importance.to(generator.const.device), warm_start.importance_power)


def _views(batch: dict[str, Tensor], warm_start: WarmStart) -> dict[str, Tensor]:
    """What the supervised loss looks at: the picture, its face and its landmarks, the first two in blocks of pixels."""
    weights = warm_start.painting
    missing = [name for name, weight in (("mask", weights.face), ("landmarks", weights.landmarks)) if weight and name not in batch]
    if missing:
        raise InputError(
            f"expected {' and '.join(missing)} of the portraits to weigh latent numbers by, got none; "
            "set warm_start.importance_images to 0, or give synthetic portraits"
        )
    views = {"picture": avg_pool2d(batch["image"], _BLOCK)}
    if weights.face:
        views["face"] = avg_pool2d(batch["image"] * batch["mask"], _BLOCK)
    if weights.landmarks:
        views["landmarks"] = batch["landmarks"]
    return views
