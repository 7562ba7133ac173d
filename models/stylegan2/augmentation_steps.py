"""The steps of adaptive discriminator augmentation (Karras et al. 2020, "Training Generative Adversarial Networks with Limited Data",
appendix B and table 4), with the paper's strengths.

Each takes functions that draw numbers for a batch: `chosen()` a condition (batch) that is true with the probability p, `normal(*shape)`
and `uniform(*shape)` standard normal numbers and numbers of [0, 1), both (batch, *shape).
"""

import math
from collections.abc import Callable

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float
from torch import Tensor

Draw = Callable[..., Tensor]

# Orthogonal symlets (Daubechies 1992, table 8.3), sum sqrt(2): the low-pass filters that the paper names for resampling and for bands.
SYM2 = (-0.12940952255092145, 0.22414386804185735, 0.836516303737469, 0.48296291314469025)
SYM6 = (
    0.015404109327027373,
    0.0034907120842174702,
    -0.11799011114819057,
    -0.048311742585633,
    0.4910559419267466,
    0.787641141030194,
    0.3379294217276218,
    -0.07263752278646252,
    -0.021060292512300564,
    0.04472490177066578,
    0.0017677118642428036,
    -0.007800708325034148,
)
# Where the filter's weight lies, in taps after its middle.
_LAG = sum(index * tap for index, tap in enumerate(SYM6)) / sum(SYM6) - (len(SYM6) - 1) / 2
# Expected power of natural images in the four bands, up to scale (1/f spectrum: appendix B).
BAND_POWER = (10 / 13, 1 / 13, 1 / 13, 1 / 13)


def blit(images: Float[Tensor, "batch channels size size"], chosen: Draw, uniform: Draw) -> Float[Tensor, "batch channels size size"]:
    """Mirror images, quarter turns, and shifts by up to an eighth of the side with reflection at the borders: no pixel is resampled."""
    size = images.shape[-1]
    mirrored = chosen() & (uniform() < 0.5)
    images = torch.where(_per_image(mirrored), images.flip(3), images)
    turns = (uniform() * 4).floor().long().clamp(max=3) * chosen()
    # Two bits of the number of quarter turns: a half turn and a quarter turn.
    images = torch.where(_per_image(turns % 2 == 1), images.transpose(2, 3).flip(2), images)
    images = torch.where(_per_image(turns >= 2), images.flip((2, 3)), images)
    shifts = ((uniform(2) * 2 - 1) * (0.125 * size)).round().long() * chosen()[:, None]
    places = (torch.arange(size, device=images.device) - shifts[..., None]) % max(2 * size - 2, 1)
    places = torch.where(places < size, places, 2 * size - 2 - places)
    images = images.gather(2, places[:, 0, None, :, None].expand_as(images))
    return images.gather(3, places[:, 1, None, None, :].expand_as(images))


def inverse_geometry(
    probability: Float[Tensor, ""], chosen: Draw, normal: Draw, uniform: Draw
) -> tuple[Float[Tensor, "batch 2 3"], Bool[Tensor, " batch"]]:
    """Transforms that take places in the new picture to places in the old one, for coordinates in [-1, 1] across the picture.

    Returns:
        The transforms, and which of them are more than the identity.
    """
    # Two rotations, so that either happens with the probability p.
    either = 1 - (1 - probability).clamp(min=0).sqrt()
    scaled, turned, stretched, turned_again, shifted = chosen(), chosen(either), chosen(), chosen(either), chosen()
    size = torch.exp2(normal() * 0.2 * scaled)
    first = (uniform() * 2 - 1) * math.pi * turned
    ratio = torch.exp2(normal() * 0.2 * stretched)
    second = (uniform() * 2 - 1) * math.pi * turned_again
    # 0.125 is a part of the side, which is 2 long here.
    shift = normal(2) * 0.25 * shifted[:, None]
    stretch = torch.stack([ratio, 1 / ratio], dim=1)
    # Forward: scale, rotate, stretch, rotate, shift. Inverse transforms in the opposite order.
    linear = _rotation(-first) @ torch.diag_embed(1 / stretch) @ _rotation(-second) / size[:, None, None]
    offset = -(linear @ shift[..., None])
    return torch.cat([linear, offset], dim=2), scaled | turned | stretched | turned_again | shifted


