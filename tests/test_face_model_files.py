"""Face models that users have: the public BFM tools' file, the Basel models of 2017 and 2019, ICT-FaceKit, our own file."""

import logging
from collections.abc import Callable
from pathlib import Path

import h5py
import numpy as np
import pytest
import scipy.io
import torch

import cli
from datamodules.latent_pairs import LatentPairDataModule
from lightning_modules.face_reconstruction import DifferentiableFaceReconstruction, FaceReconstructionSettings
from lightning_modules.face_scene import FaceScene
from models.morphable import MorphableModel, ParameterSizes
from models.morphable.coefficients import load_coefficients
from models.morphable.correspondence import Correspondence, find_landmarks
from models.morphable.ict import LANDMARK_INDICES, PARTS
from models.morphable.loading import load_face_model, save_face_model
from models.morphable.obj import read_obj, read_vertices
from models.morphable.procedural import procedural_model
from models.weights import describe_weights
from renderers.errors import InputError
from tests.face_model_files import (
    BFM_TOOLS,
    ict_content,
    mat_content,
    write_h5,
    write_ict_folder,
    write_ict_packed,
    write_landmarks,
    write_mat,
)
from tests.tiny_stylerig import quiet_trainer, write_networks


def same(first: MorphableModel, second: MorphableModel, tolerance: float = 0.0) -> None:
    for name, value in first.tensors().items():
        torch.testing.assert_close(getattr(second, name), value, atol=tolerance, rtol=0)
    assert first.expression_names == second.expression_names


def test_public_tools_file() -> None:
    content, model = mat_content(), load_face_model(BFM_TOOLS)
    assert model.sizes == ParameterSizes() and model.vertex_count == content["meanshape"].size // 3
    mean = torch.from_numpy(content["meanshape"].reshape(-1, 3))
    torch.testing.assert_close(model.mean_shape, mean - mean.mean(dim=0))
    assert model.landmark_indices.tolist() == (content["keypoints"].ravel().astype(int) - 1).tolist()
    assert torch.equal(model.faces, torch.from_numpy(content["tri"].astype(np.int64) - 1))
    coefficients = torch.randn(2, 80)
    expected = (content["meantex"] + coefficients.numpy() @ content["texBase"].T).reshape(2, -1, 3) / 255
    torch.testing.assert_close(model.albedo(coefficients), torch.from_numpy(expected), atol=1e-4, rtol=0)
    assert model.regions["face"].all() and 0 <= model.uv.min() and model.uv.max() <= 1


