"""The low-pass filter that a checkpoint was trained with, from the two-dimensional kernel it stores."""

from pathlib import Path

import torch
from jaxtyping import Float
from torch import Tensor

from renderers.errors import InputError


def taps_of(kernel: Float[Tensor, "taps taps"], path: Path) -> list[float]:
    """Taps of a separable kernel of any gain, normalised so that the smallest is 1.

    Args:
        kernel: The stored kernel.
        path: The file, for messages.

    Raises:
        InputError: if the kernel is not separable.
    """
    rows = kernel.float().sum(dim=1)
    if not torch.allclose(torch.outer(rows, rows) / rows.sum(), kernel.float(), atol=1e-6):
        raise InputError(f"expected a separable blur kernel, {path} has another; networks with such filters are not supported")
    return [round(float(tap), 6) for tap in rows / rows.abs().min()]
