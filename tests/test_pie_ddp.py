"""Portraits shared out to two processes: none is lost, none is done twice, and each comes out as in one process."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from datamodules.portrait_batches import EmbeddingDataModule
from models.portrait_embedding import load_embeddings
from tests.conftest import ROOT
from tests.test_pie import assert_alike, codes
from tests.tiny_pie import embed, pie, write_pie_networks
from tests.tiny_stylerig import quiet_trainer, use_toy_face

pytestmark = pytest.mark.slow


def test_two_ranks_embed_as_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    use_toy_face(monkeypatch)
    networks = write_pie_networks(tmp_path)
    environment = {key: value for key, value in os.environ.items() if key != "LOCAL_RANK"}
    command = [sys.executable, "-m", "tests.two_rank_pie", str(tmp_path)]
    result = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=300)
    assert result.returncode == 0, result.stderr
    ranks = [torch.load(tmp_path / f"rank{rank}.pt", weights_only=True) for rank in range(2)]
    # A group of two and one of one; both ranks count as many steps, the shorter ones idle at the end.
    assert [rank["failures"] for rank in ranks] == [0, 0] and ranks[0]["steps"] == ranks[1]["steps"] == 7
    embed(tmp_path, pie(networks, tmp_path / "single"))
    assert [each.name for each in load_embeddings(tmp_path / "codes")] == ["sample_0000", "sample_0001", "sample_0002"]
    assert_alike(codes(tmp_path / "codes"), codes(tmp_path / "single"))
    module = pie(networks, tmp_path / "codes")
    (single,) = quiet_trainer(tmp_path, enable_checkpointing=False).test(
        module, EmbeddingDataModule(test_samples=1), verbose=False
    )
    for rank in ranks:
        assert rank["figures"]["test/total"] == pytest.approx(single["test/total"], rel=1e-4)
