"""Texture coordinates for face models that come without any."""

import torch
from jaxtyping import Float
from torch import Tensor


def cylindrical_uv(mean_shape: Float[Tensor, "vertices 3"]) -> Float[Tensor, "vertices 2"]:
    """The mean face unrolled about the vertical axis through the middle of its bounding box.

    u grows with the angle from the image's left to its right, v with the height; both are stretched to [0, 1]. At the back of
    a whole head, triangles that cross the seam are drawn backwards.
    """
    lowest, highest = mean_shape.amin(dim=0), mean_shape.amax(dim=0)
    centre = (lowest + highest) / 2
    angle = torch.atan2(mean_shape[:, 0] - centre[0], mean_shape[:, 2] - centre[2])
    uv = torch.stack([angle, mean_shape[:, 1]], dim=1)
    start, end = uv.amin(dim=0), uv.amax(dim=0)
    return (uv - start) / (end - start).clamp_min(1e-12)
