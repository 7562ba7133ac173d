"""Align a folder of photos: in batches, in several processes, and again only what is not done."""

import multiprocessing
from collections.abc import Callable
from concurrent.futures import BrokenExecutor, ProcessPoolExecutor, as_completed
from functools import cache
from pathlib import Path

import torch

from datamodules.photos.aligner import Aligner, AlignSettings, Outcome, Task
from renderers.errors import InputError


@cache
def _process_aligner(settings: AlignSettings, output: Path, device: str) -> Aligner:
    """One per process: reading the networks takes a second."""
    return Aligner(settings, output, device)


def _align_chunk(settings: AlignSettings, output: Path, device: str, tasks: list[Task]) -> list[Outcome]:
    return list(_process_aligner(settings, output, device).align(tasks))


def align_photos(
    photos: dict[str, Path],
    source: Path,
    output: Path,
    settings: AlignSettings = AlignSettings(),
    batch_size: int = 8,
    processes: int = 1,
    device: str = "cpu",
    report: Callable[[Outcome], None] = lambda outcome: None,
) -> list[Outcome]:
    """Align photos into a folder.

    Written per photo: ``NAME_0.png``, ``NAME_1.png``, ... of the largest face first, then ``NAME.faces.json``, its `PhotoRecord`.
    Photos whose record has the same content and settings are left as they are, so an interrupted run continues.

    Args:
        photos: by name, as `list_photos` gives them.
        source: the file or folder they are from.
        output: folder of crops and records.
        settings: of the crops.
        batch_size: photos that are looked at together.
        processes: that work side by side, each with its own networks.
        device: of the networks, for instance ``cpu`` or ``cuda``.
        report: called in this process with every outcome, as soon as it is known.

    Returns: outcomes, in the order of `photos`.

    Raises: `InputError` for values out of range, or a landmark network that cannot be read.
    """
    if batch_size < 1 or processes < 1:
        raise InputError(
            f"expected at least one photo per batch and one process, got {batch_size} and {processes}; raise them"
        )
    root = source.parent if source.is_file() else source
    tasks = [Task(name, path, path.relative_to(root).as_posix()) for name, path in photos.items()]
    for leftover in output.rglob(".*.part"):
        leftover.unlink(missing_ok=True)
    outcomes: dict[str, Outcome] = {}

    def done(outcome: Outcome) -> None:
        outcomes[outcome.name] = outcome
        report(outcome)

    if processes == 1:
        aligner = Aligner(settings, output, device)
        for chunk in _chunks(tasks, batch_size):
            for outcome in aligner.align(chunk):
                done(outcome)
    else:
        settings.described()  # a network that is missing is an error here, before any process starts
        _align_in_processes(settings, output, device, _chunks(tasks, batch_size), processes, done)
        # What a dying process had in hand, one photo at a time: the one that kills it is then known.
        for task in tasks:
            if task.name not in outcomes:
                _align_in_processes(settings, output, device, [[task]], 1, done)
                if task.name not in outcomes:
                    done(Outcome(task.name, task.photo, 0, "the process that read it died, perhaps for want of memory"))
    return [outcomes[task.name] for task in tasks]


def _chunks(tasks: list[Task], size: int) -> list[list[Task]]:
    return [tasks[start : start + size] for start in range(0, len(tasks), size)]


def _align_in_processes(
    settings: AlignSettings,
    output: Path,
    device: str,
    chunks: list[list[Task]],
    processes: int,
    done: Callable[[Outcome], None],
) -> None:
    """Align in processes; after one of them has died, some chunks are left undone."""
    # Spawned, not forked: torch's thread pools do not survive a fork.
    context = multiprocessing.get_context("spawn")
    count = min(processes, len(chunks))
    with ProcessPoolExecutor(count, context, initializer=torch.set_num_threads, initargs=(1,)) as pool:
        try:
            futures = [pool.submit(_align_chunk, settings, output, device, chunk) for chunk in chunks]
            for future in as_completed(futures):
                for outcome in future.result():
                    done(outcome)
        except BrokenExecutor:
            return
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise
