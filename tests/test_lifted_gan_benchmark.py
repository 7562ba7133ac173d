"""The benchmark of LiftedGAN, at sizes at which it takes seconds."""

import runpy
from pathlib import Path
from typing import Any

import pytest
import torch

from tests.conftest import ROOT
from tests.tiny_lifted_gan import PLAIN, TRAINING, lifted_module, write_lifted_gan_networks

BENCHMARK = runpy.run_path(str(ROOT / "benchmarks/lifted_gan.py"))


@pytest.mark.parametrize("settings", [TRAINING, PLAIN])
def test_every_part_of_a_step_is_timed(tmp_path: Path, settings: Any) -> None:
    module = lifted_module(write_lifted_gan_networks(tmp_path), settings)
    parts, whole = BENCHMARK["measure"](module, 2, BENCHMARK["Clock"](1, torch.device("cpu")))
    always = {
        "data: codes and pictures",
        "networks and texture, forward",
        "pictures of M's codes, forward",
        "rendering, forward",
        "backward",
        "optimiser",
    }
    assert set(parts) == always | ({"identity network, forward"} if settings.identity else set())
    assert min(parts.values()) > 0 and whole > 0


def test_depth_meshes_of_any_size_are_timed() -> None:
    clock = BENCHMARK["Clock"](1, torch.device("cpu"))
    times = [BENCHMARK["measure_mesh"](pixels, 2, clock, torch.device("cpu")) for pixels in (16, 64)]
    assert min(min(time) for time in times) > 0


def test_configs_change_each_other() -> None:
    configs = ["configs/demo/lifted_gan.yaml", "configs/demo/lifted_gan/no_identity.yaml"]
    module = BENCHMARK["module_of"](configs, {})
    assert module.settings.identity == 0 and module.objective.embedder is None and module.settings.albedo == 0.01
    assert module.lifted.settings.base_channels == 8
