"""The Basel face models of 2017 and 2019 as they are distributed: `.h5` files (Gerig et al. 2018)."""

import logging
from pathlib import Path

import h5py
import numpy as np
import torch

from models.morphable.arrays import (
    basis_of_points,
    check_claim,
    check_size,
    mean_of_points,
    numbers,
    read_landmarks,
    triangles,
)
from models.morphable.correspondence import Correspondence, find_landmarks
from models.morphable.model import MorphableModel
from models.morphable.unwrap import cylindrical_uv
from renderers.errors import InputError, reason_of

_LOG = logging.getLogger(__name__)

_GROUPS = ("shape", "expression", "color")
_PARTS = ("mean", "pcaBasis", "pcaVariance")
_CELLS = "shape/representer/cells"
MILLIMETRES_PER_UNIT = 100.0
_EIGHT_BITS = 255.0


def load_bfm_h5(path: Path, landmarks: Path | None = None) -> MorphableModel:
    """Read a face model in the layout of the Basel models of 2017 and 2019.

    Groups `shape`, `expression` and `color`, each with `model/{mean, pcaBasis, pcaVariance}`; mean shape and mean expression add
    up; bases are scaled here by the square roots of their variances. Millimetres become decimetres, and the mesh is recentred
    by its vertex mean, as the 2009 model is by its tools. Colours are taken as 0..1, or as 0..255 where they exceed 2.

    These files do not hold the 68 landmarks. Without `landmarks` they are found on the mean shape by fitting the shipped face to
    it (`find_landmarks`), which is approximate, and a log line says so. The region "face", of losses, is what corresponds to that
    region of the shipped face.

    Args:
        path: The file.
        landmarks: File with the 0-based vertex of each of the 68 landmarks (`arrays.read_landmarks`).

    Raises:
        InputError: for another format, missing entries, parts of different meshes, indices out of range or counted from 1,
            values that are not finite.
    """
    content = _read(path)
    scaled = {}
    mean = mean_of_points(content["shape/model/mean"], "shape/model/mean", path)
    count = len(mean)
    for group in _GROUPS:
        basis = basis_of_points(content[f"{group}/model/pcaBasis"], f"{group}/model/pcaBasis", path, count)
        variance = numbers(content[f"{group}/model/pcaVariance"], f"{group}/model/pcaVariance", path).ravel()
        if len(variance) != basis.shape[2] or variance.min() < 0:
            raise InputError(
                f"expected {basis.shape[2]} variances of 0 or more in {group}/model/pcaVariance of {path}, as its pcaBasis has "
                f"columns, got {len(variance)} from {variance.min():.3g}; take all parts from one model"
            )
        scaled[group] = basis * torch.from_numpy(variance).sqrt()
        if len(mean_of_points(content[f"{group}/model/mean"], f"{group}/model/mean", path)) != count:
            raise InputError(
                f"expected {group}/model/mean of {count} vertices in {path}; take all parts from one model"
            )
    mean = mean + mean_of_points(content["expression/model/mean"], "expression/model/mean", path)
    albedo = mean_of_points(content["color/model/mean"], "color/model/mean", path)
    white = _EIGHT_BITS if float(albedo.max()) > 2 else 1.0
    faces = triangles(content[_CELLS], _CELLS, path, count, first=0, transposed=True)
    shape = (mean - mean.mean(dim=0)) / MILLIMETRES_PER_UNIT
    check_size(shape, path, "millimetres", MILLIMETRES_PER_UNIT)
    if landmarks is None:
        _LOG.warning(
            "%s: its 68 landmarks are found by fitting the shipped face to its mean shape; give a list for exact ones",
            path,
        )
        indices = find_landmarks(shape)
    else:
        indices = read_landmarks(landmarks, count)
    return MorphableModel(
        mean_shape=shape,
        identity_basis=scaled["shape"] / MILLIMETRES_PER_UNIT,
        expression_basis=scaled["expression"] / MILLIMETRES_PER_UNIT,
        mean_albedo=albedo / white,
        reflectance_basis=scaled["color"] / white,
        faces=faces,
        uv=cylindrical_uv(shape),
        landmark_indices=indices,
        regions={"face": Correspondence.between(shape, indices).region("face")},
        expression_names=[f"expression_{number}" for number in range(scaled["expression"].shape[2])],
    )


def _read(path: Path) -> dict[str, np.ndarray]:
    wanted = [f"{group}/model/{part}" for group in _GROUPS for part in _PARTS] + [_CELLS]
    try:
        with h5py.File(path, "r") as file:
            missing = [name for name in wanted if not isinstance(file.get(name), h5py.Dataset)]
            if missing:
                raise InputError(
                    f"expected a Basel model of 2017 or 2019 in {path}, it lacks {', '.join(missing)}; name the model's .h5 file"
                )
            check_claim(
                sum(file[name].nbytes for name in wanted),
                sum(file[name].id.get_storage_size() for name in wanted),
                path,
            )
            return {name: np.asarray(file[name][()]) for name in wanted}
    except InputError:
        raise
    # Damaged bytes surface in HDF5 as whatever its reader first runs into.
    except Exception as error:
        raise InputError(
            f"expected an HDF5 file, {path} is damaged or another format ({reason_of(error)}); fetch it again"
        ) from error
