"""How much each number of a portrait's latent shows: the scale that a warm-started mapping network reads it with."""

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor

from models.stylegan2.generator import Generator
from renderers.errors import InputError


def latent_importance(
    views: Sequence[Float[Tensor, "samples _"]], latents: Float[Tensor, "samples z_dim"], ridge: float = 1e-3
) -> Float[Tensor, " z_dim"]:
    """Share of the explained variance of portraits that is due to each latent number, by ridge regression on latents.

    Args:
        views: What is seen of the portraits, such as coarse pictures and landmarks; each of any number of values. All count alike, whatever
            their units.
        latents: The standard normal latents they were drawn from, more samples than numbers.
        ridge: Weight of the ridge relative to the variance of the latents.

    Returns:
        The summed squared coefficients of each number, as a share of those of all numbers, summed over views.

    Raises:
        InputError: if there are no more samples than latent numbers, or a view is the same of all samples.
    """
    samples, numbers = latents.shape
    if samples <= numbers:
        raise InputError(f"expected more than {numbers} portraits to weigh {numbers} latent numbers, got {samples}; give more")
    gram = latents.T @ latents + ridge * samples * torch.eye(numbers, device=latents.device, dtype=latents.dtype)
    importance = latents.new_zeros(numbers)
    for view in views:
        energy = torch.linalg.solve(gram, latents.T @ (view - view.mean(dim=0))).square().sum(dim=1)
        total = energy.sum()
        if not total > 0:
            raise InputError(
                "expected pictures, faces and landmarks that vary from portrait to portrait to weigh latent numbers, got some that do not; "
                "give other portraits, or set warm_start.importance_images to 0"
            )
        importance += energy / total
    return importance


@torch.no_grad()
def scale_mapping_inputs(generator: Generator, importance: Float[Tensor, " z_dim"], power: float = 0.5) -> None:
    """Scale the first layer of the mapping network so that it starts out reading latent numbers by their importance.

    A portrait's latent has some numbers that move the whole picture and many that hardly show. To a random mapping network all are
    alike, and the few drown in the many; scaled, W starts out with the geometry that the pictures have. This is an initialisation only.

    Args:
        generator: Generator with fresh weights.
        importance: From `latent_importance`. Values below their median are noise of the estimate and are raised to it.
        power: Exponent of the scale; 0.5 makes a number's weight proportional to its effect on the picture.
    """
    scale = importance.clamp_min(importance.median()) ** power
    # The root mean square stays: so do the sizes of activations.
    generator.mapping.first.weight.mul_(scale / scale.square().mean().sqrt())
