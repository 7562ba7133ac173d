"""StyleRig and its face reconstruction trained by two processes: `python -m tests.two_rank_stylerig FOLDER` writes what each of them
did to FOLDER/rank{0,1}.pt. FOLDER holds the networks of `tests.tiny_stylerig`.

A program of its own, because Lightning starts the second process with the words of the first.
"""

import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from pytorch_lightning import Callback, LightningModule, Trainer
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from datamodules.latent_pairs import LatentPairDataModule, LatentPairs
from evaluation.stylerig.measuring import StyleRigEdits
from lightning_modules.face_reconstruction import DifferentiableFaceReconstruction, FaceReconstructionSettings
from lightning_modules.stylerig import StyleRig, StyleRigSettings
from models.stylerig import FaceReconstruction, RigNet
from tests.tiny_stylerig import quiet_trainer, use_toy_face

# Pairs of a step of all ranks together. Those of validation and test are odd in number: one rank has one more.
BATCH, VALIDATION, TEST = 4, 5, 7


class Record(Callback):
    """What a rank sees and does."""

    def __init__(self) -> None:
        self.train: list[list[int]] = []
        self.measured: list[int] = []
        self.gradients: list[dict[str, Tensor]] = []
        self.losses: list[float] = []
        self.broadcast: list[str] | None = None

    def on_train_batch_start(self, trainer: Trainer, pl_module: LightningModule, batch: LatentPairs, batch_idx: int) -> None:
        self.train.append(batch.indices.tolist())

    def on_before_optimizer_step(self, trainer: Trainer, pl_module: LightningModule, optimizer: Any) -> None:
        named = pl_module.named_parameters()
        self.gradients.append({name: p.grad.clone() for name, p in named if p.grad is not None})

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: LatentPairs, batch_idx: int
    ) -> None:
        self.losses.append(float(trainer.callback_metrics["train/loss"]))
        if isinstance(trainer.strategy.model, DistributedDataParallel):
            self.broadcast = sorted(trainer.strategy.model.named_module_buffers)

    def on_test_batch_start(
        self, trainer: Trainer, pl_module: LightningModule, batch: LatentPairs, batch_idx: int, dataloader_idx: int = 0
    ) -> None:
        self.measured += batch.indices.tolist()


def train(folder: Path, kind: str, devices: int) -> dict[str, Any]:
    """Train two steps and measure.

    Args:
        folder: Of the networks; the run writes to its folder `kind` and the number of devices.
        kind: "rignet" or "face_reconstruction".
        devices: Processes, which share the batch.

    Returns:
        What this rank saw, the gradients and the weights that it ended with, and the figures measured.
    """
    torch.manual_seed(0)
    files = {"generator": str(folder / "generator.safetensors"), "landmarker": str(folder / "landmarks.safetensors")}
    if kind == "rignet":
        module: LightningModule = StyleRig(
            **files, face_reconstruction=str(folder / "f.safetensors"), settings=StyleRigSettings(statistics_pairs=20)
        )
        # From zeros, the first step would reach the decoder alone.
        nn.init.normal_(module.rignet.decoder_weight, std=0.1)
    else:
        settings = FaceReconstructionSettings(hidden=16, landmark_steps=0)
        module = DifferentiableFaceReconstruction(**files, settings=settings)
    data = LatentPairDataModule(BATCH // devices, 3 * BATCH, VALIDATION, TEST)
    record = Record()
    trainer = quiet_trainer(
        folder / f"{kind}{devices}",
        max_steps=2,
        devices=devices,
        strategy="ddp" if devices > 1 else "auto",
        enable_checkpointing=False,
        limit_val_batches=0,
        log_every_n_steps=1,
        callbacks=[record, *([StyleRigEdits()] if kind == "rignet" else [])],
    )
    trainer.fit(module, data)
    weights = {name: parameter.detach().clone() for name, parameter in module.named_parameters() if parameter.requires_grad}
    figures = trainer.test(module, data, verbose=False)[0]
    return {
        "train": record.train,
        "measured": record.measured,
        "gradients": record.gradients,
        "losses": record.losses,
        "broadcast": record.broadcast,
        "weights": weights,
        "figures": figures,
    }


def main(folder: Path) -> None:
    """Train both networks by two processes."""
    torch.set_num_threads(1)
    with pytest.MonkeyPatch.context() as patch:
        use_toy_face(patch)
        written: list[str] = []
        for network in (RigNet, FaceReconstruction):

            def save(self: Any, path: str | Path, *others: Any, original: Any = network.save) -> Path:
                written.append(Path(path).name)
                return original(self, path, *others)

            patch.setattr(network, "save", save)
        results = {kind: train(folder, kind, 2) for kind in ("rignet", "face_reconstruction")}
    rank = torch.distributed.get_rank()
    torch.save({**results, "written": written}, folder / f"rank{rank}.pt")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
