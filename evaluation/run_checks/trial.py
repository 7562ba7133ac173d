"""A few real steps of a run, in a folder of their own: how long they take and how much memory they need."""

import resource
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from pytorch_lightning import Callback, LightningModule, Trainer

from evaluation.run_checks.schedule import MeasuredStep, steps_of


@dataclass
class TrialResult:
    """What a trial measured.

    Attributes:
        seconds: Mean seconds of a step in each phase.
        steps: Steps measured, without warm-up.
        preparation: Seconds from the start of the fit to its first step.
        optimizer_steps: Steps that Lightning counts per batch: more than one where optimizers take turns.
        batches: Training batches of a pass; None for a data set without length.
        memory: Bytes that the process held at most.
        device: Name of the device.
        device_memory: Bytes allocated on a GPU at most, and its size; None on a CPU.
        checkpoint: Bytes of a checkpoint.
        error: Why the trial ended early, or None.
        refused: Whether that was input that cannot be used.
        out_of_memory: Whether that was for lack of memory.
    """

    seconds: dict[str, float] = field(default_factory=dict)
    steps: int = 0
    preparation: float = 0.0
    optimizer_steps: float = 1.0
    batches: int | None = None
    memory: int = 0
    device: str = "cpu"
    device_memory: tuple[int, int] | None = None
    checkpoint: int = 0
    error: str | None = None
    refused: bool = False
    out_of_memory: bool = False


class TrialClock(Callback):
    """Times the steps of a trial and ends it.

    Args:
        steps: Ordinary steps measured in each phase, after one that is not.
        checkpoint: File that a checkpoint is written to for its size, and removed from.
    """

    def __init__(self, steps: int, checkpoint: Path) -> None:
        self.result = TrialResult()
        self._steps = steps
        self._checkpoint = checkpoint
        self._schedule: list[MeasuredStep] = []
        self._done = 0
        self._started = self._last = time.monotonic()
        self._totals: dict[str, tuple[float, float]] = {}

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Choose the steps, and count the device's memory from here."""
        self._schedule = steps_of(pl_module, self._steps)
        device = trainer.strategy.root_device
        if device.type == "cuda":
            torch.cuda.reset_peak_memory_stats(device)

    def on_train_batch_start(self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int) -> None:
        """Bring the model into the state of the step."""
        if self._done == 0:
            self.result.preparation = time.monotonic() - self._started
            batches = trainer.num_training_batches
            self.result.batches = int(batches) if batches != float("inf") else None
        if self._done < len(self._schedule):
            self._schedule[self._done].prepare()

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Count the time since the last step ended: fetching the batch is a part of it."""
        _wait_for(pl_module.device)
        now = time.monotonic()
        if self._done < len(self._schedule):
            step = self._schedule[self._done]
            total, weight = self._totals.get(step.phase, (0.0, 0.0))
            self._totals[step.phase] = (total + step.weight * (now - self._last), weight + step.weight)
            self.result.steps += step.weight > 0
        self._done += 1
        self._last = now
        if self._done >= len(self._schedule):
            trainer.should_stop = True

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Add up, and write a checkpoint for its size."""
        result = self.result
        result.seconds = {phase: total / weight for phase, (total, weight) in self._totals.items() if weight}
        result.optimizer_steps = trainer.global_step / max(self._done, 1)
        device = pl_module.device
        result.device = torch.cuda.get_device_name(device) if device.type == "cuda" else device.type
        trainer.save_checkpoint(self._checkpoint)
        result.checkpoint = self._checkpoint.stat().st_size
        self._checkpoint.unlink()

    def finish(self) -> TrialResult:
        """The result, with the most memory that was held until now."""
        # Kibibytes on Linux, bytes on macOS.
        scale = 1 if sys.platform == "darwin" else 1024
        self.result.memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * scale
        if torch.cuda.is_available() and torch.cuda.is_initialized():
            self.result.device_memory = (torch.cuda.max_memory_reserved(), torch.cuda.mem_get_info()[1])
        return self.result


def _wait_for(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)
