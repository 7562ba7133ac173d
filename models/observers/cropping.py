"""A part of a picture, or the whole, in another size; differentiable, and independent of the rest of the batch."""

import math
from collections.abc import Sequence
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional

from renderers.errors import InputError


class CropBox(NamedTuple):
    """A part of an image, as fractions of its width (left, right) and height (top, bottom)."""

    left: float
    top: float
    right: float
    bottom: float


def checked_crop(crop: Sequence[float]) -> CropBox:
    """The crop as a `CropBox`.

    Raises: `InputError` unless left < right and top < bottom.
    """
    if len(crop) != 4:
        raise InputError(f"expected a crop of four fractions (left, top, right, bottom), got {len(crop)}; give four")
    box = CropBox(*crop)
    if not (box.left < box.right and box.top < box.bottom):
        raise InputError(
            f"expected a crop (left, top, right, bottom) in fractions of the image, got {tuple(crop)}; "
            "give left < right and top < bottom"
        )
    return box


def central_boxes(images: Float[Tensor, "batch 3 height width"], crop: CropBox) -> Float[Tensor, "batch 4"]:
    """The same part of every image as boxes (left, top, right, bottom) in pixels."""
    height, width = images.shape[-2:]
    box = images.new_tensor([crop.left * width, crop.top * height, crop.right * width, crop.bottom * height])
    return box.expand(images.shape[0], 4)


def box_around(points: Float[Tensor, "batch points 2"], margin: float) -> Float[Tensor, "batch 4"]:
    """Square boxes (left, top, right, bottom) in pixels, `margin` times as wide as the larger extent of the points."""
    low, high = points.amin(dim=1), points.amax(dim=1)
    centre = (low + high) / 2
    half = ((high - low).amax(dim=-1, keepdim=True) * margin / 2).clamp(min=1.0)
    return torch.cat([centre - half, centre + half], dim=-1)


def crop_and_resize(
    images: Float[Tensor, "batch 3 height width"], boxes: Float[Tensor, "batch 4"], size: int
) -> Float[Tensor, "batch 3 size size"]:
    """Resample boxes (left, top, right, bottom; pixels, may exceed the image) to size x size pixels.

    Bilinear samples, several per pixel where a box as large as the image would skip pixels, averaged; how many depends
    on the images' size alone, so a picture reads the same in every batch. Outside the image its border is repeated.
    Differentiable in images and boxes.
    """
    height, width = images.shape[-2:]
    boxes = boxes.to(images.dtype)
    samples = math.ceil(max(height, width) / size)
    steps = (torch.arange(size * samples, device=boxes.device, dtype=boxes.dtype) + 0.5) / (size * samples)
    x = (boxes[:, :1] + steps * (boxes[:, 2:3] - boxes[:, :1])) / width * 2 - 1
    y = (boxes[:, 1:2] + steps * (boxes[:, 3:] - boxes[:, 1:2])) / height * 2 - 1
    grid = torch.stack(
        [x[:, None, :].expand(-1, steps.numel(), -1), y[:, :, None].expand(-1, -1, steps.numel())], dim=-1
    )
    sampled = functional.grid_sample(images, grid, mode="bilinear", padding_mode="border", align_corners=False)
    return functional.avg_pool2d(sampled, samples)


def resize_square(images: Float[Tensor, "batch channels height width"], size: int) -> Tensor:
    """Square images (B, 3, S, S) in [-1, 1] to size x size pixels, antialiased when they shrink.

    Raises: `InputError` for anything but square RGB images.
    """
    if images.ndim != 4 or images.shape[1] != 3 or images.shape[2] != images.shape[3]:
        raise InputError(
            f"expected square RGB images (batch, 3, size, size), got {tuple(images.shape)}; crop them first"
        )
    if images.shape[-1] == size:
        return images
    return functional.interpolate(images, size=(size, size), mode="bilinear", antialias=True, align_corners=False)
