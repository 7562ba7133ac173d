"""``lightning generate``: pictures and codes of a generator by seed."""

import re
from pathlib import Path
from typing import Literal

import torch
from jaxtyping import Float
from PIL import Image
from torch import Tensor

from commands.devices import choose_device, repeatable_convolutions
from commands.warning_filters import warnings_as_lines
from evaluation.report import picture_grid
from models.latent_codes import LatentCodes, load_codes, save_codes
from models.stylegan2 import Generator
from models.stylegan2.digest import generator_digest
from models.stylegan2.loading import load_generator
from models.stylegan2.sampling import codes_of_seeds, parse_seeds, pictures_of_codes
from renderers.errors import InputError

_GRID_COLUMNS = 8
_GRID_PICTURES = 64
# Pictures in the grid are reduced to this width: 8 of 1024 px would make a file that few viewers open.
_GRID_WIDTH = 256
# Far beyond what still looks like a face, on either side of the mean.
_LARGEST_TRUNCATION = 100.0


def generate(
    generator: Path,
    seeds: str,
    output: Path,
    truncation: float = 1.0,
    noise: Literal["const", "none"] = "const",
    batch_size: int = 1,
    device: str = "auto",
    overwrite: bool = False,
) -> None:
    """Write a picture for each seed, a grid of them, and their codes.

    A seed is the latent that the StyleGAN2-ADA release draws for it, so it gives the picture known from there.

    Args:
        generator: StyleGAN2 file: .safetensors of this project, .pkl of StyleGAN2-ADA or the StyleGAN3 repository, rosinality .pt.
        seeds: such as 0-15 or 3,7,20-29.
        output: folder for seed0000.png, ..., grid.png (the first 64) and codes.safetensors (w, w_plus, seeds, and which generator).
        truncation: 1 leaves codes alone, smaller values pull them towards the mean of W, 0 gives the mean.
        noise: the generator's stored pictures of noise, or none.
        batch_size: pictures drawn together. With 1 a seed gives the same file whatever else is drawn; larger batches are faster on a
            GPU, and single values may be rounded to the next of 256 levels.
        device: auto, cpu, cuda, cuda:1, mps.
        overwrite: write into a folder that holds codes already; the pictures of those codes are deleted.
    """
    numbers = parse_seeds(seeds)
    if batch_size < 1:
        raise InputError(f"expected a batch of one picture at least, got {batch_size}; raise --batch_size")
    if not abs(truncation) <= _LARGEST_TRUNCATION:
        raise InputError(f"expected a truncation up to {_LARGEST_TRUNCATION:g}, got {truncation}; 0.7 is usual, 1 leaves codes alone")
    if output.exists() and not output.is_dir():
        raise InputError(f"expected a folder to write to, {output} is a file; name another")
    codes_file = output / "codes.safetensors"
    if codes_file.exists() and not overwrite:
        raise InputError(f"expected a folder without codes, {output} holds some; name another, or give --overwrite")
    stale = _pictures_of(load_codes(codes_file), output) if codes_file.exists() else []
    with warnings_as_lines():
        network = load_generator(generator).to(choose_device(device))
    with repeatable_convolutions():
        w = codes_of_seeds(network, numbers, truncation)
        names = tuple(f"seed{number:04d}" for number in numbers)
        w_plus = network.broadcast(w)
        codes = LatentCodes(w_plus, names, generator_digest(network), w, torch.tensor(numbers, dtype=torch.int64), truncation)
        # In this order no picture lies beside codes that it was not made of, wherever this is interrupted.
        for path in stale:
            path.unlink(missing_ok=True)
        save_codes(codes_file, codes)
        thumbnails = _draw(network, w_plus, names, noise, batch_size, output)
    rows = [thumbnails[start : start + _GRID_COLUMNS] for start in range(0, len(thumbnails), _GRID_COLUMNS)]
    picture_grid(rows).save(output / "grid.png")
    print(f"{len(numbers)} picture{'s' * (len(numbers) > 1)} of {network.resolution} px, grid.png and codes.safetensors in {output}")


def _pictures_of(codes: LatentCodes, folder: Path) -> list[Path]:
    """What an earlier call drew of its codes; files of other names are not its own."""
    return [folder / f"{name}.png" for name in (*codes.names, "grid") if re.fullmatch(r"seed\d{4,}|grid", name)]


def _draw(
    network: Generator,
    w_plus: Float[Tensor, "codes layers width"],
    names: tuple[str, ...],
    noise: Literal["const", "none"],
    batch_size: int,
    folder: Path,
) -> list[Image.Image]:
    """Write a picture of each code; reduced ones of the first for the grid."""
    thumbnails: list[Image.Image] = []
    for start in range(0, len(names), batch_size):
        pictures = pictures_of_codes(network, w_plus[start : start + batch_size], noise)
        for name, pixels in zip(names[start : start + batch_size], pictures.permute(0, 2, 3, 1).numpy(), strict=True):
            picture = Image.fromarray(pixels)
            picture.save(folder / f"{name}.png")
            if len(thumbnails) < _GRID_PICTURES:
                side = min(picture.width, _GRID_WIDTH)
                thumbnails.append(picture.resize((side, side), Image.Resampling.LANCZOS))
    return thumbnails
