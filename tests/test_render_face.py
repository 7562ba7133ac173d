"""`lightning render-face`: the public BFM tools' pictures from their coefficient files."""

from pathlib import Path

import numpy as np
import pytest
import scipy.io
from PIL import Image

import cli
from models.morphable import ParameterSizes
from models.morphable.coefficients import load_coefficients
from renderers.errors import InputError
from tests.conftest import ROOT
from tests.face_model_files import BFM_TOOLS, mat_content, write_mat

REFERENCE = ROOT / "tests" / "data" / "bfm_tools_render_224px.npz"
PARTS = {"id": 80, "exp": 64, "tex": 80, "angle": 3, "gamma": 27, "trans": 3}


@pytest.fixture(scope="module")
def reference() -> dict[str, np.ndarray]:
    with np.load(REFERENCE) as file:
        return {name: file[name] for name in file.files}


def draw(folder: Path, coefficients: Path, *more: str) -> np.ndarray:
    words = [
        "--face-model",
        str(BFM_TOOLS),
        "--coefficients",
        str(coefficients),
        "--output",
        str(folder / "out"),
        *more,
    ]
    cli.main(["render-face", *words])
    return np.load(folder / "out" / "landmarks.npy")


def picture(folder: Path, number: int) -> np.ndarray:
    return np.asarray(Image.open(folder / "out" / f"{number:03d}.png"))


def test_matches_the_public_tools(tmp_path: Path, reference: dict[str, np.ndarray]) -> None:
    np.save(tmp_path / "c.npy", reference["coefficients"])
    landmarks = draw(tmp_path, tmp_path / "c.npy", "--image-size", "224")
    assert landmarks.shape == (3, 68, 2) and np.abs(landmarks - reference["landmarks"]).max() < 0.01
    assert sorted(p.name for p in (tmp_path / "out").iterdir()) == ["000.png", "001.png", "002.png", "landmarks.npy"]
    for number, (image, mask) in enumerate(zip(reference["image"], reference["mask"], strict=True)):
        drawn = picture(tmp_path, number)
        assert drawn.shape == (224, 224, 3) and drawn.dtype == np.uint8
        error = (drawn.astype(float) - image.astype(float))[mask] / 255
        assert -10 * np.log10(np.square(error).mean()) > 50
        assert ((drawn.sum(axis=2) > 0) == mask).mean() > 0.999


def test_one_vector_other_sizes_and_primitives(tmp_path: Path, reference: dict[str, np.ndarray]) -> None:
    np.save(tmp_path / "c.npy", reference["coefficients"][1])
    landmarks = draw(tmp_path, tmp_path / "c.npy", "--image-size=56", "--primitive", "points", "--region", "skin")
    np.testing.assert_allclose(landmarks[0], reference["landmarks"][1] / 4, atol=0.01)
    assert picture(tmp_path, 0).shape == (56, 56, 3)


@pytest.mark.parametrize("version", ["parts", "parts with channels", "vector"])
def test_coefficient_files_of_the_public_tools(tmp_path: Path, reference: dict[str, np.ndarray], version: str) -> None:
    vectors = reference["coefficients"]
    parts = dict(zip(PARTS, np.split(vectors, np.cumsum(list(PARTS.values()))[:-1], axis=1), strict=True))
    if version == "parts with channels":
        parts["gamma"] = parts["gamma"].reshape(-1, 3, 9)
    content = {"coeff": vectors} if version == "vector" else {**parts, "lm68": reference["landmarks"]}
    scipy.io.savemat(tmp_path / "c.mat", content)
    np.testing.assert_array_equal(load_coefficients(tmp_path / "c.mat").numpy(), vectors)


