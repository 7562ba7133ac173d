"""What both layouts of other people's checkpoints need: tensors of the expected form, the low-pass filter, missing noise."""

import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from models.stylegan2.generator import MAX_RESOLUTION
from models.weights import FLOATS
from renderers.errors import InputError


def stored_tensor(tensors: Mapping[str, Any], name: str, axes: int, path: Path) -> Tensor:
    """The tensor of a name, of floating-point numbers along `axes` axes.

    Args:
        tensors: What the file holds, by name.
        name: Which to take.
        axes: How many axes it has in every network of its layout.
        path: The file, for messages.

    Raises:
        InputError: if it is missing or something else.
    """
    value = tensors.get(name)
    if not isinstance(value, Tensor):
        raise InputError(f"expected a StyleGAN2 checkpoint, {path} lacks the tensor {name}; fetch it again or name another file")
    if value.ndim != axes or value.dtype not in FLOATS:
        raise InputError(
            f"expected floating-point numbers of 16, 32 or 64 bits along {axes} axes in {name}, {path} has {value.dtype} of shape "
            f"{tuple(value.shape)}; name a StyleGAN2 checkpoint"
        )
    return value


def check_resolutions(sizes: Sequence[int], path: Path) -> None:
    """Refuse resolutions of a synthesis network other than 4, 8, 16, ... pixels, up to the largest that is supported.

    Args:
        sizes: The resolutions, rising.
        path: The file, for messages.

    Raises:
        InputError: saying which there are.
    """
    if list(sizes) != [4 * 2**level for level in range(len(sizes))] or (sizes and sizes[-1] > MAX_RESOLUTION):
        shown = ", ".join(str(size)[:20] for size in sizes[:12])
        raise InputError(f"expected resolutions 4, 8, 16, ... up to {MAX_RESOLUTION}, {path} has {shown}; name a StyleGAN2 checkpoint")


def warn_of_missing_noise(names: Sequence[str], path: Path) -> None:
    """Warn of layers with noise of some strength whose fixed noise picture the file lacks."""
    if names:
        warnings.warn(
            f"{path} lacks {len(names)} noise pictures, the first of them {names[0]}: images with fixed noise have none there "
            "and look smoother; ask for random noise",
            stacklevel=2,
        )


def taps_of(kernel: Float[Tensor, "rows columns"], path: Path) -> list[float]:
    """Taps of a separable kernel of any gain, normalised so that the smallest that is not zero is 1.

    Args:
        kernel: The stored kernel.
        path: The file, for messages.

    Raises:
        InputError: if the kernel is not square, separable and other than zero.
    """
    rows = kernel.float().sum(dim=1)
    square = kernel.shape[0] == kernel.shape[1]
    if not square or not bool(rows.any()) or not torch.allclose(torch.outer(rows, rows) / rows.sum(), kernel.float(), atol=1e-6):
        raise InputError(f"expected a separable blur kernel, {path} has another; networks with such filters are not supported")
    return [round(float(tap), 6) for tap in rows / rows[rows != 0].abs().min()]
