"""A few real steps of a run, in a folder of their own: how long they take and how much memory they need."""

import multiprocessing
import resource
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from pytorch_lightning import Callback, LightningModule, Trainer

from datamodules.fitted_faces import FittedFacesDataModule
from evaluation.run_checks.schedule import MeasuredStep, steps_of
from lightning_modules.pie.module import PIE


@dataclass
class TrialResult:
    """What a trial measured.

    Attributes:
        seconds: Mean seconds of a step in each phase.
        steps: Steps measured, without warm-up.
        preparation: Seconds from the start of the fit to its first step.
        optimizer_steps: Steps that Lightning counts per batch: more than one where optimizers take turns.
        seconds_fitted: That fitting faces took before the first step, as far as the run does so.
        batches: Training batches of a pass; None for a data set without length.
        memory: Bytes that the process held at most.
        worker_memory: Bytes that the processes which load data held beside it, after the last step; None where the system does not say.
        device: Name of the device.
        device_memory: Bytes reserved on a GPU at most, and what was free there before; None on a CPU.
        checkpoint: Bytes of a checkpoint.
        error: Why the trial ended early, or None.
        refused: Whether that was input that cannot be used.
        out_of_memory: Whether that was for lack of memory.
    """

    seconds: dict[str, float] = field(default_factory=dict)
    steps: int = 0
    preparation: float = 0.0
    optimizer_steps: float = 1.0
    seconds_fitted: float = 0.0
    batches: int | None = None
    memory: int = 0
    worker_memory: int | None = 0
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
        self._counted = 0
        self._weighed_steps = 0.0
        self._device = torch.device("cpu")
        self._free = 0

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Choose the steps, and count the device's memory from here."""
        self._schedule = steps_of(pl_module, self._steps, trainer.accumulate_grad_batches)
        self._device = trainer.strategy.root_device
        if self._device.type == "cuda":
            # What an earlier trial left is the next one's to use.
            torch.cuda.empty_cache()
            torch.cuda.reset_peak_memory_stats(self._device)
            self._free = torch.cuda.mem_get_info(self._device)[0] + torch.cuda.memory_reserved(self._device)

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
            self._weighed_steps += step.weight * (trainer.global_step - self._counted)
            self._totals[step.phase] = (total + step.weight * (now - self._last), weight + step.weight)
            self.result.steps += step.weight > 0
        self._done += 1
        self._last, self._counted = now, trainer.global_step
        if self._done >= len(self._schedule):
            self.result.worker_memory = _memory_of_workers()
            trainer.should_stop = True

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Add up, and write a checkpoint for its size."""
        result = self.result
        result.seconds = {phase: total / weight for phase, (total, weight) in self._totals.items() if weight}
        weights = sum(weight for _, weight in self._totals.values())
        result.optimizer_steps = self._weighed_steps / weights if weights else 1.0
        data = getattr(trainer, "datamodule", None)
        result.seconds_fitted = data.seconds_fitted if isinstance(data, FittedFacesDataModule) else 0.0
        device = pl_module.device
        result.device = torch.cuda.get_device_name(device) if device.type == "cuda" else device.type
        trainer.save_checkpoint(self._checkpoint)
        result.checkpoint = self._checkpoint.stat().st_size
        self._checkpoint.unlink()

    def teardown(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """A trial ends before its portraits are embedded: that is no failure of the run."""
        if isinstance(pl_module, PIE):
            pl_module.failures = 0

    def finish(self) -> TrialResult:
        """The result, with the most memory that was held until now; a trial that ended before its last step has an error."""
        if self.result.error is None and not 0 < len(self._schedule) <= self._done:
            self.result.refused = True
            self.result.error = (
                f"expected a run that can be measured for {max(len(self._schedule), 1)} batches, it ended by itself after {self._done}; "
                "look at --trainer.limit_train_batches and at the length that the model sets itself, or lower --steps"
            )
        # Kibibytes on Linux, bytes on macOS.
        scale = 1 if sys.platform == "darwin" else 1024
        self.result.memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * scale
        if self._device.type == "cuda":
            self.result.device_memory = (torch.cuda.max_memory_reserved(self._device), self._free)
        return self.result


def _wait_for(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def _memory_of_workers() -> int | None:
    """Bytes that this process's children hold for themselves; what they share with it is counted there."""
    total = 0
    for child in multiprocessing.active_children():
        try:
            lines = Path(f"/proc/{child.pid}/smaps_rollup").read_text().splitlines()
        except FileNotFoundError:
            return None  # not Linux, or one that ended just now
        total += sum(int(line.split()[1]) * 1024 for line in lines if line.startswith("Private_"))
    return total
