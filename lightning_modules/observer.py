"""What training the three observers has in common: optimiser, schedule, and the weights file at the end."""

import math
from pathlib import Path
from typing import ClassVar

import torch
from pytorch_lightning import LightningModule
from pytorch_lightning.utilities import rank_zero_info
from pytorch_lightning.utilities.types import OptimizerLRScheduler

from lightning_modules.run_folder import folder_of
from models.observers import IdentityNet, Judge, LandmarkNet, save_observer
from renderers.errors import InputError


class ObserverModule(LightningModule):
    """AdamW under one cycle (Smith and Topin 2018) over the whole run; weights written when it ends.

    Args:
        network: what is trained.
        learning_rate: peak of the cycle.
        weight_decay: of convolution and matrix weights; biases and normalisations have none.
        warmup: fraction of the run in which the learning rate rises.
        output: file that the trained weights go to; null for `weights_name` in the run's folder.
    """

    weights_name: ClassVar[str]

    def __init__(
        self,
        network: LandmarkNet | IdentityNet | Judge,
        learning_rate: float,
        weight_decay: float,
        warmup: float,
        output: str | None,
    ) -> None:
        super().__init__()
        self.network = network
        self.learning_rate = learning_rate
        self.weight_decay = weight_decay
        self.warmup = warmup
        self.output = output

    def configure_optimizers(self) -> OptimizerLRScheduler:
        matrices = [p for p in self.parameters() if p.requires_grad and p.ndim > 1]
        vectors = [p for p in self.parameters() if p.requires_grad and p.ndim <= 1]
        steps = self.trainer.estimated_stepping_batches
        if not math.isfinite(steps):
            raise InputError(
                "expected a run of a known length for the cycle of the learning rate, got none; set max_steps or max_epochs"
            )
        optimizer = torch.optim.AdamW(
            [
                {"params": matrices, "weight_decay": self.weight_decay},
                {"params": vectors, "weight_decay": 0.0},
            ],
            lr=self.learning_rate,
        )
        schedule = torch.optim.lr_scheduler.OneCycleLR(
            optimizer,
            max_lr=self.learning_rate,
            total_steps=int(steps),
            pct_start=self.warmup,
            cycle_momentum=False,
        )
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}

    def on_fit_end(self) -> None:
        if self.trainer.is_global_zero:
            path = Path(self.output) if self.output else folder_of(self.trainer) / self.weights_name
            rank_zero_info(f"weights written to {save_observer(path, self.network)}")
