"""Backgrounds out of focus: a wall or sky gradient, soft edges, and lights as bokeh discs."""

import torch
from jaxtyping import Float
from torch import Tensor

from datamodules.portraits.clothes import hue_colour
from datamodules.portraits.distributions import excess, smoothstep, uniform


def background(
    latent: Float[Tensor, "batch 18"], light: Float[Tensor, "batch 3"], image_size: tuple[int, int]
) -> Float[Tensor, "batch height width 3"]:
    """Background colours in about [0, 1].

    Args:
        light: colour of the scene's key light, which tints the wall.
    """
    height, width = image_size
    y = (torch.arange(height, device=latent.device) + 0.5) / height * 2 - 1
    x = (torch.arange(width, device=latent.device) + 0.5) / width * 2 - 1
    y, x = y[None, :, None], x[None, None, :]

    def pick(index: int) -> Tensor:
        return latent[:, index, None, None]

    value = 0.10 + 0.80 * uniform(latent[:, 0])
    hue = 2.8 * latent[:, 1]
    saturation = 0.5 * uniform(latent[:, 2]) ** 2
    first = hue_colour(hue, saturation, value)
    other_value = (value * torch.exp(0.55 * latent[:, 3])).clamp(0.03, 0.97)
    second = hue_colour(hue + 1.2 * latent[:, 4], 0.5 * uniform(latent[:, 5]) ** 2, other_value)
    angle = 1.6 * pick(6)
    ramp = x * angle.sin() + y * angle.cos()
    # From a smooth gradient to the soft edge of a wall or a horizon.
    width_of_edge = 0.12 + 1.5 * uniform(pick(7)) ** 2
    mix = smoothstep(-1.0, 1.0, (ramp - 0.35 * pick(8)) / width_of_edge)
    picture = first[:, None, None] + (second - first)[:, None, None] * mix[..., None]
    for index, spread in ((9, 0.30), (12, 0.5), (15, 0.2)):
        centre_x = 1.25 * torch.tanh(0.8 * pick(index))
        centre_y = 1.25 * torch.tanh(0.8 * pick(index + 1)) - 0.15
        size = spread * (0.7 + 0.6 * uniform(pick(index + 2)))
        distance = ((x - centre_x) ** 2 + (y - centre_y) ** 2).sqrt() / size
        strength = torch.tanh(1.2 * latent[:, index + 2])
        disc = smoothstep(1.45, 0.55, distance)
        glow = hue_colour(hue + 2.0 * latent[:, index] + 1.0, 0.4 * torch.ones_like(hue), 0.35 + 0.55 * strength.abs())
        share = excess(latent[:, index + 2].abs(), 0.30, 1.2)
        picture = picture + (share[:, None, None] * disc)[..., None] * (glow[:, None, None] - picture) * 0.8
    tint = light / light.mean(1, keepdim=True).clamp(min=1e-3)
    return picture * (0.75 + 0.25 * tint)[:, None, None]