def test_bad_coefficients_are_refused(tmp_path: Path) -> None:
    def refuse(name: str, message: str) -> None:
        with pytest.raises(InputError, match=message):
            load_coefficients(tmp_path / name)

    for name, values, message in (
        ("wide.npy", np.zeros((2, 258)), r"\(N, 257\)"),
        ("deep.npy", np.zeros((2, 1, 257)), r"\(N, 257\)"),
        ("short.npy", np.zeros(256), r"\(N, 257\)"),
        ("scalar.npy", np.zeros(()), r"\(N, 257\)"),
        ("none.npy", np.zeros((0, 257)), "empty array"),
        ("nan.npy", np.full((1, 257), np.nan), "finite the coefficients|finite"),
        ("huge.npy", np.full((1, 257), 1e300), "finite"),
        ("words.npy", np.array(["a"]), "real numbers"),
        ("objects.npy", np.array([None, {}], dtype=object), "damaged or another format"),
    ):
        np.save(tmp_path / name, values)
        refuse(name, message)
    (tmp_path / "text.npy").write_text("no array")
    refuse("text.npy", "damaged or another format")
    (tmp_path / "c.csv").write_text("1,2")
    refuse("c.csv", "as .npy or .mat")
    refuse("absent.npy", "found none")
    good = {name: np.zeros((2, width)) for name, width in PARTS.items()}
    scipy.io.savemat(
        tmp_path / "lacks.mat", {name: value for name, value in good.items() if name not in ("exp", "gamma")}
    )
    refuse("lacks.mat", "lacks exp, gamma")
    scipy.io.savemat(tmp_path / "rows.mat", {**good, "tex": np.zeros((1, 80))})
    refuse("rows.mat", "as many rows")
    scipy.io.savemat(tmp_path / "width.mat", {**good, "id": np.zeros((2, 79))})
    refuse("width.mat", "id of width 80")
    # As many numbers as fit, in another order.
    for name, part, array in (
        ("long.mat", "id", np.zeros((1, 160))),
        ("turned.mat", "id", np.zeros((80, 2))),
        ("turned_exp.mat", "exp", np.zeros((64, 2))),
        ("deep.mat", "exp", np.zeros((2, 8, 8))),
        ("channels_last.mat", "gamma", np.zeros((2, 9, 3))),
    ):
        scipy.io.savemat(tmp_path / name, {**good, part: array})
        refuse(name, f"{part} of width .*a row per face")
    np.save(tmp_path / "small.npy", np.zeros((1, 39)))
    assert load_coefficients(tmp_path / "small.npy", ParameterSizes(3, 2, 1)).shape == (1, 39)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--image-size", "0"], "image size of at least 1"),
        (["--image-size", "4097"], "at most 4096"),
        (["--image-size", "x"], "image_size"),
        (["--region", "tail"], "expected a region among face, skin, got 'tail'"),
        (["--focal-length", "-1"], "positive camera focal_length"),
        (["--coefficients", "absent.npy"], "found none there"),
        (["--face-model", "absent.mat"], "found none there"),
    ],
)
def test_bad_options_end_in_one_line(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], words: list[str], message: str
) -> None:
    np.save(tmp_path / "c.npy", np.zeros(257))
    with pytest.raises(SystemExit) as stop:
        draw(tmp_path, tmp_path / "c.npy", *words)
    assert stop.value.code == 2
    (line,) = capfd.readouterr().err.splitlines()
    assert message in line
    assert not (tmp_path / "out").exists()


def test_a_region_without_faces_is_refused(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    skin = np.zeros((1, mat_content()["meanshape"].size // 3))
    skin[0, 0] = 1
    path = write_mat(tmp_path / "dot.mat", skinmask=skin)
    np.save(tmp_path / "c.npy", np.zeros(257))
    with pytest.raises(SystemExit):
        draw(tmp_path, tmp_path / "c.npy", "--face-model", str(path), "--region", "skin")
    assert "'skin' of" in capfd.readouterr().err and not (tmp_path / "out").exists()


def test_the_output_must_be_a_folder(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    np.save(tmp_path / "c.npy", np.zeros(257))
    (tmp_path / "out").write_text("")
    with pytest.raises(SystemExit):
        draw(tmp_path, tmp_path / "c.npy")
    assert "is a file" in capfd.readouterr().err
