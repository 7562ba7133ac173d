"""Landmarks compared after Procrustes alignment, as Table 3 of PIE does."""

import torch
from jaxtyping import Float
from torch import Tensor


def procrustes_distance(
    points: Float[Tensor, "batch points 2"], reference: Float[Tensor, "batch points 2"]
) -> Float[Tensor, " batch"]:
    """Mean l2 distance, in the reference's pixels, after the similarity transform that brings points closest to the reference.

    Translation, rotation and scale, no reflection, by least squares (Umeyama 1991). The paper says "2D Procrustes alignment (including
    scale)" and leaves open which side is moved: ours is the result, so that errors are in pixels of the reference picture.
    """
    centred, target = (each.double() - each.double().mean(dim=1, keepdim=True) for each in (points, reference))
    # In the plane rotation with scale is one complex factor, and least squares gives it in closed form.
    first, second = (torch.view_as_complex(each.contiguous()) for each in (centred, target))
    power = first.abs().square().sum(dim=1)
    # Points that all fall together can only be put on the centre.
    factor = (first.conj() * second).sum(dim=1) / power.clamp_min(torch.finfo(power.dtype).tiny)
    return (factor[:, None] * first - second).abs().mean(dim=1).to(points.dtype)
