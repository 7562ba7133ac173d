"""What the readers of foreign face models share: checked arrays, index bases, numbers of components."""

import logging
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float, Int
from numpy.typing import NDArray
from torch import Tensor

from models.morphable.model import MorphableModel
from models.morphable.parameters import ParameterSizes
from renderers.errors import InputError, reason_of

_LOG = logging.getLogger(__name__)

# iBUG numbering, which every 68-point tool shares.
LANDMARKS = 68
# Chosen by us: bases compress to a third or a tenth, masks and small files to less.
_UNPACKED, _UNPACKED_AT_LEAST = 32, 2**24
# Those of the inner lip are eight; where the mouth of a mesh is closed they may be those of the outer lip.
_DISTINCT_LANDMARKS = LANDMARKS - 8


def check_claim(claimed: int, stored: int, source: str | Path) -> None:
    """Refuse a file whose arrays would unpack to far more than it stores, before memory is taken for them; both in bytes.

    Raises:
        InputError: beyond what face models compress to.
    """
    if claimed > _UNPACKED * stored + _UNPACKED_AT_LEAST:
        raise InputError(
            f"expected arrays of about the size of {source} ({stored:,} bytes stored), they claim {claimed:,} bytes; "
            "fetch the file again"
        )


def numbers(array: object, name: str, source: str | Path) -> NDArray[np.float32]:
    """An array of finite real numbers as float32.

    Raises:
        InputError: for anything else; `name` and `source` (the file) are for the message.
    """
    values = np.asarray(array)
    if values.dtype.kind not in "fiu":
        raise InputError(f"expected real numbers in {name} of {source}, got {values.dtype}; write the file again")
    if values.size == 0:
        raise InputError(f"expected numbers in {name} of {source}, got an empty array; write the file again")
    with np.errstate(over="ignore"):
        values = values.astype(np.float32)
    if not np.isfinite(values).all():
        raise InputError(f"expected finite {name} in {source}, got NaN or infinite values; write the file again")
    return values


def mean_of_points(array: object, name: str, source: str | Path) -> Float[Tensor, "vertices 3"]:
    """A mean shape or mean colour, stored as (3V,), (1, 3V), (3V, 1) or (V, 3): x, y, z of a vertex together."""
    values = numbers(array, name, source)
    flat = values.ndim == 1 or (values.ndim == 2 and 1 in values.shape)
    if values.size % 3 or not (flat or (values.ndim == 2 and values.shape[1] == 3)):
        raise InputError(
            f"expected 3 numbers per vertex in {name} of {source}, in a row or as (vertices, 3), got {values.shape}; "
            "write the file again"
        )
    return torch.from_numpy(values.reshape(-1, 3).copy())


def basis_of_points(array: object, name: str, source: str | Path, count: int) -> Float[Tensor, "vertices 3 components"]:
    """A basis stored as (3V, components), each column with x, y, z of a vertex together.

    Raises:
        InputError: where it does not belong to a mesh of `count` vertices.
    """
    values = numbers(array, name, source)
    if values.ndim != 2 or values.shape[0] != 3 * count:
        raise InputError(
            f"expected {name} of shape ({3 * count}, components) in {source}, whose mean has {count} vertices, "
            f"got {values.shape}; take all parts from one model"
        )
    return torch.from_numpy(values.reshape(count, 3, -1).copy())


def check_size(shape: Float[Tensor, "vertices 3"], source: str | Path, unit: str, per_decimetre: float) -> None:
    """Refuse a mean shape (decimetres) that no face or head has; `unit`, of which a decimetre has `per_decimetre`, is the file's.

    Raises:
        InputError: for a face that is too small or too large, as one in another unit is.
    """
    height = float(shape[:, 1].max() - shape[:, 1].min())
    # A cropped face is about 1.5 to 2 decimetres high, a head with neck and shoulders about 4.
    if not 0.5 < height < 10:
        raise InputError(
            f"expected a face of about {2 * per_decimetre:g} {unit} in {source}, got {height * per_decimetre:.3g} high; "
            f"scale it to {unit}"
        )


def landmark_vertices(array: object, name: str, source: str | Path, count: int, first: int) -> Int[Tensor, "68"]:
    """The 68 landmark vertices of a mesh of `count` vertices, 0-based.

    Raises:
        InputError: as `zero_based`, and for another number of them or many that are the same vertex.
    """
    values = np.asarray(array).ravel()
    if len(values) != LANDMARKS:
        raise InputError(f"expected {LANDMARKS} {name} in {source}, got {len(values)}; write the list again")
    indices = zero_based(values, name, source, count, first)
    if (distinct := len(indices.unique())) < _DISTINCT_LANDMARKS:
        raise InputError(
            f"expected {LANDMARKS} {name} at vertices of their own in {source}, got {distinct} different ones; write the list again"
        )
    return indices


