"""A UV generator trained by two processes: `python -m tests.two_rank_stylefaceuv FOLDER` writes the states of each to FOLDER/rank{0,1}.pt.
FOLDER holds the networks of `tests.tiny_stylefaceuv`.

A program of its own, because Lightning starts the second process with the words of the first.
"""

import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from pytorch_lightning import Callback, LightningModule, Trainer

from datamodules.latent_pairs import LatentPairDataModule, LatentPairs
from lightning_modules.stylefaceuv import StyleFaceUV
from lightning_modules.stylefaceuv_settings import UVSettings
from tests.tiny_stylerig import quiet_trainer, use_toy_face

# Pairs of a step of all ranks together.
BATCH = 2

RUNS = {
    # Both optimizers, R1 in every other step of the discriminator, and more than one backward pass for a step.
    "adversarial": UVSettings(perceptual=0.0, generator_steps=2, r1_interval=2, parts=2),
    "reconstruction": UVSettings(perceptual=0.0, adversarial=0.0),
}


class Indices(Callback):
    """Pairs that a rank is trained on."""

    def __init__(self) -> None:
        self.seen: list[int] = []

    def on_train_batch_start(
        self, trainer: Trainer, pl_module: LightningModule, batch: LatentPairs, batch_idx: int
    ) -> None:
        self.seen += batch.indices.tolist()


def train(folder: Path, run: str, devices: int) -> dict[str, Any]:
    """Train four steps and measure.

    Args:
        folder: Of the networks; the run writes to its folder `run` and the number of devices.
        run: One of `RUNS`.
        devices: Processes, which share the batch.

    Returns:
        What this rank counted and saw, and the state that it ended with.
    """
    torch.manual_seed(0)
    names = {"generator": "generator", "coefficients": "coefficients", "step_size": "mirroring"}
    files = {name: str(folder / f"{file}.safetensors") for name, file in names.items()}
    model = StyleFaceUV(**files, settings=RUNS[run], total_images=8 * BATCH)
    indices = Indices()
    trainer = quiet_trainer(
        folder / f"{run}{devices}",
        devices=devices,
        strategy="ddp_find_unused_parameters_true" if devices > 1 else "auto",
        enable_checkpointing=False,
        check_val_every_n_epoch=None,
        val_check_interval=4,
        callbacks=[indices],
    )
    data = LatentPairDataModule(BATCH // devices, 100, validation_pairs=3, test_pairs=2, max_latents=1)
    trainer.fit(model, datamodule=data)
    state = {name: value.clone() for name, value in model.state_dict().items()}
    return {"images_seen": int(model.images_seen), "steps": int(model.steps), "indices": indices.seen, "state": state}


def main(folder: Path) -> None:
    """Train with and without a discriminator by two processes."""
    torch.set_num_threads(1)
    with pytest.MonkeyPatch.context() as patch:
        use_toy_face(patch)
        results = {run: train(folder, run, 2) for run in RUNS}
    rank = torch.distributed.get_rank()
    torch.save(results, folder / f"rank{rank}.pt")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