def test_components_are_cut_or_padded_and_both_said(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        whole = load_face_model(BFM_TOOLS)
        assert not caplog.records
        model = load_face_model(BFM_TOOLS, ParameterSizes(identity=10, expression=70, reflectance=80))
    (record,) = caplog.records
    text = record.getMessage()
    assert "the first 10 of 80 identity" in text and "64 expression components are padded with zeros to 70" in text
    assert "reflectance" not in text and "\n" not in text
    assert torch.equal(model.identity_basis, whole.identity_basis[..., :10])
    assert torch.equal(model.expression_basis[..., :64], whole.expression_basis)
    assert not model.expression_basis[..., 64:].any() and len(model.expression_names) == 70
    assert model.expression_names[-1] == "unused_69"


MAT_KEYS = ("meanshape", "meantex", "idBase", "exBase", "texBase", "tri", "point_buf", "keypoints", "skinmask")


def shifted(name: str, by: int) -> dict[str, np.ndarray]:
    return {name: mat_content()[name].astype(np.int32) + by}


def with_nan(name: str) -> dict[str, np.ndarray]:
    values = mat_content()[name].astype(np.float32).copy()
    values.flat[5] = np.nan
    return {name: values}


BAD_MAT: dict[str, tuple[Callable[[], dict[str, np.ndarray]], str]] = {
    "0-based triangles": (lambda: shifted("tri", -1), "1-based tri .* 0-based where this layout counts from 1"),
    "triangles beyond the last vertex": (
        lambda: shifted("tri", 1),
        "1-based tri in .*; take mesh and indices from one model",
    ),
    "0-based keypoints": (lambda: shifted("keypoints", -1), "1-based keypoints .* 0-based where this layout"),
    "0-based point_buf": (lambda: shifted("point_buf", -1), "1-based point_buf .* 0-based where this layout"),
    "triangles of another mesh": (lambda: shifted("tri", 100), "take mesh and indices from one model"),
    "keypoints of another mesh": (lambda: shifted("keypoints", 1000), "take mesh and indices from one model"),
    # Moved by one within the range: only the faces around each vertex betray it.
    "point_buf of other faces": (
        lambda: {"point_buf": np.roll(mat_content()["point_buf"], 40, axis=0)},
        "point_buf to name the faces around each vertex",
    ),
    "quads": (lambda: {"tri": np.ones((5, 4))}, r"shape \(faces, 3\)"),
    "broken triangles": (lambda: {"tri": np.full((9, 3), 1.5)}, "whole numbers in tri"),
    "one vertex thrice": (lambda: {"tri": np.ones((9, 3))}, "three different vertices"),
    "few keypoints": (lambda: {"keypoints": mat_content()["keypoints"][:, :51]}, "68 keypoints"),
    "basis of another mesh": (lambda: {"idBase": mat_content()["idBase"][:-3]}, "idBase of shape"),
    "colours of another mesh": (lambda: {"meantex": mat_content()["meantex"][:, :-3]}, "meantex of"),
    "colours of 0..1": (lambda: {"meantex": mat_content()["meantex"] / 255}, r"in 0\.\.255"),
    "NaN in the mean": (lambda: with_nan("meanshape"), "finite meanshape"),
    "NaN in a basis": (lambda: with_nan("exBase"), "finite exBase"),
    "text": (lambda: {"idBase": np.array(["a", "b"])}, "real numbers in idBase"),
    "skin of another mesh": (lambda: {"skinmask": np.ones((1, 3))}, "skinmask of"),
    "broken mean": (lambda: {"meanshape": np.ones((1, 7))}, "3 numbers per vertex"),
    "micrometres": (lambda: {"meanshape": mat_content()["meanshape"] * 1e5}, "about 2 decimetres"),
    "metres": (lambda: {"meanshape": mat_content()["meanshape"] / 10}, "scale it to decimetres"),
    "x, y and z apart": (lambda: {"meanshape": mat_content()["meanshape"].reshape(-1, 3).T}, "3 numbers per vertex"),
    "colour channels apart": (lambda: {"meantex": mat_content()["meantex"].reshape(-1, 3).T}, "in a row or as"),
    "equal keypoints": (lambda: {"keypoints": np.full((1, 68), 7)}, "vertices of their own .* 1 different"),
    "no skin": (lambda: {"skinmask": np.zeros((1, mat_content()["meanshape"].size // 3))}, "the skin in skinmask"),
    "nothing": (lambda: {"meanshape": np.zeros((0, 0))}, "an empty array"),
}


@pytest.mark.parametrize("name", BAD_MAT)
def test_bad_public_tools_files_are_refused(tmp_path: Path, name: str) -> None:
    changes, message = BAD_MAT[name]
    with pytest.raises(InputError, match=message) as caught:
        load_face_model(write_mat(tmp_path / "bad.mat", **changes()))
    assert "\n" not in str(caught.value) and "bad.mat" in str(caught.value)


@pytest.mark.parametrize("shape", [(-1,), (1, -1), (-1, 1), (-1, 3)])
def test_means_in_a_row_or_by_vertex_are_the_same_model(tmp_path: Path, shape: tuple[int, ...]) -> None:
    changes = {name: mat_content()[name].reshape(shape) for name in ("meanshape", "meantex")}
    same(load_face_model(write_mat(tmp_path / "other.mat", **changes)), load_face_model(BFM_TOOLS))


@pytest.mark.parametrize("key", MAT_KEYS)
def test_missing_entries_are_named(tmp_path: Path, key: str) -> None:
    with pytest.raises(InputError, match=f"lacks {key};"):
        load_face_model(write_mat(tmp_path / "bad.mat", **{key: None}))


def test_other_files_are_refused(tmp_path: Path) -> None:
    whole = BFM_TOOLS.read_bytes()
    files = {
        "cut.mat": (whole[: len(whole) // 2], "damaged or another format"),
        "text.mat": (b"not a matrix", "damaged or another format"),
        "empty.mat": (b"", "damaged or another format"),
        "new.mat": (whole[:124] + b"\x00\x02IM" + whole[128:], "save it again with '-v7'"),
        "cut.h5": (b"\x89HDF\r\n\x1a\n" + bytes(40), "damaged or another format"),
        "cut.npz": (b"PK\x03\x04" + bytes(40), "damaged or another format"),
        "cut.safetensors": (bytes(40), "cut short or another format"),
        "face.ply": (b"ply", "expected a face model as"),
    }
    for name, (content, message) in files.items():
        (tmp_path / name).write_bytes(content)
        with pytest.raises(InputError, match=message):
            load_face_model(tmp_path / name)
    write_mat(tmp_path / "raw.mat", shapeMU=np.zeros(3), shapePC=np.zeros(3), **dict.fromkeys(MAT_KEYS))
    with pytest.raises(InputError, match="as it is distributed"):
        load_face_model(tmp_path / "raw.mat")
    with pytest.raises(InputError, match="found none there"):
        load_face_model(tmp_path / "absent.mat")
    with pytest.raises(InputError, match="procedural: and one of coarse"):
        load_face_model("procedural:rough")
    with pytest.raises(InputError, match="FaceXModel folder"):
        load_face_model(tmp_path)


def test_a_point_buf_that_lacks_faces_is_said(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    buffer = mat_content()["point_buf"]
    load_face_model(write_mat(tmp_path / "few.mat", point_buf=buffer[:, :5]))
    assert "normals follow the triangles" in caplog.text


@pytest.mark.parametrize("variant", ["as distributed", "rows of cells", "8-bit colours"])
def test_basel_h5(tmp_path: Path, variant: str) -> None:
    cells = mat_content()["tri"] - 1
    colours = mat_content()["meantex"].ravel()
    basis = mat_content()["texBase"]
    changes: dict[str, dict[str, np.ndarray]] = {
        "as distributed": {},
        "rows of cells": {"shape__representer__cells": cells},
        "8-bit colours": {
            "color__model__mean": colours,
            "color__model__pcaBasis": basis,
            "color__model__pcaVariance": np.ones(80, np.float32),
        },
    }
    path = write_h5(tmp_path / "model.h5", **changes[variant])
    model, wanted = (
        load_face_model(path, landmarks=write_landmarks(tmp_path / "landmarks.txt")),
        load_face_model(BFM_TOOLS),
    )
    for name in wanted.tensors().keys() - {"region_face", "region_skin"}:
        torch.testing.assert_close(getattr(model, name), getattr(wanted, name), atol=2e-5, rtol=1e-4)


def test_basel_h5_without_landmarks_says_that_they_are_found(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    model = load_face_model(write_h5(tmp_path / "model.h5"))
    (record,) = caplog.records
    assert "68 landmarks are found by fitting" in record.getMessage()
    assert len(model.landmark_indices) == 68


BAD_H5: dict[str, tuple[Callable[[], dict[str, np.ndarray | None]], str]] = {
    "missing basis": (lambda: {"expression__model__pcaBasis": None}, "lacks expression/model/pcaBasis"),
    "missing cells": (lambda: {"shape__representer__cells": None}, "lacks shape/representer/cells"),
    "1-based cells": (lambda: {"shape__representer__cells": mat_content()["tri"].T}, "1-based where this layout counts from 0"),
    "cells of another mesh": (lambda: {"shape__representer__cells": mat_content()["tri"].T + 50}, "from one model"),
    "few variances": (lambda: {"shape__model__pcaVariance": np.ones(5)}, "80 variances"),
    "negative variances": (lambda: {"shape__model__pcaVariance": -np.ones(80)}, "variances of 0 or more"),
    "decimetres": (lambda: {"shape__model__mean": mat_content()["meanshape"].ravel(), "expression__model__mean": np.zeros(1452)},
                   "scale it to millimetres"),
    "NaN": (lambda: {"color__model__mean": np.full(1452, np.nan)}, "finite color/model/mean"),
    "colours of another mesh": (lambda: {"color__model__mean": np.zeros(1449)}, "color/model/mean of 484 vertices"),
}  # fmt: skip


@pytest.mark.parametrize("name", BAD_H5)
def test_bad_basel_h5_files_are_refused(tmp_path: Path, name: str) -> None:
    changes, message = BAD_H5[name]
    path = write_h5(tmp_path / "bad.h5", **changes())
    with pytest.raises(InputError, match=message):
        load_face_model(path, landmarks=write_landmarks(tmp_path / "landmarks.txt"))


def test_files_that_claim_far_more_than_they_store_are_refused(tmp_path: Path) -> None:
    path = write_h5(tmp_path / "claim.h5", shape__model__pcaBasis=None)
    with h5py.File(path, "a") as file:
        file.create_dataset(
            "shape/model/pcaBasis", shape=(1452, 2**30), dtype="f4", chunks=(1452, 8), compression="gzip"
        )
    with pytest.raises(InputError, match="of about the size of .* they claim"):
        load_face_model(path)
    zeros = {**ict_content(), "expression": np.zeros((64, 26719, 3), np.float64), "identity": np.zeros((64, 26719, 3))}
    np.savez_compressed(tmp_path / "claim.npz", **{name: np.zeros_like(v) for name, v in zeros.items()})
    with pytest.raises(InputError, match="of about the size of .* they claim"):
        load_face_model(tmp_path / "claim.npz")
    scipy.io.savemat(tmp_path / "claim.mat", {"coeff": np.zeros((20_000, 257))}, do_compression=True)
    with pytest.raises(InputError, match="of about the size of .* they claim"):
        load_coefficients(tmp_path / "claim.mat")


def test_the_scene_takes_a_density_of_the_shipped_face_model_alone() -> None:
    with pytest.raises(InputError, match="leave one out"):
        FaceScene(face_model=str(BFM_TOOLS), density="fine")
    assert FaceScene().load_face_model().vertex_count == procedural_model("coarse").vertex_count
    assert FaceScene(density="medium").load_face_model().vertex_count == procedural_model("medium").vertex_count


def test_landmark_lists(tmp_path: Path) -> None:
    np.save(tmp_path / "list.npy", np.arange(68))
    model = load_face_model(BFM_TOOLS, landmarks=tmp_path / "list.npy")
    assert model.landmark_indices.tolist() == list(range(68))
    bad = {"same.txt": " ".join(["7"] * 68)}
    bad |= {
        "few.txt": "1 2 3",
        "words.txt": "nose chin",
        "far.txt": " ".join(map(str, range(450, 518))),
        "cut.npy": "x",
    }
    for name, text in bad.items():
        (tmp_path / name).write_text(text)
        with pytest.raises(InputError, match="landmarks|68 vertex numbers|vertices of their own"):
            load_face_model(BFM_TOOLS, landmarks=tmp_path / name)


def test_landmarks_are_found_on_the_shipped_face_moved_and_scaled() -> None:
    model = procedural_model("medium")
    shape = 1.07 * model.mean_shape + torch.tensor([0.3, -0.2, 1.0])
    found = find_landmarks(shape)
    error = (shape[found] - shape[model.landmark_indices]).norm(dim=1)
    assert error.mean() < 0.02 and error.max() < 0.06  # decimetres; the mesh's edges are about 0.05 long


def test_correspondence_with_itself_is_the_identity() -> None:
    model = procedural_model("medium")
    places = Correspondence.between(model.mean_shape, model.landmark_indices)
    skin = model.regions["skin"]
    assert torch.equal(places.region("face")[skin], model.regions["face"][skin])
    torch.testing.assert_close(places.mean_albedo()[skin], model.mean_albedo[skin], atol=0.01, rtol=0)
    with pytest.raises(InputError, match="span a face"):
        Correspondence.between(model.mean_shape, torch.zeros(68, dtype=torch.int64))


@pytest.fixture(scope="module")
def packed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_ict_packed(tmp_path_factory.mktemp("ict") / "ict.npz")


def test_ict_folder_and_packed_file_are_the_same_model(
    tmp_path: Path, packed: Path, caplog: pytest.LogCaptureFixture
) -> None:
    model = load_face_model(packed, sizes=None)
    assert "no reflectance; the shipped model's skin is carried over" in caplog.text
    same(model, load_face_model(write_ict_folder(tmp_path / "FaceXModel"), sizes=None), tolerance=1e-5)
    content = ict_content()
    assert model.sizes == ParameterSizes(3, 2, 80) and model.expression_names == ("browDown_L", "jawOpen")
    assert model.landmark_indices.tolist() == list(LANDMARK_INDICES)
    moved = model.vertices(torch.zeros(1, 3), torch.tensor([[0.0, 1.0]]))[0] - model.mean_shape
    torch.testing.assert_close(
        moved, torch.from_numpy(content["expression"][1].astype(np.float32)) / 10, atol=1e-6, rtol=0
    )
    assert int(model.regions["ict_face"].sum()) == 9409 and model.faces.max() < PARTS["transparent"].start
    shipped = procedural_model("coarse")
    centres = [m.mean_shape[m.landmark_indices].mean(dim=0) for m in (model, shipped)]
    torch.testing.assert_close(*centres, atol=1e-5, rtol=0)
    assert not model.reflectance_basis[PARTS["teeth"]].any() and model.reflectance_basis[PARTS["ict_face"]].any()


BAD_ICT: dict[str, tuple[Callable[[], dict[str, np.ndarray | None]], str]] = {
    "missing": (lambda: {"tri": None, "uv": None}, "lacks uv, tri"),
    "another topology": (
        lambda: (
            {name: ict_content()[name][..., :300, :] for name in ("mean", "identity", "expression")}
            | {"tri": np.array([[0, 1, 2]]), "tri_uv": np.array([[0, 1, 2]])}
        ),
        "26719 vertices",
    ),
    "1-based": (lambda: {"tri": ict_content()["tri"] + 4}, "1-based where|from one model"),
    "basis of another mesh": (lambda: {"identity": np.zeros((2, 5, 3))}, "identity .components, vertices, 3."),
    "names": (lambda: {"expr_names": np.array(["one"])}, "expression names"),
    "pickled names": (lambda: {"expr_names": np.array(["one", None], dtype=object)}, "damaged or another format"),
    "texture": (lambda: {"tri_uv": ict_content()["tri_uv"][:5]}, "tri_uv of the shape of tri"),
    "NaN": (lambda: {"mean": np.full((26719, 3), np.nan)}, "finite mean"),
    "millimetres": (lambda: {"mean": ict_content()["mean"] * 10}, "scale it to centimetres"),
}


@pytest.mark.parametrize("name", BAD_ICT)
def test_bad_packed_files_are_refused(tmp_path: Path, name: str) -> None:
    changes, message = BAD_ICT[name]
    with pytest.raises(InputError, match=message):
        load_face_model(write_ict_packed(tmp_path / "bad.npz", **changes()))


def test_obj_files(tmp_path: Path) -> None:
    path = tmp_path / "mesh.obj"
    square = "v 0 0 0\nv 1 0 0\nv 1 1 0 0.5 0.5 0.5\nv 0 1 0\n"
    path.write_text(square + "vt 0 0\nvt 1 1\nf 1/1/1 2/2/1 3/2 4/1\nf -4//1 -3//1 -2//1\n")
    mesh = read_obj(path)
    assert mesh.faces.tolist() == [[0, 1, 2], [0, 2, 3], [0, 1, 2]]
    assert mesh.texture_faces.tolist() == [[0, 1, 1], [0, 1, 0], [-1, -1, -1]]
    assert mesh.vertices[2].tolist() == [1, 1, 0]
    for text, message in (
        (square, "has none"),
        (square + "f 0 1 2\n", "faces of numbers"),
        (square + "f 1 2 5\n", "4 vertices"),
        (square + "f 1 2 x\n", "faces of numbers"),
        (square + "f 1 2 99999999999999999999\n", "faces of numbers"),
        (square + "f 1 2 -99999999999999999999\n", "faces of numbers"),
        ("v 0 0\nf 1 1 1\n", "3 numbers|3 finite numbers"),
        ("v 0 0 nan\nf 1 1 1\n", "finite"),
    ):
        path.write_text(text)
        with pytest.raises(InputError, match=message):
            read_obj(path)
    path.write_text("v\t0 0 0\n  v 1  0 0\nv 1 1 0\n\nf\t1 2\t3\n")
    assert read_obj(path).faces.tolist() == [[0, 1, 2]] and len(read_vertices(path)) == 3
    path.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(InputError, match="plain text"):
        read_obj(path)


def test_ict_folders_with_faults_are_refused(tmp_path: Path) -> None:
    square = "v 0 0 0\nv 1 0 0\nv 1 1 0\nv 0 1 0\n"
    folder = tmp_path
    (folder / "generic_neutral_mesh.obj").write_text(square + "vt 0 0\nf 1/1 2/1 3/1 4/1\n")
    (folder / "jawOpen.obj").write_text(square)
    with pytest.raises(InputError, match="has 0 and 1"):
        load_face_model(folder)
    (folder / "identity000.obj").write_text(square)
    with pytest.raises(InputError, match="26719 vertices .*, got 4"):
        load_face_model(folder)
    (folder / "jawOpen.obj").write_text(square + "v 1 1 1\n")
    with pytest.raises(InputError, match="expected 4 vertices in .*jawOpen.obj .*, got 5"):
        load_face_model(folder)
    (folder / "generic_neutral_mesh.obj").write_text(square + "f 1 2 3 4\n")
    (folder / "jawOpen.obj").write_text(square)
    with pytest.raises(InputError, match="texture coordinates at every corner"):
        load_face_model(folder)


def test_converted_models_open_as_they_were(tmp_path: Path, packed: Path, capsys: pytest.CaptureFixture[str]) -> None:
    cli.main(["convert-face-model", str(packed), str(tmp_path / "ict.safetensors")])
    assert "3 identity, 2 expression and 80 reflectance components" in capsys.readouterr().out
    same(load_face_model(packed, sizes=None), load_face_model(tmp_path / "ict.safetensors", sizes=None))
    # Converted again, it still says what it came from, and so whose licence binds it.
    cli.main(["convert-face-model", str(tmp_path / "ict.safetensors"), str(tmp_path / "again.safetensors")])
    assert describe_weights(tmp_path / "again.safetensors").config["source"] == packed.name
    save_face_model(tmp_path / "bfm.safetensors", load_face_model(BFM_TOOLS), "made up")
    same(load_face_model(BFM_TOOLS), load_face_model(tmp_path / "bfm.safetensors"))
    same(procedural_model("coarse"), load_face_model("procedural:coarse"))
    with pytest.raises(InputError, match="expected weights of kind face-model"):
        load_face_model(write_networks(tmp_path)["generator"])
    with pytest.raises(SystemExit):
        cli.main(["convert-face-model", str(packed), str(tmp_path / "ict.npz")])
    assert "expected a .safetensors file to write" in capsys.readouterr().err


def test_real_ict_facekit(shared: Path) -> None:
    model = load_face_model(shared / "data" / "ict_facekit" / "ict_facekit.npz")
    assert model.vertex_count == 26719 and model.sizes == ParameterSizes()
    assert model.expression_names[30] == "jawOpen"
    points = model.mean_shape[model.landmark_indices]
    assert points[36, 0] < points[45, 0] and points[8, 1] < points[27, 1] and points[:, 2].argmax() == 30
    opened = torch.zeros(1, 64)
    opened[0, 30] = 1
    chin, nose = (model.landmarks(model.vertices(torch.zeros(1, 80), opened))[0] - points)[[8, 30], 1]
    assert chin < -0.1 and nose.abs() < 0.01
    face = model.regions["face"]
    assert 0.5 * 9409 < face.sum() < 9409 and not face[9409:].any()
    # Landmarks found without the list, on the same head: on average within 2 mm, none beyond 1 cm.
    error = (model.mean_shape[find_landmarks(model.mean_shape[:11248])] - points).norm(dim=1)
    assert error.mean() < 0.02 and error.max() < 0.1


@pytest.mark.parametrize("name", ["public tools", "ICT-FaceKit"])
def test_a_reconstruction_is_trained_on_a_face_model_from_a_file(
    tmp_path: Path, request: pytest.FixtureRequest, name: str
) -> None:
    if name == "ICT-FaceKit":
        path = request.getfixturevalue("shared") / "data" / "ict_facekit" / "ict_facekit.npz"
    else:
        path = BFM_TOOLS
    module = DifferentiableFaceReconstruction(
        **write_networks(tmp_path),
        scene=FaceScene(face_model=str(path)),
        settings=FaceReconstructionSettings(hidden=8, landmark_steps=0, expression_deviation=1.0),
    )
    assert module.face_model.sizes.total == 257
    before = module.network.net[-1].weight.detach().clone()
    data = LatentPairDataModule(batch_size=2, train_pairs=4, validation_pairs=2)
    quiet_trainer(tmp_path, max_steps=1, enable_checkpointing=False, limit_val_batches=0).fit(module, data)
    after = module.network.net[-1].weight
    assert torch.isfinite(after).all() and not torch.equal(before, after)
