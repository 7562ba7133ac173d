"""The demo command: what it writes, and what it leaves alone after bad input. Trained on tiny networks."""

import functools
import json
import math
from pathlib import Path

import pytest
import torch
import yaml
from PIL import Image

import commands.demo
from commands.demo import POSE_CONFIG, RECONSTRUCTION_CONFIG, demo
from evaluation import rasterizer_benchmark
from evaluation.rasterizer_benchmark import equal_pixels, measure_rasterizer
from evaluation.report import Report, json_text, picture_grid, to_picture, write_text, write_texts
from evaluation.stylerig import demo_results
from evaluation.stylerig.demo_results import Target
from lightning_modules.face_reconstruction import DifferentiableFaceReconstruction, FaceReconstructionSettings
from models.morphable.procedural import procedural_model
from models.observers import Judge, save_observer
from renderers.errors import InputError
from tests.conftest import ROOT
from tests.tiny_stylerig import write_networks


@pytest.fixture
def tiny_demo(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder in which the demo finds its configs and networks, all tiny."""
    networks = write_networks(tmp_path)
    sizes = procedural_model("coarse").sizes
    torch.manual_seed(0)
    judge = Judge(
        sizes.identity, sizes.expression, sizes.reflectance, widths=(4, 4, 4, 4), num_features=8, working_size=32
    )
    save_observer(tmp_path / "judge.safetensors", judge)
    module = DifferentiableFaceReconstruction(**networks, settings=FaceReconstructionSettings(hidden=8))
    module.network.save(tmp_path / "f.safetensors", module.provenance)
    for name in (POSE_CONFIG, RECONSTRUCTION_CONFIG):
        config = yaml.safe_load((ROOT / name).read_text())
        config["model"]["init_args"].update(networks)
        config["model"]["init_args"]["settings"].update(
            {"statistics_pairs": 8} if name == POSE_CONFIG else {"hidden": 8}
        )
        if name == POSE_CONFIG:
            config["model"]["init_args"]["face_reconstruction"] = str(tmp_path / "f.safetensors")
        config["data"]["init_args"].update({"batch_size": 2, "validation_pairs": 2})
        config["trainer"].update({"accelerator": "cpu", "enable_progress_bar": False, "limit_val_batches": 0})
        config["logger"] = {"wandb": "disabled"}
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(yaml.safe_dump(config))
    monkeypatch.setattr(commands.demo, "PROJECT_ROOT", tmp_path)
    # Two small calls in place of forty large ones; and as where only the package is installed.
    quick = functools.partial(measure_rasterizer, repeats=2, size=16, rings=4, segments=4)
    monkeypatch.setattr(demo_results, "measure_rasterizer", quick)
    monkeypatch.setattr(rasterizer_benchmark, "PROJECT_ROOT", tmp_path)
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize("retrain", [False, True])
def test_demo_writes_report_and_metrics(tiny_demo: Path, retrain: bool) -> None:
    output = tiny_demo / "out"
    demo(
        output,
        retrain_face_reconstruction=retrain,
        judge=str(tiny_demo / "judge.safetensors"),
        steps=2,
        pairs=10,
        reconstruction_codes=10,
        portraits=10,
        seed=3,
    )
    (saved,) = (output / "training" / "stylerig_pose").glob("*/config.yaml")
    config = yaml.safe_load(saved.read_text())
    assert config["data"]["init_args"]["seed"] == 3 and config["trainer"]["devices"] in (1, "1")
    metrics = json.loads((output / "metrics.json").read_text())
    assert metrics["pose_edits"]["pairs"] == 10 and metrics["face_reconstruction"]["codes"] == 10
    assert {target["name"] for target in metrics["targets"]} >= {"pose edits: rotation error edited over unedited"}
    assert metrics["rasterizer"]["equal_pixels"] is None and "npz" in metrics["rasterizer"]["note"]
    assert metrics["rasterizer"]["forward_ms"] > 0
    assert metrics["settings"]["seed"] == 3 and metrics["settings"]["versions"]["torch"] == torch.__version__
    assert ("face reconstruction" in metrics["settings"]["seconds"]) == retrain
    page = (output / "report.html").read_text()
    assert page.startswith("<!doctype html>") and page.count("data:image/png;base64,") == 5
    assert "http" not in page


@pytest.mark.parametrize("missing", ["judge.safetensors", "f.safetensors", "generator.safetensors"])
def test_missing_networks_leave_earlier_results_alone(tiny_demo: Path, missing: str) -> None:
    output = tiny_demo / "out"
    output.mkdir()
    (output / "metrics.json").write_text("earlier")
    (tiny_demo / missing).unlink()
    with pytest.raises(InputError, match=missing):
        demo(output, judge=str(tiny_demo / "judge.safetensors"), steps=1)
    assert (output / "metrics.json").read_text() == "earlier" and len(list(output.iterdir())) == 1


def test_bad_numbers_are_refused(tiny_demo: Path) -> None:
    with pytest.raises(InputError, match="at least 10"):
        demo(tiny_demo / "out", pairs=3)
    assert not (tiny_demo / "out").exists()


def test_report_escapes_text_and_checks_tables(tmp_path: Path) -> None:
    report = Report("a < b")
    report.heading("one & two")
    report.table(["x", "y"], [["<i>", 1.23456], ["ok", True]])
    report.picture(Image.new("RGB", (2, 2)), 'said "so"')
    report.write(tmp_path / "folder" / "page.html")
    page = (tmp_path / "folder" / "page.html").read_text()
    assert (
        "a &lt; b" in page
        and "&lt;i&gt;" in page
        and "1.23<" in page
        and "reached" in page
        and "&quot;so&quot;" in page
    )
    with pytest.raises(InputError, match="rows of 2 cells"):
        report.table(["x", "y"], [["one"]])


def test_text_is_written_whole_or_not_at_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "file.txt"
    write_text(path, "first")

    def fail(*_: object) -> None:
        raise OSError("no space")

    monkeypatch.setattr("evaluation.report.os.replace", fail)
    with pytest.raises(OSError, match="no space"):
        write_text(path, "second")
    assert path.read_text() == "first" and list(tmp_path.iterdir()) == [path]


def test_texts_that_belong_together_are_replaced_together(tmp_path: Path) -> None:
    (tmp_path / "a.json").write_text("earlier")
    with pytest.raises(TypeError):
        write_texts({tmp_path / "a.json": "new", tmp_path / "b.html": None})  # type: ignore[dict-item]
    assert (tmp_path / "a.json").read_text() == "earlier" and len(list(tmp_path.iterdir())) == 1


def test_numbers_that_json_lacks_are_null() -> None:
    value = {"a": math.inf, "b": [math.nan, 1.5, "x"], "c": (True, None)}
    assert json.loads(json_text(value)) == {"a": None, "b": [None, 1.5, "x"], "c": [True, None]}


def test_rasterizer_is_compared_with_pytorch3d() -> None:
    assert equal_pixels(ROOT / rasterizer_benchmark.REFERENCE) > 0.995
    measurement = measure_rasterizer(repeats=1, size=16, rings=4, segments=4)
    assert measurement.equal_pixels is not None and measurement.note == "" and measurement.faces == 32


def test_pictures_and_grids() -> None:
    image = torch.stack([torch.full((4, 6), value) for value in (-1.0, 0.0, 2.0)])
    picture = to_picture(image)
    assert picture.size == (6, 4) and picture.getpixel((0, 0)) == (0, 128, 255)
    assert to_picture(image, 12).size == (12, 8)
    grid = picture_grid([[picture, None], [picture, picture]], gap=1)
    assert grid.size == (14, 10) and grid.getpixel((8, 1)) == (255, 255, 255)
    assert picture_grid([[picture]], ["row"], ["column"]).size[0] > 8
    with pytest.raises(InputError, match="at least one picture"):
        picture_grid([[None]])


def test_targets_know_their_sense() -> None:
    assert Target("a", 0.2, 0.3).reached and not Target("a", 0.4, 0.3).reached
    assert Target("a", None, 0.3).outcome == "not measured" and not Target("a", None, 0.3).reached
    assert not Target("a", math.inf, 0.3).reached and Target("a", 0.4, 0.3).sentence.endswith(": not reached")
    assert Target("a", 0.8, 0.7, "at least").reached and not Target("a", 0.6, 0.7, "at least").reached
