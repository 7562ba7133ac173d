"""Made-up face model files in the layouts that users have."""

from pathlib import Path
from typing import Any

import h5py
import numpy as np
import scipy.io

from models.morphable.ict import LANDMARK_INDICES, VERTICES
from models.morphable.procedural import procedural_model
from tests.conftest import ROOT

BFM_TOOLS = ROOT / "tests" / "data" / "bfm_tools_model.mat"


def mat_content() -> dict[str, np.ndarray]:
    """Variables of the made-up model in the public tools' layout."""
    return {name: value for name, value in scipy.io.loadmat(BFM_TOOLS).items() if not name.startswith("__")}


def write_mat(path: Path, **changes: Any) -> Path:
    """That model with variables exchanged, or left out where given as None."""
    content = {**mat_content(), **changes}
    scipy.io.savemat(path, {name: value for name, value in content.items() if value is not None})
    return path


def h5_content() -> dict[str, np.ndarray]:
    """The same model in the layout of the Basel models of 2017 and 2019: millimetres, variances apart, 0-based cells."""
    mat = mat_content()
    rng = np.random.default_rng(0)
    content: dict[str, np.ndarray] = {"shape/representer/cells": (mat["tri"] - 1).T.astype(np.uint32)}
    parts = {
        "shape": (mat["meanshape"].ravel() * 100, mat["idBase"] * 100),
        "expression": (np.zeros(mat["meanshape"].size, np.float32), mat["exBase"] * 100),
        "color": (mat["meantex"].ravel() / 255, mat["texBase"] / 255),
    }
    for group, (mean, basis) in parts.items():
        variance = rng.uniform(0.5, 2, size=basis.shape[1]).astype(np.float32)
        content[f"{group}/model/mean"] = mean
        content[f"{group}/model/pcaBasis"] = basis / np.sqrt(variance)
        content[f"{group}/model/pcaVariance"] = variance
    # A mean expression counts too; here it is taken from the mean shape.
    content["expression/model/mean"] = rng.normal(size=mat["meanshape"].size).astype(np.float32)
    content["shape/model/mean"] = content["shape/model/mean"] - content["expression/model/mean"]
    return content


def write_h5(path: Path, **changes: Any) -> Path:
    """That model with data sets exchanged, or left out where given as None; two underscores stand for a slash."""
    content = {**h5_content(), **{name.replace("__", "/"): value for name, value in changes.items()}}
    with h5py.File(path, "w") as file:
        for name, value in content.items():
            if value is not None:
                file[name] = value
    return path


def write_landmarks(path: Path) -> Path:
    """The made-up model's landmarks as a text file, counted from 0."""
    path.write_text("\n".join(str(index - 1) for index in mat_content()["keypoints"].ravel()))
    return path


def ict_content() -> dict[str, np.ndarray]:
    """A cloud with ICT-FaceKit's numbering and a face's landmarks, packed; quads become two triangles each."""
    rng = np.random.default_rng(0)
    shipped = procedural_model("coarse")
    mean = rng.uniform(-8, 8, size=(VERTICES, 3)).astype(np.float32)
    mean[list(LANDMARK_INDICES)] = shipped.mean_shape[shipped.landmark_indices].numpy() * 10
    quads = np.stack([np.arange(0, VERTICES - 3, 4) + corner for corner in range(4)], axis=1)
    tri = np.stack([quads[:, [0, 1, 2]], quads[:, [0, 2, 3]]], axis=1).reshape(-1, 3)
    return {
        "mean": mean,
        "identity": rng.normal(size=(3, VERTICES, 3)).astype(np.float16),
        "expression": rng.normal(size=(2, VERTICES, 3)).astype(np.float16),
        "expr_names": np.array(["browDown_L", "jawOpen"]),
        "uv": rng.uniform(0, 2, size=(VERTICES, 2)).astype(np.float32),
        "tri": tri.astype(np.int32),
        "tri_uv": tri.astype(np.int32),
    }


def write_ict_packed(path: Path, **changes: Any) -> Path:
    """That cloud as an `.npz`, with arrays exchanged, or left out where given as None."""
    content = {**ict_content(), **changes}
    np.savez(path, **{name: value for name, value in content.items() if value is not None})
    return path


def write_ict_folder(folder: Path) -> Path:
    """That cloud as a folder of OBJ files, with quads."""
    folder.mkdir()
    content = ict_content()
    mean = content["mean"].astype(np.float64)

    def lines(vertices: np.ndarray) -> list[str]:
        return ["# made up", *(f"v {x:.9f} {y:.9f} {z:.9f}" for x, y, z in vertices)]

    texture = [f"vt {u:.9f} {v:.9f}" for u, v in content["uv"]]
    corners = np.stack([np.arange(1, VERTICES - 2, 4) + corner for corner in range(4)], axis=1)
    faces = ["f " + " ".join(f"{c}/{c}/1" for c in quad) for quad in corners]
    (folder / "generic_neutral_mesh.obj").write_text("\n".join([*lines(mean), *texture, *faces]))
    for number, change in enumerate(content["identity"]):
        (folder / f"identity{number:03d}.obj").write_text("\n".join(lines(mean + change)))
    for name, change in zip(content["expr_names"], content["expression"], strict=True):
        (folder / f"{name}.obj").write_text("\n".join(lines(mean + change)))
    return folder
