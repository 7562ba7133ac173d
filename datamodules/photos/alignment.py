"""FFHQ's aligned crop of a photo, with the official recipe's padding and resampling."""

import math
from typing import NamedTuple

import numpy as np
from jaxtyping import Float
from PIL import Image, ImageFilter, ImageStat
from torch import Tensor

from renderers.errors import InputError

# All of `recreate_aligned_images` in FFHQ's repository (Karras et al., CVPR 2019), as shares of the quad's side where not said
# otherwise: what is kept around the quad, how far padding reaches at least, and the blur of the padding.
BORDER = 0.1
LEAST_PADDING = 0.3
BLUR = 0.02
# Within this share of the padding's width the blur fades out inside the photo (`mask * 3.0 + 1.0` there).
BLUR_FADE = 1 / 3
# Pixels: least border, and how much less than the border the padding needs to be for none to be made.
LEAST_BORDER = 3
UNPADDED_MARGIN = 4
# Samples per pixel and axis of the turned crop, before Lanczos brings them together. FFHQ takes the larger always; as many as the
# quad has pixels per pixel of the crop, but no fewer than the smaller, give the same crop within 50 dB in half the time.
LEAST_OVERSAMPLING, OVERSAMPLING = 2, 4


class AlignedCrop(NamedTuple):
    """A crop of a photo.

    Attributes:
        image: square, RGB.
        padding: what was added around the photo (left, top, right, bottom), in pixels of the photo; 0 for none. The crop shows
            the photo blurred within a third of that from its edge, see `blur_weight`.
    """

    image: Image.Image
    padding: tuple[float, float, float, float]


def crop_quad(photo: Image.Image, quad: Float[Tensor, "4 2"], size: int) -> AlignedCrop:
    """Cut a quad out of a photo, shrunk without aliasing; what the photo lacks is its reflection, blurred, and further out one colour.

    As FFHQ does it, but for Pillow's Gaussian blur in place of SciPy's (three box filters; a tenth of the time), fewer samples
    where the photo has no more to give, and quads in pixels whose centres are at half integers.

    Args:
        photo: RGB.
        quad: as in `models.face_crops`, a square; pixels of the photo.
        size: of the crop, in pixels.

    Raises: `InputError` for a quad that is no square of at least a pixel or does not meet the photo.
    """
    corners = quad.double().numpy()
    side = float(np.hypot(*(corners[3] - corners[0])))
    if not np.isfinite(corners).all() or side < 1:
        raise InputError(
            f"expected a face of at least a pixel, got the quad {corners.round(1).tolist()}; leave that face out"
        )
    border = max(round(side * BORDER), LEAST_BORDER)
    low, high = np.floor(corners.min(0)).astype(int), np.ceil(corners.max(0)).astype(int)
    left, top = np.maximum(low - border, 0)
    right, bottom = np.minimum(high + border, photo.size)
    if right <= left or bottom <= top:
        raise InputError(
            f"expected a face inside the photo, got the quad {corners.round(1).tolist()}; leave that face out"
        )
    region = photo.crop((int(left), int(top), int(right), int(bottom)))
    shrink = math.floor(side / size * 0.5)
    scale = np.ones(2)
    if shrink > 1:
        reduced = (max(1, round(region.width / shrink)), max(1, round(region.height / shrink)))
        scale = np.array(reduced) / np.array(region.size)
        region = region.resize(reduced, Image.Resampling.LANCZOS)
    corners = (corners - (left, top)) * scale
    region, padding = _padded(region, corners, side * float(scale.mean()))
    corners = corners + padding[:2]
    samples = size * min(max(math.ceil(side * scale.mean() / size), LEAST_OVERSAMPLING), OVERSAMPLING)
    # Pillow wants the corners in the order of our quads.
    turned = region.transform(
        (samples, samples), Image.Transform.QUAD, corners.flatten().tolist(), Image.Resampling.BILINEAR
    )
    image = turned.resize((size, size), Image.Resampling.LANCZOS)
    return AlignedCrop(image, tuple((padding / np.tile(scale, 2)).tolist()))


def _padded(region: Image.Image, corners: np.ndarray, side: float) -> tuple[Image.Image, np.ndarray]:
    """The region, padded where the quad comes near its edge or leaves it, and the padding (left, top, right, bottom)."""
    border = max(round(side * BORDER), LEAST_BORDER)
    low, high = np.floor(corners.min(0)), np.ceil(corners.max(0))
    padding = np.concatenate([-low, high - region.size]).astype(int) + border
    if padding.max() <= border - UNPADDED_MARGIN:
        return region, np.zeros(4)
    padding = np.maximum(padding, round(side * LEAST_PADDING))
    left, top, right, bottom = padding.tolist()
    pixels = np.pad(np.asarray(region), ((top, bottom), (left, right), (0, 0)), "reflect")
    padded = Image.fromarray(pixels)
    height, width = pixels.shape[:2]
    x, y = np.arange(width, dtype=np.float32), np.arange(height, dtype=np.float32)
    # 1 at the outer edge of the padding, 0 at the photo's edge, negative inside.
    outside = np.maximum(
        1 - np.minimum(x / left, (width - 1 - x) / right)[None],
        1 - np.minimum(y / top, (height - 1 - y) / bottom)[:, None],
    )
    blurred = padded.filter(ImageFilter.GaussianBlur(side * BLUR))
    padded = Image.composite(blurred, padded, _eight_bit(outside / BLUR_FADE + 1))
    median = Image.new("RGB", padded.size, tuple(ImageStat.Stat(padded).median))
    return Image.composite(median, padded, _eight_bit(outside)), padding.astype(float)


def _eight_bit(weights: np.ndarray) -> Image.Image:
    return Image.fromarray((weights.clip(0, 1) * 255).round().astype(np.uint8))


def blur_weight(
    x: np.ndarray, y: np.ndarray, photo_size: tuple[int, int], padding: tuple[float, float, float, float]
) -> np.ndarray:
    """How much of a crop is blur rather than photo at points inside the photo: 1 at a padded edge, 0 a third of the padding inside.

    Args:
        x, y: points in pixels of the photo, of shapes that broadcast.
        photo_size: width and height.
        padding: of the crop, as in `AlignedCrop`.
    """
    width, height = photo_size
    weight = np.zeros(np.broadcast_shapes(x.shape, y.shape))
    for distance, reach in zip((x, y, width - x, height - y), padding, strict=True):
        if reach > 0:
            weight = np.maximum(weight, 1 - distance / (reach * BLUR_FADE))
    return weight.clip(0, 1)
