"""The benchmarks of StyleRig, at sizes at which they take seconds."""

import runpy

import pytest
import torch

from datamodules.latent_pairs import PairRecipe
from models.stylerig import FaceReconstruction, RigNet
from tests.conftest import ROOT
from tests.tiny_rig import LAYERS, WIDTH, tiny_generator
from tests.toy_face import SIZES


def test_every_part_of_an_edit_is_timed() -> None:
    measure = runpy.run_path(str(ROOT / "benchmarks/edit.py"))["measure"]
    network, rignet = FaceReconstruction(LAYERS, WIDTH, SIZES, hidden=8), RigNet(LAYERS, WIDTH, ("rotation",), SIZES)
    times = measure(tiny_generator(), network, rignet, torch.zeros(2, LAYERS, WIDTH), seconds=0.0)
    assert list(times)[-1] == "edit with its picture" and all(value > 0 for value in times.values())


@pytest.mark.parametrize("config", ["stylerig_pose", "stylerig_illumination"])
def test_every_part_of_a_training_step_is_timed(config: str) -> None:
    """Also of a config that leaves the scene to the module."""
    benchmark = runpy.run_path(str(ROOT / "benchmarks/stylerig_step.py"))
    rig = benchmark["rig_of"](f"configs/demo/{config}.yaml", None, None, "cpu")
    parts, rendering_back = benchmark["measure"](rig, PairRecipe(0), 1, benchmark["Clock"](1, rig.device))
    assert parts["rendering and losses, forward"] > 0 and rendering_back > 0
    assert {"data: pictures by the generator", "backward", "optimiser"} < set(parts)
