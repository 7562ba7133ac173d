"""The Basel face model of 2009 as the public BFM tools keep it: `BFM_model_front.mat` (Deep3DFaceRecon, Deng et al. 2019)."""

import logging
import math
from pathlib import Path

import numpy as np
import scipy.io
import torch
from torch import Tensor

from models.morphable.arrays import (
    basis_of_points,
    check_claim,
    check_size,
    landmark_vertices,
    mean_of_points,
    numbers,
    triangles,
    zero_based,
)
from models.morphable.model import MorphableModel
from models.morphable.unwrap import cylindrical_uv
from renderers.errors import InputError, reason_of

_LOG = logging.getLogger(__name__)

_KEYS = ("meanshape", "meantex", "idBase", "exBase", "texBase", "tri", "point_buf", "keypoints", "skinmask")
# What the model is called where it comes from, before the public tools' preparation.
_UNPREPARED = ("shapeMU", "shapePC")
# Bytes of an element of a variable by its class, and of a cell or struct.
_BYTES = {
    **dict.fromkeys(("int8", "uint8", "logical"), 1),
    **dict.fromkeys(("int16", "uint16", "char"), 2),
    **dict.fromkeys(("int32", "uint32", "single"), 4),
}
_POINTER = 8
# Colours of the file are 8-bit values.
_WHITE = 255.0


def read_mat(path: Path, names: tuple[str, ...] | None = None) -> dict[str, np.ndarray]:
    """The named variables of a MATLAB file, all of them by default.

    Raises:
        InputError: for a file that is no MATLAB file up to version 7.2, or is damaged.
    """
    try:
        listed = [(shape, kind) for name, shape, kind in scipy.io.whosmat(path) if names is None or name in names]
        # Sparse ones take the memory of what they store.
        claimed = sum(math.prod(shape) * _BYTES.get(kind, _POINTER) for shape, kind in listed if kind != "sparse")
        check_claim(claimed, path.stat().st_size, path)
        content = scipy.io.loadmat(path, variable_names=names)
    except NotImplementedError as error:
        raise InputError(
            f"expected a MATLAB file up to version 7.2, {path} is of version 7.3; save it again with '-v7'"
        ) from error
    except InputError:
        raise
    # Damaged bytes surface in SciPy's reader as whatever they first run into: zlib, struct, index, memory or type errors.
    except Exception as error:
        raise InputError(
            f"expected a MATLAB file, {path} is damaged or another format ({reason_of(error)}); fetch it again"
        ) from error
    return {name: value for name, value in content.items() if isinstance(value, np.ndarray)}


def load_bfm_tools(path: Path) -> MorphableModel:
    """Read a face model in the public tools' layout.

    `meanshape` (1, 3V) and bases (3V, n), already scaled by standard deviations, in about decimetres; `meantex` and `texBase`
    in 0..255; `tri`, `point_buf` and `keypoints` counted from 1. Shapes are recentred by the vertex mean of `meanshape`, as all
    those tools do. The mesh is the front of a face, so the region "face" is all of it; "skin" is `skinmask`.

    Raises:
        InputError: for another format, missing entries, parts of different meshes, indices out of range or counted from 0,
            values that are not finite, another unit, keypoints at one vertex, no skin.
    """
    content = read_mat(path)
    missing = [name for name in _KEYS if name not in content]
    if missing:
        if all(name in content for name in _UNPREPARED):
            raise InputError(
                f"expected the public tools' BFM_model_front.mat, {path} is the Basel model as it is distributed; "
                "prepare it with those tools"
            )
        raise InputError(
            f"expected {', '.join(_KEYS)} in {path}, it lacks {', '.join(missing)}; prepare it with the public tools"
        )

    mean = mean_of_points(content["meanshape"], "meanshape", path)
    count = len(mean)
    check_size(mean, path, "decimetres", 1.0)
    albedo = mean_of_points(content["meantex"], "meantex", path)
    if len(albedo) != count:
        raise InputError(
            f"expected meantex of {count} vertices as meanshape in {path}, got {len(albedo)}; take both from one model"
        )
    if float(albedo.max()) <= 1:
        raise InputError(
            f"expected colours in 0..255 in meantex of {path}, got at most {float(albedo.max()):.3g}; multiply by 255"
        )
    faces = triangles(content["tri"], "tri", path, count, first=1)
    _check_neighbours(content["point_buf"], faces, count, path)
    landmarks = landmark_vertices(content["keypoints"], "keypoints", path, count, first=1)
    skin = numbers(content["skinmask"], "skinmask", path).ravel()
    if len(skin) != count:
        raise InputError(
            f"expected skinmask of {count} vertices in {path}, got {len(skin)}; take all parts from one model"
        )
    if not (skin > 0.5).any():
        raise InputError(f"expected ones for the skin in skinmask of {path}, got none; write the file again")
    expression = basis_of_points(content["exBase"], "exBase", path, count)
    return MorphableModel(
        mean_shape=mean - mean.mean(dim=0),
        identity_basis=basis_of_points(content["idBase"], "idBase", path, count),
        expression_basis=expression,
        mean_albedo=albedo / _WHITE,
        reflectance_basis=basis_of_points(content["texBase"], "texBase", path, count) / _WHITE,
        faces=faces,
        uv=cylindrical_uv(mean),
        landmark_indices=landmarks,
        regions={"face": torch.ones(count, dtype=torch.bool), "skin": torch.from_numpy(skin > 0.5)},
        expression_names=[f"expression_{number}" for number in range(expression.shape[2])],
    )


def _check_neighbours(array: np.ndarray, faces: Tensor, count: int, path: Path) -> None:
    """`point_buf` names the faces around each vertex, whose normals the tools sum; the renderer takes them from the faces."""
    if array.ndim != 2 or array.shape[0] != count:
        raise InputError(
            f"expected point_buf of shape ({count}, n) in {path}, got {array.shape}; take all parts from one model"
        )
    # One more than the faces there are: F + 1 stands for none.
    rows = zero_based(array, "point_buf", path, len(faces) + 1, first=1)
    named = rows < len(faces)
    corners = faces[rows.clamp(max=len(faces) - 1)]
    touching = (corners == torch.arange(count)[:, None, None]).any(dim=2) & named
    if int(touching.sum()) * 2 < int(named.sum()):
        raise InputError(
            f"expected point_buf to name the faces around each vertex in {path}, {int((named & ~touching).sum())} of "
            f"{int(named.sum())} entries name others; count tri and point_buf from 1 and take both from one model"
        )
    listed = int(touching.sum())
    if listed != faces.numel() or bool((named & ~touching).any()):
        _LOG.warning(
            "%s: point_buf lists %d corners of faces, the triangles have %d; normals follow the triangles",
            path,
            listed,
            faces.numel(),
        )
