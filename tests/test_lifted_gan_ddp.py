"""A lifted generator trained by two processes: ranks stay alike, and are as one process with the whole batch."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from tests.conftest import ROOT
from tests.tiny_lifted_gan import write_lifted_gan_networks
from tests.two_rank_lifted_gan import BATCH, STEPS, train

pytestmark = pytest.mark.slow


def test_two_processes_train_one_lifted_generator(tmp_path: Path) -> None:
    """The albedo's nuclear norm is of the rows of both ranks: without perturbed lights, the two are as one process."""
    write_lifted_gan_networks(tmp_path)
    environment = {key: value for key, value in os.environ.items() if key != "LOCAL_RANK"}
    command = [sys.executable, "-m", "tests.two_rank_lifted_gan", str(tmp_path)]
    result = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=300)
    assert result.returncode == 0, result.stderr
    first, second = (torch.load(tmp_path / f"rank{rank}.pt", weights_only=True) for rank in range(2))
    for run in ("whole", "unperturbed"):
        assert first[run]["images_seen"] == second[run]["images_seen"] == 2 * BATCH * STEPS
        assert first[run]["steps"] == second[run]["steps"] == STEPS
        assert not set(first[run]["indices"]) & set(second[run]["indices"])
        for name, value in first[run]["state"].items():
            assert torch.equal(value, second[run]["state"][name]), (run, name)
    single = train(tmp_path, "unperturbed", 1)
    assert sorted(single["indices"]) == sorted(first["unperturbed"]["indices"] + second["unperturbed"]["indices"])
    for name, value in single["state"].items():
        torch.testing.assert_close(first["unperturbed"]["state"][name], value, atol=2e-5, rtol=1e-3, msg=name)
    assert (tmp_path / "whole2/lifted_gan.safetensors").is_file()
