"""Maps from standard normal latents to the distributions of portrait controls; all continuous, all deterministic."""

import math

import torch
from jaxtyping import Float
from torch import Tensor


def uniform(latent: Float[Tensor, "*shape"], low: float = 0.0, high: float = 1.0) -> Float[Tensor, "*shape"]:
    """Standard normal to uniform in [low, high] through the normal distribution function."""
    return low + (high - low) * 0.5 * (1 + torch.erf(latent / math.sqrt(2)))


def smoothstep(low: float, high: float, value: Float[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
    """Cubic step from 0 at `low` to 1 at `high` (`low` may exceed `high`: the step then falls)."""
    t = ((value - low) / (high - low)).clamp(0, 1)
    return t * t * (3 - 2 * t)


def gate(latent: Float[Tensor, "*shape"], probability: float, width: float = 0.25) -> Float[Tensor, "*shape"]:
    """A soft yes (1) with the given probability, changing from 0 to 1 over `width` standard deviations.

    The step is centred on the threshold, so the share of values above one half is `probability`; neighbouring latents
    give neighbouring pictures except in the narrow band of the step.
    """
    threshold = math.sqrt(2) * torch.erfinv(torch.tensor(1 - 2 * probability, dtype=torch.float64)).item()
    return smoothstep(threshold - width / 2, threshold + width / 2, latent)


def excess(latent: Float[Tensor, "*shape"], probability: float, softness: float = 0.6) -> Float[Tensor, "*shape"]:
    """Zero with probability 1 - `probability`, then growing smoothly with the latent towards 1."""
    threshold = math.sqrt(2) * torch.erfinv(torch.tensor(1 - 2 * probability, dtype=torch.float64)).item()
    over = (latent - threshold).clamp(min=0) / softness
    return 1 - torch.exp(-over)


def heavy_tailed(latent: Float[Tensor, "*shape"], deviation: float, limit: float) -> Float[Tensor, "*shape"]:
    """Close to N(0, deviation) in the middle, saturating at +-limit."""
    return limit * torch.tanh(latent * deviation / limit)


def palette(
    position: Float[Tensor, "batch"], stops: Float[Tensor, "stops"], colours: Float[Tensor, "stops channels"]
) -> Float[Tensor, "batch channels"]:
    """Piecewise linear colour ramp: rows of `colours` stand at the increasing `stops`."""
    upper = torch.searchsorted(stops, position.contiguous()).clamp(1, len(stops) - 1)
    low, high = stops[upper - 1], stops[upper]
    weight = ((position - low) / (high - low)).clamp(0, 1)[:, None]
    return colours[upper - 1] * (1 - weight) + colours[upper] * weight


def plateaus(
    position: Float[Tensor, "batch"],
    edges: Float[Tensor, "stops_minus_one"],
    rows: Float[Tensor, "stops parameters"],
    width: float,
) -> Float[Tensor, "batch parameters"]:
    """A row of parameters per interval between `edges`, joined by smooth ramps of the given width.

    The discrete choice of a style: nearly everywhere exactly one row, continuous in `position`.
    """
    result = rows[0].expand(len(position), -1)
    for index in range(len(edges)):
        edge = edges[index]
        step = ((position - edge) / width + 0.5).clamp(0, 1)[:, None]
        step = step * step * (3 - 2 * step)
        result = result + step * (rows[index + 1] - rows[index])
    return result
