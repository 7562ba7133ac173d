"""The UV generator trained by two processes: ranks stay alike, and are as one process with the whole batch."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from tests.conftest import ROOT
from tests.tiny_stylefaceuv import write_uv_networks
from tests.tiny_stylerig import use_toy_face
from tests.two_rank_stylefaceuv import train

pytestmark = pytest.mark.slow


def test_two_processes_train_one_uv_generator(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Ranks stay alike; without a discriminator, whose minibatch deviation sees a rank's batch alone, they are as one process."""
    use_toy_face(monkeypatch)
    write_uv_networks(tmp_path)
    environment = {key: value for key, value in os.environ.items() if key != "LOCAL_RANK"}
    command = [sys.executable, "-m", "tests.two_rank_stylefaceuv", str(tmp_path)]
    result = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=300)
    assert result.returncode == 0, result.stderr
    first, second = (torch.load(tmp_path / f"rank{rank}.pt", weights_only=True) for rank in range(2))
    for run in ("adversarial", "reconstruction"):
        assert first[run]["images_seen"] == second[run]["images_seen"] == 16
        assert first[run]["steps"] == second[run]["steps"] == 4
        assert not set(first[run]["indices"]) & set(second[run]["indices"])
        for name, value in first[run]["state"].items():
            assert torch.equal(value, second[run]["state"][name]), (run, name)
    single = train(tmp_path, "reconstruction", 1)
    assert sorted(single["indices"]) == sorted(first["reconstruction"]["indices"] + second["reconstruction"]["indices"])
    for name, value in single["state"].items():
        torch.testing.assert_close(first["reconstruction"]["state"][name], value, atol=2e-5, rtol=1e-4, msg=name)
    # The discriminator is trained in the one run and left alone in the other, from the same start.
    alone = first["reconstruction"]["state"]
    trained = {
        name: value for name, value in first["adversarial"]["state"].items() if name.startswith("discriminator.")
    }
    assert trained and any(not torch.equal(value, alone[name]) for name, value in trained.items())
    for name in ("uv_generator.safetensors", "discriminator.safetensors", "checkpoints/last.ckpt"):
        assert (tmp_path / "adversarial2" / name).is_file()
