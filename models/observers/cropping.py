"""A part of a picture, or the whole, in another size; differentiable, and independent of the rest of the batch."""

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
    # Not in the images' own type: places in half precision are whole pixels off.
    box = torch.tensor(
        [crop.left * width, crop.top * height, crop.right * width, crop.bottom * height],
        device=images.device,
        dtype=torch.promote_types(images.dtype, torch.float32),
    )
    return box.expand(images.shape[0], 4)


def square_around(boxes: Float[Tensor, "batch 4"], margin: float) -> Float[Tensor, "batch 4"]:
    """Squares with the centres of boxes (left, top, right, bottom; pixels), `margin` times as wide as their larger side."""
    low, high = boxes[:, :2], boxes[:, 2:]
    centre = (low + high) / 2
    half = ((high - low).amax(dim=-1, keepdim=True) * margin / 2).clamp(min=1.0)
    return torch.cat([centre - half, centre + half], dim=-1)


def crop_and_resize(
    images: Float[Tensor, "batch 3 height width"], boxes: Float[Tensor, "batch 4"], size: int
) -> Float[Tensor, "batch 3 size size"]:
    """Resample boxes (left, top, right, bottom; pixels, may exceed the image) to size x size pixels.

    Bilinear samples, several per pixel where one would skip pixels of the image, averaged; how many depends on the box
    of each image alone, so a picture reads the same in every batch. Outside the image its border is repeated.
    Differentiable in images and boxes; computed in float32 where the images are of half precision.
    """
    working = torch.promote_types(images.dtype, torch.float32)
    boxes = boxes.to(working)
    sides = (boxes[:, 2:] - boxes[:, :2]).detach().abs().amax(dim=1)
    counts = (sides / size).ceil().clamp(min=1, max=max(images.shape[-2:])).long()
    if bool((counts == counts[0]).all()):
        return _resample(images.to(working), boxes, size, int(counts[0])).to(images.dtype)
    crops = [
        _resample(images[i : i + 1].to(working), boxes[i : i + 1], size, count)
        for i, count in enumerate(counts.tolist())
    ]
    return torch.cat(crops).to(images.dtype)


def _resample(images: Tensor, boxes: Tensor, size: int, samples: int) -> Tensor:
    """`samples` times `samples` bilinear samples per pixel of the result, averaged."""
    height, width = images.shape[-2:]
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
    # Half precision has no antialiased resampling on the CPU.
    working = images.to(torch.promote_types(images.dtype, torch.float32))
    resized = functional.interpolate(working, size=(size, size), mode="bilinear", antialias=True, align_corners=False)
    return resized.to(images.dtype)
