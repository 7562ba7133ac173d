"""Callbacks that every run gets: progress for logs that are no terminal, and a random stream for each rank."""

import os
import random
import time
from typing import Any

import numpy as np
import torch
from pytorch_lightning import Callback, LightningModule, Trainer
from pytorch_lightning.callbacks import ProgressBar

from renderers.errors import InputError

_LARGEST_SEED = 2**32 - 1


class LineProgress(ProgressBar):
    """Progress as plain lines at most every `interval` seconds, for output that goes into a file or a pipe."""

    def __init__(self, interval: float = 10.0) -> None:
        super().__init__()
        self.interval = interval
        self._started = self._printed = 0.0
        self._first_step = 0
        self._enabled = True

    def disable(self) -> None:
        """Print nothing; Lightning calls this on every rank but the first."""
        self._enabled = False

    def enable(self) -> None:
        """Print again."""
        self._enabled = True

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Start the clock."""
        self._started = self._printed = time.monotonic()
        self._first_step = trainer.global_step

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Print a line when one is due."""
        now = time.monotonic()
        if self._enabled and now - self._printed >= self.interval:
            self._printed = now
            self._print(trainer, pl_module)

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Print where the training ended."""
        if self._enabled:
            self._print(trainer, pl_module)

    def _print(self, trainer: Trainer, pl_module: LightningModule) -> None:
        total = f"/{trainer.max_steps}" if trainer.max_steps > 0 else ""
        speed = (trainer.global_step - self._first_step) / max(time.monotonic() - self._started, 1e-9)
        metrics = {key: value for key, value in self.get_metrics(trainer, pl_module).items() if key != "v_num"}
        values = " ".join(
            f"{key}={value:.4g}" if isinstance(value, float) else f"{key}={value}" for key, value in metrics.items()
        )
        print(
            f"epoch {trainer.current_epoch} step {trainer.global_step}{total} {speed:.2f} steps/s {values}".rstrip(),
            flush=True,
        )


class RankSeed(Callback):
    """Gives each rank its own random stream.

    `seed_everything` gives all ranks the same one, so that noise and augmentation would repeat on every rank. Data
    do not depend on it: they are drawn by sample index.
    """

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Seed this rank by the run's seed and its own number; a single process keeps its stream."""
        seed = os.environ.get("PL_GLOBAL_SEED")
        if trainer.world_size > 1 and seed is not None:
            own = rank_seed(int(seed), trainer.global_rank)
            random.seed(own)
            np.random.seed(own)  # noqa: NPY002 - libraries draw from the legacy stream
            torch.manual_seed(own)


def check_seed(seed: int, option: str = "seed") -> int:
    """A seed that all generators of random numbers take: NumPy's has 32 bits and no sign.

    Raises:
        InputError: for another number; `option` says where it was given.
    """
    if not 0 <= seed <= _LARGEST_SEED:
        raise InputError(f"{option}: expected a seed from 0 to {_LARGEST_SEED}, got {seed}; choose one of these")
    return seed


def rank_seed(seed: int, rank: int, *counts: int) -> int:
    """Seed of one rank, and of one step where counts are given: 32 bits, all that the CPU's generator reads of a seed.

    Hashed, as seed + rank would let neighbouring seeds share streams.

    Raises:
        InputError: for a seed that `check_seed` refuses.
    """
    check_seed(seed)
    return int(np.random.SeedSequence([seed, rank, *counts]).generate_state(1)[0])
