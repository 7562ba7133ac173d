"""Pictures by seed: one seed is one latent, one code and one picture, whatever else is drawn beside it."""

import re
from collections.abc import Sequence

import numpy as np
import torch
from jaxtyping import Float, UInt8
from torch import Tensor

from models.stylegan2.generator import Generator, NoiseMode
from renderers.errors import InputError

# NumPy's generator takes seeds of 32 bits.
LARGEST_SEED = 2**32 - 1
_MOST_SEEDS = 1_000_000
_RANGE = re.compile(r"(\d+)(?:-(\d+))?")


def parse_seeds(text: str) -> list[int]:
    """Seeds from text such as ``0-15`` or ``3,7,20-29``; ranges include both ends.

    Raises:
        InputError: for another form, a range that runs backwards, a seed twice, or one above 2^32 - 1.
    """
    seeds: list[int] = []
    for part in text.replace(" ", "").split(","):
        match = _RANGE.fullmatch(part)
        if match is None:
            raise InputError(f"expected seeds such as 0-15 or 3,7,20-29, got {text!r}; correct them")
        first, last = int(match[1]), int(match[2] or match[1])
        if last < first or last > LARGEST_SEED:
            raise InputError(f"expected seeds that rise and are at most {LARGEST_SEED}, got {part}; correct them")
        if len(seeds) + last - first >= _MOST_SEEDS:
            raise InputError(f"expected at most {_MOST_SEEDS} seeds, got more in {text!r}; ask for them in parts")
        seeds.extend(range(first, last + 1))
    if len(set(seeds)) != len(seeds):
        raise InputError(f"expected each seed once, got one again in {text!r}; leave it out")
    return seeds


def latents_of_seeds(seeds: Sequence[int], z_dim: int) -> Float[Tensor, "seeds z_dim"]:
    """The latents that the StyleGAN2-ADA release draws for these seeds: NumPy's ``RandomState(seed).randn``.

    So a seed gives the picture that its users know.
    """
    latents = np.empty((len(seeds), z_dim), dtype=np.float32)
    for row, seed in enumerate(seeds):
        latents[row] = np.random.RandomState(seed).randn(z_dim)
    return torch.from_numpy(latents)


@torch.no_grad()
def codes_of_seeds(generator: Generator, seeds: Sequence[int], truncation: float = 1.0) -> Float[Tensor, "seeds width"]:
    """Codes of W, truncated towards the mean; on the CPU.

    Latents pass the mapping network one by one: products of matrices are rounded differently for other numbers of rows.
    """
    device = generator.mean_w.device
    rows = latents_of_seeds(seeds, generator.z_dim).split(1)
    codes = [generator.truncate(generator.mapping(row.to(device)), truncation).cpu() for row in rows]
    return torch.cat(codes) if codes else torch.empty(0, generator.w_dim)


@torch.no_grad()
def pictures_of_codes(
    generator: Generator, codes: Float[Tensor, "batch layers width"], noise: NoiseMode = "const"
) -> UInt8[Tensor, "batch 3 resolution resolution"]:
    """Pictures of 8 bits on the CPU, rounded as the ADA release rounds them: floor(127.5 x + 128)."""
    images = generator.synthesis(codes.to(generator.mean_w.device), noise)
    return (images * 127.5 + 128).clamp(0, 255).to(torch.uint8).cpu()
