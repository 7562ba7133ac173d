"""Fixed, tiling noise textures: the same on every machine, so that a picture depends on its latent alone."""

import math

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional

_SIZE = 256


def _spectral(seed: int, exponent: float, stretch: float, low: float) -> np.ndarray:
    """Noise with amplitude frequency^-exponent above `low` cycles per tile; stretch > 1 elongates it along rows."""
    white = np.random.Generator(np.random.PCG64(seed)).standard_normal((_SIZE, _SIZE))
    fy = np.fft.fftfreq(_SIZE, 1 / _SIZE)[:, None] * stretch
    fx = np.fft.fftfreq(_SIZE, 1 / _SIZE)[None]
    frequency = np.hypot(fx, fy)
    gain = np.where(frequency >= low, np.maximum(frequency, 1) ** -exponent, 0)
    noise = np.fft.ifft2(np.fft.fft2(white) * gain).real
    return (noise / noise.std()).astype(np.float32)


def noise_texture() -> Float[Tensor, "3 size size"]:
    """Channels: strands (long in the second coordinate), curls (isotropic, clumped), skin mottle; unit variance."""
    strands = _spectral(1, 0.7, 14.0, 3.0)
    curls = _spectral(2, 0.5, 1.0, 12.0)
    mottle = _spectral(3, 1.2, 1.0, 3.0)
    return torch.from_numpy(np.stack([strands, curls, mottle]))


def band_limited(
    texture: Float[Tensor, "channels size size"], period: float, pitch: float
) -> Float[Tensor, "channels size size"]:
    """The texture without waves finer than twice the pixel pitch.

    Args:
        period: size of one tile on the surface.
        pitch: size of a pixel there, in the same unit.
    """
    sigma = 0.35 * pitch / period * _SIZE
    if sigma < 0.3:
        return texture
    frequency = torch.fft.fftfreq(_SIZE)
    gain = torch.exp(-2 * (math.pi * sigma) ** 2 * (frequency[:, None] ** 2 + frequency[None] ** 2))
    return torch.fft.ifft2(torch.fft.fft2(texture) * gain.to(texture.device)).real.contiguous()


def sample_tiled(
    texture: Float[Tensor, "channels size size"], coordinates: Float[Tensor, "points 2"]
) -> Float[Tensor, "points channels"]:
    """Bilinear look-up of a tiling texture; coordinates in tiles, (across, along)."""
    padded = functional.pad(texture[None], (0, 1, 0, 1), mode="circular")
    size = texture.shape[-1]
    inside = coordinates - coordinates.floor()
    return functional.grid_sample(padded, (inside * size / size * 2 - 1)[None, None], align_corners=True)[0, :, 0].T
