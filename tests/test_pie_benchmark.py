"""The benchmark of PIE, at sizes at which it takes seconds."""

import runpy
from pathlib import Path
from typing import Any

import pytest
import torch

from models.observers import IdentityNet, save_observer
from tests.conftest import ROOT
from tests.tiny_stylerig import use_toy_face, write_networks


def benchmark(folder: Path, *overlays: str) -> tuple[dict[str, Any], Any, Any]:
    """The benchmark's functions, and energies and settings of the demo's config on tiny networks."""
    functions = runpy.run_path(str(ROOT / "benchmarks/pie.py"))
    embedder = save_observer(folder / "identity.safetensors", IdentityNet(embedding_dim=8, base_width=4, working_size=16))
    files = {**write_networks(folder), "embedder": str(embedder)}
    configs = ["configs/demo/pie.yaml", *(f"configs/demo/pie/{overlay}.yaml" for overlay in overlays)]
    return functions, *functions["model_of"](configs, files)


def test_every_part_of_an_iteration_is_timed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    use_toy_face(monkeypatch)
    functions, energies, settings = benchmark(tmp_path)
    assert settings.schedule.optimiser == "adam" and settings.weights.normalised
    parts, whole = functions["measure"](energies, "adam", 2, functions["Clock"](1, torch.device("cpu")))
    networks = {"generator", "face encoder", "RigNet", "renderer", "perceptual features", "embedder"}
    assert set(parts) == {f"{name}, forward" for name in networks} | {"codes v", "landmark network", "backward", "optimiser"}
    assert min(parts.values()) > 0 and whole > 0
    assert functions["peak_memory"](torch.device("cpu")) > 10


def test_terms_that_a_config_leaves_out_take_no_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Image2StyleGAN's fit: neither rig, renderer nor observers but the perceptual features; W+ alone."""
    use_toy_face(monkeypatch)
    functions, energies, settings = benchmark(tmp_path, "image2stylegan")
    assert energies.terms == ("pixels", "perceptual") and settings.schedule.w_iterations == 0
    parts, _ = functions["measure"](energies, "adadelta", 1, functions["Clock"](1, torch.device("cpu")))
    assert set(parts) == {"generator, forward", "perceptual features, forward", "backward", "optimiser"}
