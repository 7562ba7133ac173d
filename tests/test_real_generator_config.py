"""configs/real64.yaml over the demo's: one's own checkpoint and face-api landmarks, through the command line."""

import json
from pathlib import Path

import pytest

import cli
from models.weights import describe_weights
from tests.stylegan2_files import ada_network, write_ada
from tests.test_face_api import write_random
from tests.test_stylegan2_loading import tiny_ada_state

CONFIGS = ["--config", "configs/demo/stylerig_pose.yaml", "--config", "configs/real64.yaml"]
FEW = (
    "--trainer.max_steps 2 --trainer.val_check_interval 2 --trainer.limit_val_batches 1 --trainer.num_sanity_val_steps 0 "
    "--trainer.accelerator cpu --trainer.enable_model_summary false --logger.wandb disabled --data.batch_size 2 "
    "--data.train_pairs 8 --data.validation_pairs 2 --model.face_reconstruction_run.steps 2 "
    "--model.face_reconstruction_run.batch_size 2 --model.settings.statistics_pairs 4"
).split()


def rigs(folder: Path, generator: Path, landmarker: Path, layers: int) -> None:
    """Train two steps; check what is written."""
    cli.main(["fit", *CONFIGS, *FEW, "--model.generator", str(generator), "--model.landmarker", str(landmarker)])
    (run,) = (folder / "runs" / "stylerig_pose").iterdir()
    assert describe_weights(run / "rignet.safetensors").config["num_layers"] == layers
    assert describe_weights(run / "face_reconstruction.safetensors").config["num_layers"] == layers
    edits = json.loads((run / "rotation_edits.json").read_text())
    assert edits["pairs"] == 2 and edits["change_ratio"] == {}


def test_an_ada_pickle_is_rigged(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    generator = write_ada(tmp_path / "generator.pkl", G_ema=ada_network("Generator", tiny_ada_state()))
    landmarker = tmp_path / "face_landmark_68"
    landmarker.mkdir()
    write_random(landmarker)
    rigs(tmp_path, generator, landmarker, 4)


@pytest.mark.slow
def test_a_generator_of_real_faces_is_rigged(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, shared: Path) -> None:
    generator, landmarker = shared / "data/real_faces_64px/generator.pkl", shared / "data/face_landmark_68"
    if not generator.is_file() or not landmarker.is_dir():
        pytest.skip(f"no {generator} or {landmarker}")
    monkeypatch.chdir(tmp_path)
    rigs(tmp_path, generator, landmarker, 10)
