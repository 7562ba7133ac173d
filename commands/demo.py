"""``lightning demo``: train and measure pose control on the shipped generator, and write a report."""

import os
import platform
import time
from datetime import datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch
import yaml

from commands.devices import choose_device
from commands.trainer import run_trainer
from datamodules.latent_pairs import PairRecipe
from evaluation.report import json_text, write_texts
from evaluation.stylerig.demo_page import write_report
from evaluation.stylerig.demo_results import DemoNetworks, measure_demo
from lightning_modules.face_scene import FaceScene
from lightning_modules.progress import check_seed
from models.observers import load_judge, load_landmark_detector
from models.stylegan2 import load_generator
from models.stylerig import FaceReconstruction, Provenance, RigNet
from models.weights import PROJECT_ROOT, locate
from renderers.errors import InputError

POSE_CONFIG = "configs/demo/stylerig_pose.yaml"
RECONSTRUCTION_CONFIG = "configs/demo/face_reconstruction.yaml"


def demo(
    output: Path = Path("runs/demo"),
    retrain_face_reconstruction: bool = False,
    judge: str = "assets/demo_judge.safetensors",
    steps: int | None = None,
    pairs: int = 500,
    reconstruction_codes: int = 1000,
    portraits: int = 500,
    seed: int = 0,
) -> None:
    """Train a pose RigNet on the shipped generator, measure it, and write report.html and metrics.json.

    Args:
        output: Folder of the report. Earlier results there are replaced once the new ones are complete.
        retrain_face_reconstruction: Also train the face reconstruction anew, in place of the shipped one.
        judge: Weights of the judge that measures.
        steps: Training steps; by default those of configs/demo/stylerig_pose.yaml (and face_reconstruction.yaml).
        pairs: Unseen pairs that pose edits are measured on.
        reconstruction_codes: Unseen codes that the face reconstruction is measured on.
        portraits: Samples of the generator that are compared with portraits.
        seed: Seed of the training, its pairs and those measured; the shipped figures are those of 0.
    """
    started = time.monotonic()
    if min(pairs, reconstruction_codes, portraits) < 10 or (steps is not None and steps < 1):
        raise InputError(
            f"expected at least 10 pairs, reconstruction_codes and portraits and 1 step, got {pairs}, {reconstruction_codes}, "
            f"{portraits} and {steps}; raise them"
        )
    check_seed(seed)
    # Everything is read before anything is trained: a missing file must not cost minutes.
    options = _model_options(POSE_CONFIG)
    scene = FaceScene(**options["scene"])
    generator = load_generator(options["generator"])
    landmarker, judge_network = load_landmark_detector(options["landmarker"]), load_judge(judge)
    face_model = scene.load_face_model()
    provenance = Provenance.of(generator, face_model, scene.camera)
    if not retrain_face_reconstruction:
        FaceReconstruction.load(options["face_reconstruction"], provenance)

    run_id = f"{datetime.now():%Y%m%d-%H%M%S}-{os.getpid()}"
    folder = output / "training"
    common = ["--run.root", str(folder), "--run.id", run_id, "--seed_everything", str(seed)]
    # One device also where there are several: processes for each would take the demo apart, and share out its few minutes.
    common += ["--data.seed", str(seed), "--trainer.devices", "1", "--trainer.enable_model_summary", "false"]
    common += [] if steps is None else ["--trainer.max_steps", str(steps)]
    seconds: dict[str, float] = {}
    reconstruction = locate(options["face_reconstruction"]) if not retrain_face_reconstruction else None
    if reconstruction is None:
        reconstruction = folder / "face_reconstruction" / run_id / "face_reconstruction.safetensors"
        _say("training the face reconstruction")
        seconds["face reconstruction"] = _timed(
            lambda: run_trainer(
                ["fit", "--config", RECONSTRUCTION_CONFIG, *common, "--model.output", str(reconstruction)]
            )
        )
    rignet = folder / "stylerig_pose" / run_id / "rignet.safetensors"
    words = ["--model.output", str(rignet), "--model.face_reconstruction", str(reconstruction)]
    _say("training the pose RigNet")
    seconds["rignet"] = _timed(lambda: run_trainer(["fit", "--config", POSE_CONFIG, *common, *words]))

    device = choose_device("auto")
    networks = DemoNetworks(
        generator=generator.to(device),
        landmarker=landmarker.to(device),
        judge=judge_network.to(device),
        face_reconstruction=FaceReconstruction.load(reconstruction, provenance).to(device),
        rignet=RigNet.load(rignet, provenance).to(device),
        renderer=scene.renderer(face_model, generator.resolution).to(device),
        face_model=face_model.to(device),
    )
    measuring = time.monotonic()
    results = measure_demo(networks, PairRecipe(seed=seed), pairs, reconstruction_codes, portraits, _say)
    seconds["measurement"] = time.monotonic() - measuring
    seconds["total"] = time.monotonic() - started
    settings: dict[str, Any] = {
        "seed": seed,
        "face reconstruction": "trained in this run" if retrain_face_reconstruction else "as shipped",
        "seconds": {name: round(value, 1) for name, value in seconds.items()},
        "processor cores": os.cpu_count(),
        "measured on": torch.cuda.get_device_name(device) if device.type == "cuda" else "cpu",
        "versions": {
            "latentrig": version("latentrig"),
            "torch": torch.__version__,
            "python": platform.python_version(),
        },
        "training runs": str(folder),
    }
    metrics = {**results.metrics(), "settings": settings}
    page = write_report(results, settings).text()
    write_texts({output / "metrics.json": json_text(metrics), output / "report.html": page})
    for target in results.targets:
        print(target.sentence, flush=True)
    _say(f"report written to {output / 'report.html'}")


def _model_options(config: str) -> dict[str, Any]:
    """Arguments of the model of a shipped config."""
    return yaml.safe_load((PROJECT_ROOT / config).read_text())["model"]["init_args"]


def _timed(action: Any) -> float:
    start = time.monotonic()
    action()
    return time.monotonic() - start


def _say(text: str) -> None:
    print(f"demo: {text}", flush=True)
