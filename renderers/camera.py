"""Perspective camera on the +z axis, looking along -z."""

import math
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from renderers.errors import InputError

# Depths closer to zero than this are replaced by it before the division: such points are dropped by the rasterizer (it
# leaves out faces at or behind the camera), but must not become infinite or NaN on the way.
_SMALLEST_DEPTH = 1e-6


def clip_to_pixels(points: Float[Tensor, "*batch axes"], image_size: tuple[int, int]) -> Float[Tensor, "*batch 2"]:
    """Clip-space x (right), y (up) in [-1, 1] to pixels x (right), y (down); (-1, 1) is the corner (0, 0).

    Args:
        points: (..., 2 or 3) clip-space points; a third coordinate is ignored.
        image_size: (height, width) in pixels. Pixel centres are at half integers.

    Returns:
        (..., 2) pixels.
    """
    height, width = image_size
    return torch.stack(((points[..., 0] + 1) * (width / 2), (1 - points[..., 1]) * (height / 2)), dim=-1)


def pixels_to_clip(pixels: Float[Tensor, "*batch 2"], image_size: tuple[int, int]) -> Float[Tensor, "*batch 2"]:
    """Inverse of `clip_to_pixels` for the two image axes."""
    height, width = image_size
    return torch.stack((pixels[..., 0] * (2 / width) - 1, 1 - pixels[..., 1] * (2 / height)), dim=-1)


@dataclass(frozen=True)
class PerspectiveCamera:
    """Pinhole camera at (0, 0, distance) of the world frame (x right, y up, z towards the viewer), looking along -z.

    The public BFM tools' camera is `PerspectiveCamera(focal_length=1015 / 224, distance=10.0)`.

    Attributes:
        focal_length: in image heights; at depth d the image spans d / focal_length model units from bottom to top.
        distance: from the world's origin to the camera, in model units (the demo's and the BFM's: decimetres).
        principal_point: where the optical axis meets the image, (x right, y up) from the image's centre in image
            heights.
    """

    focal_length: float = 4.0
    distance: float = 10.0
    principal_point: tuple[float, float] = (0.0, 0.0)

    def __post_init__(self) -> None:
        for name, value in (("focal_length", self.focal_length), ("distance", self.distance)):
            if not (math.isfinite(value) and value > 0):
                raise InputError(
                    f"expected a positive camera {name}, got {value}: "
                    "give the focal length in image heights and the distance in model units"
                )

    def to_clip(
        self, points: Float[Tensor, "batch points 3"], aspect_ratio: float = 1.0
    ) -> Float[Tensor, "batch points 3"]:
        """World points to clip space.

        Args:
            points: (B, N, 3) world frame, model units.
            aspect_ratio: image width over height. Clip space spans [-1, 1] on both axes, so x shrinks in a wide image.

        Returns:
            (B, N, 3): x right and y up, [-1, 1] inside the image, and the depth distance - z, in model units, positive
            in front of the camera.
        """
        depth = self.distance - points[..., 2]
        divisor = torch.where(depth.abs() < _SMALLEST_DEPTH, torch.full_like(depth, _SMALLEST_DEPTH), depth)
        offset_x, offset_y = self.principal_point
        x = (self.focal_length * points[..., 0] / divisor + offset_x) * (2 / aspect_ratio)
        y = (self.focal_length * points[..., 1] / divisor + offset_y) * 2
        return torch.stack((x, y, depth), dim=-1)

    def from_clip(
        self, points: Float[Tensor, "batch points 3"], aspect_ratio: float = 1.0
    ) -> Float[Tensor, "batch points 3"]:
        """Inverse of `to_clip`: clip-space x, y and positive depth back to the world frame."""
        offset_x, offset_y = self.principal_point
        depth = points[..., 2]
        x = (points[..., 0] * (aspect_ratio / 2) - offset_x) * depth / self.focal_length
        y = (points[..., 1] / 2 - offset_y) * depth / self.focal_length
        return torch.stack((x, y, self.distance - depth), dim=-1)

    def to_pixels(
        self, points: Float[Tensor, "batch points 3"], image_size: tuple[int, int]
    ) -> Float[Tensor, "batch points 2"]:
        """World points to pixels (x right, y down; the image's top left corner is (0, 0), pixel centres at half
        integers).

        Args:
            points: (B, N, 3) world frame, model units.
            image_size: (height, width) in pixels.
        """
        height, width = image_size
        return clip_to_pixels(self.to_clip(points, aspect_ratio=width / height), image_size)
