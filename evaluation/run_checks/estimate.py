"""From what a trial measured to the whole run: time, memory and disk against what the machine has."""

import os
import shutil
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from pytorch_lightning import LightningModule, Trainer
from pytorch_lightning.callbacks import Callback, ModelCheckpoint, Timer

from evaluation.run_checks.files import nearest_folder
from evaluation.run_checks.report import Check, failed, failed_by
from evaluation.run_checks.schedule import phases_of
from evaluation.run_checks.trial import TrialResult
from evaluation.run_checks.trial_config import Trial
from renderers.errors import InputError

# Share of the free memory above which a run is at the mercy of what else starts on the machine.
_TIGHT = 0.8


def batches_of_run(
    model: LightningModule, trainer: Trainer, batch_size: int | None, result: TrialResult
) -> dict[str, int] | None:
    """Batches of each phase of the run on one process; None for a run whose length nothing tells.

    Args:
        model: What is trained; one that counts images itself has `total_images`.
        trainer: Of the run.
        batch_size: Samples of a batch on one process.
        result: Of the trial, for how Lightning counts the model's steps.
    """
    phases = phases_of(model)
    images = batch_size * trainer.world_size if batch_size else None
    if images is not None and all(phase.images is not None for phase in phases):
        return {phase.name: -(-(phase.images or 0) // images) for phase in phases}
    limits: list[float] = []
    if trainer.max_steps > 0:
        per_batch = result.optimizer_steps if not model.automatic_optimization else 1 / trainer.accumulate_grad_batches
        limits.append(trainer.max_steps / max(per_batch, 1e-9))
    if trainer.max_epochs is not None and trainer.max_epochs > 0 and result.batches is not None:
        # The trial's single process has the batches of all.
        limits.append(trainer.max_epochs * -(-result.batches // trainer.world_size))
    if not limits:
        return None
    left = int(min(limits))
    counts: dict[str, int] = {}
    for phase in phases:
        part = left if phase.images is None or images is None else min(left, -(-phase.images // images))
        counts[phase.name], left = part, left - part
    return counts


def check_time(trial: Trial, result: TrialResult, batches: dict[str, int] | None, trainer: Trainer) -> list[Check]:
    """Seconds of a step, and of the run."""
    named = len(result.seconds) > 1
    parts = ", ".join(f"{_seconds(value)}{f' ({phase})' if named else ''}" for phase, value in result.seconds.items())
    name = "" if trial.name == "run" else f", {trial.name}"
    text = f"{parts} on {result.device}, over {result.steps} steps after warm-up; {_seconds(result.preparation)} before the first"
    checks = [Check(f"time per step{name}", "ok", "; ".join([text, *trial.notes]))]
    if batches is None:
        advice = "nothing tells its length: max_steps, max_epochs or total_images would"
        return [*checks, Check(f"time in all{name}", "note", advice)]
    seconds = sum(count * result.seconds[phase] for phase, count in batches.items())
    callbacks: list[Callback] = trainer.callbacks  # type: ignore[attr-defined]
    left = [callback.time_remaining() for callback in callbacks if isinstance(callback, Timer)]
    limited = [value for value in left if value is not None and value < seconds]
    ranks = (
        f" on each of {trainer.world_size} processes, without their exchange of gradients"
        if trainer.world_size > 1
        else ""
    )
    text = f"about {duration(seconds)} for {sum(batches.values()):,} batches{ranks}; validation and preparation come on top"
    if limited:
        text = f"{duration(min(limited))} by max_time, of {text}"
    return [*checks, Check(f"time in all{name}", "note" if limited else "ok", text)]


def check_fits(trial: Trial, result: TrialResult, trainer: Trainer) -> Check:
    """Time of the fits of faces that come before the first step."""
    seconds = result.seconds_fitted * trial.fit_work / trainer.world_size
    ranks = f" on each of {trainer.world_size} processes" if trainer.world_size > 1 else ""
    text = f"at most about {duration(seconds)}{ranks} for {trial.fits:,} faces, which end early as they converge and stay for later runs"
    return Check("time of fits", "ok", text)


def check_memory(results: Sequence[TrialResult], kept: int, processes: int, free: int | None) -> list[Check]:
    """What the processes of one machine hold at most, against what was free before the trials.

    Args:
        results: Of the trials, which the run goes through one after the other.
        kept: Bytes that the run holds and its trial does not.
        processes: Processes of the run on one machine.
        free: Bytes that were free; None where the system does not say.
    """
    measured = max(result.memory for result in results)
    workers = [result.worker_memory for result in results]
    loading = max((each for each in workers if each is not None), default=0)
    needed = (measured + loading + kept) * processes
    parts = f"{size(measured)} measured" + (f" + {size(loading)} of the processes that load data" if loading else "")
    parts += f" + {size(kept)} of pictures" if kept else ""
    parts += " (without the processes that load data)" if None in workers else ""
    parts = f"({parts}) x {processes} processes = {size(needed)}" if processes > 1 else parts
    checks = [_against("memory", needed, parts, free, "lower --data.batch_size, or free memory")]
    on_devices = [result.device_memory for result in results if result.device_memory is not None]
    if on_devices:
        used, before = max(used for used, _ in on_devices), min(before for _, before in on_devices)
        checks.append(_against("GPU memory", used, f"{size(used)} measured", before, "lower --data.batch_size"))
    return checks


def check_disk(result: TrialResult, trainer: Trainer, run: Path) -> Check:
    """Checkpoints of the run against what is free where they go."""
    kept = 0
    for callback in trainer.checkpoint_callbacks:
        if isinstance(callback, ModelCheckpoint):
            if callback.save_top_k < 0:
                text = (
                    f"every checkpoint is kept (save_top_k -1), {size(result.checkpoint)} each; {size(_free(run))} free"
                )
                return Check("disk", "note", text)
            kept += callback.save_top_k + bool(callback.save_last)
    # A new one is whole before the old one goes.
    needed = (max(kept, 1) + 1) * result.checkpoint
    text = (
        f"{size(needed)} for checkpoints of {size(result.checkpoint)}, {size(_free(run))} free at {nearest_folder(run)}"
    )
    if needed > _free(run):
        return failed(
            "disk", f"{size(needed)} free for checkpoints", f"{size(_free(run))} at {run}", "free space, or --run.root"
        )
    return Check("disk", "ok", text)


def check_ended(trial: Trial, result: TrialResult) -> Check:
    """The line of a trial that did not come to its end."""
    name = "steps" if trial.name == "run" else f"steps, {trial.name}"
    if result.out_of_memory:
        return failed(
            name, "steps that fit in memory", result.error or "no memory", "lower --data.batch_size, or free memory"
        )
    if result.refused:
        return failed_by(name, InputError(result.error or ""))
    return failed(
        name, "steps that run", result.error or "nothing", "mend what it says; `lightning fit` would stop with the same"
    )


def estimate_of(
    trials: Sequence[Trial], results: Sequence[TrialResult], batches: Sequence[dict[str, int] | None]
) -> dict[str, Any]:
    """All measurements as plain JSON values."""
    return {
        trial.name: {**asdict(result), "batches_of_run": count, "kept_bytes": trial.kept_bytes}
        # Fewer where one ended early.
        for trial, result, count in zip(trials, results, batches, strict=False)
    }


def free_memory() -> int | None:
    """Bytes that a new process can have; None where the system does not say."""
    try:
        lines = Path("/proc/meminfo").read_text().splitlines()
        free = next(int(line.split()[1]) * 1024 for line in lines if line.startswith("MemAvailable:"))
        limit = Path("/sys/fs/cgroup/memory.max")
        if limit.is_file() and limit.read_text().strip().isdigit():
            used = int(Path("/sys/fs/cgroup/memory.current").read_text())
            free = min(free, int(limit.read_text()) - used)
        return free
    except (OSError, StopIteration, ValueError):
        if hasattr(os, "sysconf") and "SC_PHYS_PAGES" in os.sysconf_names:
            return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
        return None


def size(count: int) -> str:
    """Bytes as a person reads them."""
    return f"{count / 2**30:.1f} GiB" if count >= 2**30 else f"{count / 2**20:.0f} MiB"


def duration(seconds: float) -> str:
    """Seconds as a person reads them."""
    if seconds < 120:
        return f"{seconds:.0f} s"
    if seconds < 7200:
        return f"{seconds / 60:.0f} min"
    return f"{seconds / 3600:.1f} h" if seconds < 172800 else f"{seconds / 86400:.1f} days"


def _against(name: str, needed: int, parts: str, free: int | None, advice: str) -> Check:
    if free is None:
        return Check(name, "note", f"{parts}; this system does not say how much is free")
    if needed > free:
        return failed(name, f"{size(needed)} ({parts})", f"{size(free)} free", advice)
    status, word = ("note", ", which is tight") if needed > _TIGHT * free else ("ok", "")
    return Check(name, status, f"{parts} of {size(free)} free{word}")  # type: ignore[arg-type]


def _free(path: Path) -> int:
    return shutil.disk_usage(nearest_folder(path)).free


def _seconds(value: float) -> str:
    return f"{value:.2f} s" if value < 10 else duration(value)
