"""A lifted generator trained by two processes: `python -m tests.two_rank_lifted_gan FOLDER` writes the states of each to
FOLDER/rank{0,1}.pt. FOLDER holds the networks of `tests.tiny_lifted_gan`.

A program of its own, because Lightning starts the second process with the words of the first.
"""

import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from pytorch_lightning import Callback, LightningModule, Trainer

from datamodules.latent_pairs import LatentPairs
from lightning_modules.lifted_gan_settings import LiftedTraining
from tests.tiny_lifted_gan import PLAIN, TRAINING, lifted_module, tiny_pairs
from tests.tiny_stylerig import quiet_trainer

# Pairs of a step of all ranks together.
BATCH = 2
# Steps of a run.
STEPS = 3

RUNS: dict[str, LiftedTraining] = {
    # All terms, in two backward passes for a step.
    "whole": TRAINING,
    # Without lights that change places within a rank's batch, ranks are as one process; the albedo's weight makes its norm matter.
    "unperturbed": replace(PLAIN, perturbation=0.0, albedo=1.0),
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
    """Train and measure.

    Args:
        folder: Of the networks; the run writes to its folder `run` and the number of devices.
        run: One of `RUNS`.
        devices: Processes, which share the batch.

    Returns:
        What this rank counted and saw, and the state that it ended with.
    """
    files = {name: str(folder / f"{name}.safetensors") for name in ("generator", "embedder")}
    model = lifted_module(files, RUNS[run])
    indices = Indices()
    trainer = quiet_trainer(
        folder / f"{run}{devices}",
        devices=devices,
        strategy="ddp_find_unused_parameters_true" if devices > 1 else "auto",
        enable_checkpointing=False,
        check_val_every_n_epoch=None,
        val_check_interval=STEPS,
        max_steps=STEPS,
        callbacks=[indices],
    )
    trainer.fit(model, datamodule=tiny_pairs(batch_size=BATCH // devices, validation_pairs=3))
    state = {name: value.clone() for name, value in model.state_dict().items()}
    return {"images_seen": int(model.images_seen), "steps": int(model.steps), "indices": indices.seen, "state": state}


def main(folder: Path) -> None:
    """Train by two processes."""
    torch.set_num_threads(1)
    results = {run: train(folder, run, 2) for run in RUNS}
    rank = torch.distributed.get_rank()
    torch.save(results, folder / f"rank{rank}.pt")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
