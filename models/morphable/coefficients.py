"""Coefficient files: this project's vectors, and what the public BFM tools write."""

from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from models.morphable.arrays import numbers
from models.morphable.bfm_tools import read_mat
from models.morphable.parameters import ParameterSizes
from models.weights import locate
from renderers.errors import InputError, reason_of

# Names of Deep3DFaceRecon's PyTorch version (Deng et al. 2019), in the order of the vector.
_MAT_KEYS = ("id", "exp", "tex", "angle", "gamma", "trans")
# gamma as some tools store it: bands of each colour.
_GAMMA_CHANNELS = (3, 9)
# Name of the whole vector in its TensorFlow version.
_MAT_VECTOR = "coeff"


def load_coefficients(path: str | Path, sizes: ParameterSizes = ParameterSizes()) -> Float[Tensor, "batch total"]:
    """Read packed face parameters: identity, expression, reflectance, rotation, illumination, translation.

    Args:
        path: `.npy` with (N, total) or (total,) numbers, or a MATLAB file as Deep3DFaceRecon writes it: `id`, `exp`, `tex`,
            `angle`, `gamma`, `trans` (1 or more rows each), or `coeff`.
        sizes: Of the face model; 257 numbers in all by default.

    Returns:
        (N, total) float32.

    Raises:
        InputError: for another format, missing entries, other widths, values that are not finite.
    """
    found = locate(path)
    suffix = found.suffix.lower()
    if found.is_dir() or suffix not in (".npy", ".mat"):
        raise InputError(f"expected coefficients as .npy or .mat, got {found}; save the array with numpy.save")
    vector = numbers(_read_npy(found) if suffix == ".npy" else _read_mat(found, sizes), "the coefficients", found)
    if vector.ndim == 1:
        vector = vector[None]
    if vector.ndim != 2 or vector.shape[1] != sizes.total:
        raise InputError(
            f"expected coefficients of shape (N, {sizes.total}) in {found} ({_widths(sizes)}), got {vector.shape}; "
            "take those of a face model of these sizes"
        )
    return torch.from_numpy(vector)


def _read_npy(path: Path) -> np.ndarray:
    try:
        return np.load(path, allow_pickle=False)
    # NumPy parses a header as Python text, so damaged ones raise what a tokenizer, parser or allocation may.
    except Exception as error:
        raise InputError(
            f"expected an array of numbers in {path}, it is damaged or another format ({reason_of(error)}); write it again"
        ) from error


def _read_mat(path: Path, sizes: ParameterSizes) -> np.ndarray:
    content = read_mat(path)
    if _MAT_VECTOR in content:
        return content[_MAT_VECTOR]
    missing = [name for name in _MAT_KEYS if name not in content]
    if missing:
        raise InputError(
            f"expected {', '.join(_MAT_KEYS)} or {_MAT_VECTOR} in {path}, it lacks {', '.join(missing)}; name a file that "
            "Deep3DFaceRecon wrote"
        )
    parts = []
    for name, width in zip(_MAT_KEYS, sizes.widths, strict=True):
        part = numbers(content[name], name, path)
        if name == "gamma" and part.ndim == 3 and part.shape[1:] == _GAMMA_CHANNELS:
            part = part.reshape(len(part), -1)
        if part.ndim != 2 or part.shape[1] != width:
            raise InputError(
                f"expected {name} of width {width}, a row per face, in {path}, got {part.shape}; take that of a face model of "
                "these sizes"
            )
        parts.append(part)
    if len({len(part) for part in parts}) > 1:
        raise InputError(
            f"expected as many rows of each part in {path}, got {[len(part) for part in parts]}; write it again"
        )
    return np.concatenate(parts, axis=1)


def _widths(sizes: ParameterSizes) -> str:
    return " + ".join(str(width) for width in sizes.widths)