def zero_based(array: object, name: str, source: str | Path, count: int, first: int) -> Int[Tensor, "*shape"]:
    """Indices of `count` things, counted from `first` (0 or 1) in the file, as 0-based int64.

    Raises:
        InputError: for numbers that are not whole or out of range; says so where they look counted from the other base.
    """
    values = np.asarray(array)
    whole = values.dtype.kind in "iu" or (
        values.dtype.kind == "f" and bool(np.isfinite(values).all()) and bool((values == np.floor(values)).all())
    )
    if not whole or values.size == 0:
        raise InputError(f"expected whole numbers in {name} of {source}, got others or none; write the file again")
    lowest, highest = int(values.min()), int(values.max())
    if first <= lowest and highest < count + first:
        return torch.from_numpy(values.astype(np.int64) - first)
    if first == 1 and lowest == 0 and highest < count:
        advice = "they are 0-based where this layout counts from 1: add 1"
    elif first == 0 and lowest >= 1 and highest == count:
        advice = "they are 1-based where this layout counts from 0: subtract 1"
    else:
        advice = "take mesh and indices from one model"
    raise InputError(
        f"expected {first}-based {name} in [{first}, {count - 1 + first}] in {source}, got [{lowest}, {highest}]; {advice}"
    )


def triangles(
    array: object, name: str, source: str | Path, count: int, first: int, transposed: bool = False
) -> Int[Tensor, "faces 3"]:
    """Triangles of a mesh of `count` vertices, 0-based; `transposed` ones are stored as (3, F).

    Raises:
        InputError: as `zero_based`, for another shape, and for triangles that name a vertex twice.
    """
    values = np.asarray(array)
    if transposed and values.ndim == 2 and values.shape[0] == 3 != values.shape[1]:
        values = values.T
    if values.ndim != 2 or values.shape[1] != 3:
        raise InputError(
            f"expected triangles {name} of shape (faces, 3) in {source}, got {values.shape}; triangulate the mesh"
        )
    faces = zero_based(np.ascontiguousarray(values), name, source, count, first)
    twice = (faces == faces.roll(1, dims=1)).any(dim=1)
    if int(twice.sum()) * 2 > len(faces):
        raise InputError(
            f"expected triangles of three different vertices in {name} of {source}, got {int(twice.sum())} of {len(faces)} "
            "that name one twice; write the file again"
        )
    return faces


def read_landmarks(path: Path, count: int) -> Int[Tensor, "68"]:
    """The 0-based vertices of the 68 landmarks on a mesh of `count` vertices, from a `.npy` file or a text file of numbers.

    Raises:
        InputError: for another format or number of them, and as `zero_based`.
    """
    try:
        if path.suffix.lower() == ".npy":
            values = np.load(path, allow_pickle=False)
        else:
            values = np.array(path.read_text(encoding="utf-8").replace(",", " ").split(), dtype=np.int64)
    # NumPy parses a header as Python text, so damaged ones raise what a tokenizer, parser or allocation may.
    except Exception as error:
        raise InputError(
            f"expected a list of {LANDMARKS} vertex numbers in {path}, got something else ({reason_of(error)}); write it again"
        ) from error
    return landmark_vertices(values, "landmarks", path, count, first=0)


def with_sizes(model: MorphableModel, sizes: ParameterSizes, source: str | Path) -> MorphableModel:
    """The model with as many components as asked for: the first ones kept, missing ones zero; a log line says which."""
    if model.sizes == sizes:
        return model
    said = []
    bases = {}
    for name in ("identity", "expression", "reflectance"):
        basis = getattr(model, f"{name}_basis")
        present, wanted = basis.shape[2], getattr(sizes, name)
        if wanted < present:
            said.append(f"the first {wanted} of {present} {name} components are kept")
        elif wanted > present:
            said.append(f"{present} {name} components are padded with zeros to {wanted}")
        bases[f"{name}_basis"] = torch.cat(
            [basis[..., :wanted], basis.new_zeros(*basis.shape[:2], max(wanted - present, 0))], dim=2
        )
    _LOG.warning("%s: %s", source, "; ".join(said))
    names = model.expression_names[: sizes.expression]
    names += tuple(f"unused_{number}" for number in range(len(names), sizes.expression))
    return MorphableModel.from_tensors({**model.tensors(), **bases}, names)
