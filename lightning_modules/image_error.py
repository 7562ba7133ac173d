"""How far pictures are apart on a part of them, face by face; what trainings log and what figures are made of."""

import torch
from jaxtyping import Float
from torch import Tensor


def squared_error(
    render: Float[Tensor, "batch 3 size size"],
    picture: Float[Tensor, "batch 3 size size"],
    mask: Float[Tensor, "batch 1 size size"],
) -> Float[Tensor, " batch"]:
    """Sum over the pixels of a mask of the mean squared difference of colours; both in [0, 1]."""
    return ((render - picture).square().mean(dim=1, keepdim=True) * mask).sum(dim=(1, 2, 3))


def masked_psnr(
    render: Float[Tensor, "batch 3 size size"],
    picture: Float[Tensor, "batch 3 size size"],
    mask: Float[Tensor, "batch 1 size size"],
) -> Float[Tensor, " batch"]:
    """Peak signal-to-noise ratio in decibels over the pixels of a mask, of images in [0, 1].

    0 for an empty mask, an error as large as colours allow: a face out of the picture must not raise a mean.
    """
    pixels = mask.sum(dim=(1, 2, 3))
    error = torch.where(pixels > 0, squared_error(render, picture, mask) / pixels.clamp_min(1), 1.0)
    return -10 * error.clamp_min(1e-12).log10()
