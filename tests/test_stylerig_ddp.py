"""StyleRig and its face reconstruction trained by two processes: the same as one with the whole batch."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

from datamodules.latent_pairs import PairRecipe
from evaluation.stylerig.measuring import StyleRigEdits
from lightning_modules.face_reconstruction import DifferentiableFaceReconstruction, FaceReconstructionSettings
from lightning_modules.face_scene import FaceScene
from lightning_modules.nested_reconstruction import FaceReconstructionRun
from renderers.errors import InputError
from tests.conftest import ROOT
from tests.tiny_stylerig import quiet_trainer, use_toy_face, write_networks
from tests.two_rank_stylerig import BATCH, TEST, train

pytestmark = pytest.mark.slow

KINDS = ("rignet", "face_reconstruction")


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[dict[str, Any]], dict[str, Any]]:
    """The folder, what each of two ranks did, and what a single process did."""
    folder = tmp_path_factory.mktemp("ranks")
    with pytest.MonkeyPatch.context() as patch:
        use_toy_face(patch)
        torch.manual_seed(0)
        module = DifferentiableFaceReconstruction(**write_networks(folder), settings=FaceReconstructionSettings(hidden=16))
        with torch.no_grad():
            module.network.net[4].weight.mul_(30)
        module.network.save(folder / "f.safetensors", module.provenance)
        environment = {key: value for key, value in os.environ.items() if key != "LOCAL_RANK"}
        command = [sys.executable, "-m", "tests.two_rank_stylerig", str(folder)]
        result = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=300)
        assert result.returncode == 0, result.stderr
        ranks = [torch.load(folder / f"rank{rank}.pt", weights_only=True) for rank in range(2)]
        return folder, ranks, {kind: train(folder, kind, 1) for kind in KINDS}


@pytest.mark.parametrize("kind", KINDS)
def test_ranks_share_out_the_samples(runs: Any, kind: str) -> None:
    _, ranks, single = runs
    first, second = (rank[kind] for rank in ranks)
    for mine, others, whole in zip(first["train"], second["train"], single[kind]["train"], strict=True):
        assert len(mine) == len(others) == BATCH // 2 and sorted(mine + others) == whole
    assert sorted(first["measured"] + second["measured"]) == list(range(TEST))


@pytest.mark.parametrize("kind", KINDS)
def test_two_ranks_train_as_one_with_the_whole_batch(runs: Any, kind: str) -> None:
    _, ranks, single = runs
    first, second = (rank[kind] for rank in ranks)
    # The first step has equal weights on both sides; the optimiser divides by the gradient's size, so later ones are less alike.
    for name, gradient in single[kind]["gradients"][0].items():
        assert gradient.any(), name
        scale = float(gradient.abs().max())
        torch.testing.assert_close(first["gradients"][0][name], gradient, rtol=1e-4, atol=1e-5 * scale, msg=name)
    for mine, others in zip(first["gradients"], second["gradients"], strict=True):
        assert mine.keys() == others.keys() and all(torch.equal(mine[name], others[name]) for name in mine)
    for name, value in single[kind]["weights"].items():
        assert torch.equal(first["weights"][name], second["weights"][name]), name
        torch.testing.assert_close(first["weights"][name], value, rtol=0, atol=1e-4)


@pytest.mark.parametrize("kind", KINDS)
def test_figures_are_of_all_samples(runs: Any, kind: str) -> None:
    _, ranks, single = runs
    first, second = (rank[kind] for rank in ranks)
    assert first["figures"] == second["figures"] == pytest.approx(single[kind]["figures"], rel=1e-3)
    assert first["losses"] == second["losses"] == pytest.approx(single[kind]["losses"], rel=1e-3)


def test_edits_are_measured_on_the_pairs_of_all_ranks(runs: Any) -> None:
    folder = runs[0]
    two, one = (json.loads((folder / f"rignet{count}" / StyleRigEdits.file_of("rotation")).read_text()) for count in (2, 1))
    assert two["pairs"] == one["pairs"] == TEST
    assert two["edited"]["rotation_error_deg"] == pytest.approx(one["edited"]["rotation_error_deg"], rel=1e-2)


def test_the_first_rank_alone_writes_weights(runs: Any) -> None:
    _, ranks, _ = runs
    assert ranks[0]["written"] == ["rignet.safetensors", "face_reconstruction.safetensors"] and ranks[1]["written"] == []


@pytest.mark.parametrize("kind", KINDS)
def test_frozen_networks_are_not_sent_around(runs: Any, kind: str) -> None:
    """Their buffers would be broadcast before every step."""
    trained = "rignet." if kind == "rignet" else "network."
    buffers = runs[1][0][kind]["broadcast"]
    assert buffers and all(name.startswith(trained) for name in buffers)


def test_several_processes_want_a_trained_face_reconstruction(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    trainer = quiet_trainer(tmp_path, enable_checkpointing=False)
    monkeypatch.setattr(type(trainer), "world_size", 2)
    with pytest.raises(InputError, match="for a run of several processes"):
        FaceReconstructionRun().train(trainer, "none", "none", FaceScene(), PairRecipe(), tmp_path / "f.safetensors")
