"""Portraits embedded by two processes: `python -m tests.two_rank_pie FOLDER` embeds three samples into FOLDER/codes.

FOLDER holds the networks of `tests.tiny_pie`. A program of its own, because Lightning starts the second process with the words of the
first.
"""

import sys
from pathlib import Path

import pytest
import torch

from datamodules.portrait_batches import EmbeddingDataModule
from tests.tiny_pie import pie
from tests.tiny_stylerig import quiet_trainer, use_toy_face

ROLES = ("generator", "landmarker", "rig", "face_encoder", "embedder")


def main(folder: Path) -> None:
    """Embed, the third portrait by the rank that has the time for it."""
    torch.set_num_threads(1)
    files = {"landmarker": "landmarks", "embedder": "identity"}
    networks = {role: str(folder / f"{files.get(role, role)}.safetensors") for role in ROLES}
    with pytest.MonkeyPatch.context() as patch:
        use_toy_face(patch)
        module = pie(networks, folder / "codes")
        trainer = quiet_trainer(folder, max_epochs=1, enable_checkpointing=False, devices=2, strategy="ddp")
        trainer.fit(module, EmbeddingDataModule(samples=3, batch_size=8))
        data = EmbeddingDataModule(test_samples=1)
        figures = trainer.test(module, data, verbose=False)[0]
    torch.save(
        {"steps": trainer.global_step, "failures": module.failures, "figures": figures},
        folder / f"rank{trainer.global_rank}.pt",
    )


if __name__ == "__main__":
    main(Path(sys.argv[1]))
