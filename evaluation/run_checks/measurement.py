"""The trials of a run, and the lines that follow from what they measured."""

import signal
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import yaml
from pytorch_lightning import LightningModule, Trainer

from evaluation.run_checks import estimate
from evaluation.run_checks.isolation import ProcessEnded, call_in_process
from evaluation.run_checks.report import Check
from evaluation.run_checks.schedule import WHOLE_RUN
from evaluation.run_checks.trial import TrialResult
from evaluation.run_checks.trial_config import Trial

# Runs the trials of some configuration files: files, ordinary steps of each phase, and a place for a checkpoint.
TrialRunner = Callable[[list[str], int, str], list[TrialResult]]


def measure(
    trials: Sequence[Trial],
    run_trials: TrialRunner,
    steps: int,
    folder: Path,
    model: LightningModule,
    trainer: Trainer,
    batch_size: int | None,
    run_folder: Path,
) -> tuple[list[Check], dict[str, Any]]:
    """Run trials in a process of their own.

    Args:
        trials: The trials, that of the run itself last.
        run_trials: Runs them; at the top of a module.
        steps: Ordinary steps to measure in each phase.
        folder: All that is written goes there.
        model, trainer: Of the run.
        batch_size: Samples of a batch on one process, where that is known.
        run_folder: Where the run will write.

    Returns:
        The lines, and the figures as plain JSON values.
    """
    paths = [str(folder / f"trial-{number}.yaml") for number, _ in enumerate(trials)]
    for path, trial in zip(paths, trials, strict=True):
        Path(path).write_text(yaml.safe_dump(trial.config))
    free = estimate.free_memory()
    try:
        results = call_in_process(run_trials, paths, steps, str(folder / "trial.ckpt"), log=folder / "log.txt")
    except ProcessEnded as end:
        killed = end.code == -signal.SIGKILL
        reason = "killed by the system, as it does for lack of memory" if killed else str(end)
        results = [TrialResult(error=reason, out_of_memory=killed)]
    checks: list[Check] = []
    batches: list[dict[str, int] | None] = []
    for trial, result in zip(trials, results, strict=False):
        if result.error is not None:
            return [*checks, estimate.check_ended(trial, result)], estimate.estimate_of(trials, results, batches)
        if trial.samples is not None and batch_size:
            result = replace(result, batches=-(-trial.samples // batch_size))
        own = None if trial.batches is None else {WHOLE_RUN: trial.batches}
        batches.append(own or estimate.batches_of_run(model, trainer, batch_size, result))
        checks += estimate.check_time(trial, result, batches[-1], trainer)
        if trial.fits:
            checks.append(estimate.check_fits(trial, result, trainer))
    checks += estimate.check_memory(results, trials[-1].kept_bytes, trainer.num_devices, free)
    checks.append(estimate.check_disk(results[-1], trainer, run_folder))
    return checks, estimate.estimate_of(trials, results, batches)