def warp(
    images: Float[Tensor, "batch channels size size"], inverse: Float[Tensor, "batch 2 3"]
) -> Float[Tensor, "batch channels size size"]:
    """Move images by affine transforms, with reflection at the borders.

    Bilinear sampling between two filters (appendix B): at twice the size it damages few of the picture's frequencies, and the second
    filter takes out those that would alias.

    Args:
        images: The images.
        inverse: Takes (x right, y down), [-1, 1] across the picture, in the new picture to places in the old one.
    """
    size = images.shape[-1]
    taps = torch.tensor(SYM6, device=images.device, dtype=images.dtype) / math.sqrt(2)
    # The margin is what the first filter reaches beyond the borders, the border what the second does, at twice the size.
    margin = min(len(SYM6) // 4, size - 1)
    border = len(SYM6) // 2 - 1
    large = _upsample(F.pad(images, [margin] * 4, mode="reflect"), taps)
    wanted = 2 * size + 2 * border
    # The filter is not quite symmetric: it moves pictures by this (half a side is 1), and its adjoint moves them back.
    lag = _LAG / size
    axis = (torch.arange(wanted, device=images.device, dtype=images.dtype) + 0.5 - wanted / 2) / size - lag
    x, y = axis.expand(wanted, wanted), axis[:, None].expand(wanted, wanted)
    linear, offset = inverse.to(images.dtype).split((2, 1), dim=2)
    places = torch.einsum("bij,yxj->byxi", linear, torch.stack([x, y], dim=-1)) + offset[:, None, None, :, 0]
    # Reflected here, at the borders of the picture: grid_sample would reflect at those of the margin.
    places = 1 - ((places + 1) % 4 - 2).abs()
    grid = (places + lag) * (size / (size + 2 * margin))
    moved = F.grid_sample(large, grid, mode="bilinear", padding_mode="border", align_corners=False)
    return _downsample(moved, taps)


def colour_matrices(chosen: Draw, normal: Draw, uniform: Draw) -> Float[Tensor, "batch 3 4"]:
    """Random affine maps of RGB in [-1, 1]: brightness, contrast, luma flip, hue and saturation."""
    brightness = normal() * 0.2 * chosen()
    contrast = torch.exp2(normal() * 0.5 * chosen())
    flipped = (chosen() & (uniform() < 0.5)).to(contrast.dtype)
    hue = (uniform() * 2 - 1) * math.pi * chosen()
    saturation = torch.exp2(normal() * chosen())
    grey = torch.full((3, 3), 1 / 3, device=contrast.device)
    identity = torch.eye(3, device=contrast.device)
    # Around the grey axis: what lies along it is luma, what lies across it is hue and saturation.
    cross = torch.tensor([[0.0, -1.0, 1.0], [1.0, 0.0, -1.0], [-1.0, 1.0, 0.0]], device=contrast.device) / math.sqrt(3)
    across = identity - grey

    def by(values: Tensor) -> Tensor:
        return values[:, None, None]

    rotation = grey + across * by(hue.cos()) + cross * by(hue.sin())
    colours = (grey * by(1 - 2 * flipped) + across * by(saturation)) @ rotation
    # The luma flip mirrors the brightness as well, which was added before it.
    offset = brightness * contrast * (1 - 2 * flipped)
    return torch.cat([colours * by(contrast), by(offset).expand(-1, 3, 1)], dim=2)


def recolour(images: Float[Tensor, "batch 3 height width"], matrices: Float[Tensor, "batch 3 4"]) -> Float[Tensor, "batch 3 height width"]:
    """Map the colours of images."""
    return torch.einsum("bij,bjhw->bihw", matrices[:, :, :3], images) + matrices[:, :, 3, None, None]


def filter_bands(
    images: Float[Tensor, "batch channels size size"], chosen: Draw, normal: Draw
) -> Float[Tensor, "batch channels size size"]:
    """Amplify or attenuate the bands 0..pi/8, pi/8..pi/4, pi/4..pi/2 and pi/2..pi of images, at constant expected power.

    Each band that is chosen gets a log-normal gain of one octave; the gains are then divided so that an image with the power spectrum
    of natural images keeps its power.
    """
    bank = _band_filters().to(images)
    power = torch.tensor(BAND_POWER, device=images.device)
    gains = torch.ones(len(images), len(BAND_POWER), device=images.device)
    changes = torch.zeros(len(images), dtype=torch.bool, device=images.device)
    for band in range(len(BAND_POWER)):
        picked = chosen()
        changes = changes | picked
        one = torch.ones_like(gains)
        one[:, band] = torch.exp2(normal() * picked)
        gains = gains * one / (one.square() @ power).sqrt()[:, None]
    kernels = gains.to(images.dtype) @ bank
    reach = bank.shape[1] // 2
    batch, channels, height, width = images.shape
    padded = images
    # In several goes, as one reflects no more than the picture holds.
    while (missing := reach - (padded.shape[-1] - width) // 2) > 0:
        padded = F.pad(padded, [min(missing, padded.shape[-1] - 1)] * 4, mode="reflect")
    rows = kernels.repeat_interleave(channels, dim=0)[:, None, None, :]
    flat = padded.reshape(1, batch * channels, *padded.shape[2:])
    flat = F.conv2d(flat, rows, groups=batch * channels)
    flat = F.conv2d(flat, rows.transpose(2, 3), groups=batch * channels)
    changed = flat.reshape(batch, channels, height, width)
    return torch.where(_per_image(changes), changed, images)


def cut_out(
    images: Float[Tensor, "batch channels size size"], chosen: Draw, uniform: Draw
) -> Float[Tensor, "batch channels size size"]:
    """Set a square of half the side, centred anywhere, to grey."""
    size = images.shape[-1]
    places = (torch.arange(size, device=images.device) + 0.5) / size
    near = (uniform(2)[..., None] - places).abs() < 0.25
    hidden = near[:, 0, :, None] & near[:, 1, None, :] & chosen()[:, None, None]
    return torch.where(hidden[:, None], torch.zeros_like(images), images)


def _per_image(values: Bool[Tensor, " batch"]) -> Bool[Tensor, "batch 1 1 1"]:
    return values[:, None, None, None]


def _rotation(angles: Float[Tensor, " batch"]) -> Float[Tensor, "batch 2 2"]:
    cosine, sine = angles.cos(), angles.sin()
    return torch.stack([cosine, -sine, sine, cosine], dim=-1).unflatten(-1, (2, 2))


def _along(x: Tensor, taps: Tensor, axis: int, stride: int, transposed: bool) -> Tensor:
    """Filter along one axis; convolution with a stride, or its adjoint."""
    shape = [1, 1, 1, 1]
    shape[axis] = len(taps)
    strides = [1, 1]
    strides[axis - 2] = stride
    kernel = taps.view(shape)
    flat = x.reshape(-1, 1, *x.shape[2:])
    flat = F.conv_transpose2d(flat, kernel, stride=strides) if transposed else F.conv2d(flat, kernel, stride=strides)
    return flat.reshape(*x.shape[:2], *flat.shape[2:])


def _upsample(x: Tensor, taps: Tensor) -> Tensor:
    """Double the size: zeros between pixels, then the low-pass filter."""
    for axis in (2, 3):
        x = _along(x, 2 * taps, axis, 2, transposed=True)
    crop = len(taps) // 2 - 1
    return x[:, :, crop : x.shape[2] - crop, crop : x.shape[3] - crop]


def _downsample(x: Tensor, taps: Tensor) -> Tensor:
    """Halve the size with the adjoint filter, which makes it the inverse of `_upsample` where the filter is orthogonal."""
    for axis in (2, 3):
        x = _along(x, taps, axis, 2, transposed=False)
    return x


def _band_filters() -> Tensor:
    """(4, taps) symmetric filters of odd length that pass one octave band each and sum to the unit impulse."""
    low = torch.tensor(SYM2, dtype=torch.float64) / math.sqrt(2)
    half_band = _convolve(low, low.flip(0))
    passes = [torch.ones(1, dtype=torch.float64)]
    # Low-pass filters for pi/2, pi/4 and pi/8: the half-band filter at wider and wider spacing, one after another.
    for spacing in (1, 2, 4):
        spread = torch.zeros((len(half_band) - 1) * spacing + 1, dtype=torch.float64)
        spread[::spacing] = half_band
        passes.append(_convolve(passes[-1], spread))
    length = len(passes[-1])
    centred = [F.pad(kernel, [(length - len(kernel)) // 2] * 2) for kernel in passes]
    return torch.stack([centred[3], centred[2] - centred[3], centred[1] - centred[2], centred[0] - centred[1]]).float()


def _convolve(first: Tensor, second: Tensor) -> Tensor:
    padded = F.pad(first[None, None], [len(second) - 1] * 2)
    return F.conv1d(padded, second.flip(0)[None, None])[0, 0]
