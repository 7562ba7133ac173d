"""Align a folder of photos: in batches, in several processes, and again only what is not done."""

import multiprocessing
import os
import threading
from collections import deque
from collections.abc import Callable
from concurrent.futures import FIRST_COMPLETED, BrokenExecutor, Future, ProcessPoolExecutor, wait
from functools import cache, partial
from multiprocessing.connection import wait as wait_for
from pathlib import Path

import torch

from datamodules.photos.aligner import Aligner, AlignSettings, Outcome, Task
from datamodules.photos.leftovers import remove_renamed, remove_unfinished
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
    notice: Callable[[str], None] = lambda text: None,
) -> list[Outcome]:
    """Align photos into a folder.

    Written per photo: ``NAME_0.png``, ``NAME_1.png``, ... of the largest face first, then ``NAME.faces.json``, its `PhotoRecord`.
    Photos whose record has the same content and settings are left as they are, so an interrupted run continues. Crops
    that an earlier run wrote of the same photo under another name are removed.

    Args:
        photos: by name, as `list_photos` gives them.
        source: the file or folder they are from.
        output: folder of crops and records.
        settings: of the crops.
        batch_size: photos that are looked at together.
        processes: that work side by side, each with its own networks.
        device: of the networks, for instance ``cpu`` or ``cuda``.
        report: called in this process with every outcome, as soon as it is known.
        notice: called with a line on what else should be known: a process that died, crops of other names in `output`.

    Returns: outcomes, in the order of `photos`.

    Raises: `InputError` for values out of range, or a landmark network that cannot be read.
    """
    if batch_size < 1 or processes < 1:
        raise InputError(
            f"expected at least one photo per batch and one process, got {batch_size} and {processes}; raise them"
        )
    root = source.parent if source.is_file() else source
    tasks = [Task(name, path, path.relative_to(root).as_posix()) for name, path in photos.items()]
    remove_unfinished(output)
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
        _align_in_processes(settings, output, device, tasks, batch_size, processes, done, notice)
    removed, strange = remove_renamed(output, {task.name: task.photo for task in tasks})
    for name in removed:
        notice(f"{name}: crops removed, since their photo has another name now and its crops are written under that")
    if strange:
        examples = ", ".join(strange[:3]) + (", ..." if len(strange) > 3 else "")
        notice(
            f"{len(strange)} records in {output} are of no photo of this run ({examples}); remove what is not wanted"
        )
    return [outcomes[task.name] for task in tasks]


def _chunks(tasks: list[Task], size: int) -> list[list[Task]]:
    return [tasks[start : start + size] for start in range(0, len(tasks), size)]


def _align_in_processes(
    settings: AlignSettings,
    output: Path,
    device: str,
    tasks: list[Task],
    batch_size: int,
    processes: int,
    done: Callable[[Outcome], None],
    notice: Callable[[str], None],
) -> None:
    """Align in processes. The one photo that kills its process becomes an outcome; the others are done all the same."""
    align = partial(_align_chunk, settings, output, device)
    waiting, suspects = deque(_chunks(tasks, batch_size)), deque[list[Task]]()
    while waiting:
        dropped = _run_pool(align, waiting, processes, done)
        if dropped:
            photos = [[task] for chunk in dropped for task in chunk]
            notice(f"a process died with {len(photos)} photos in hand; they are tried one by one after the others")
            suspects.extend(photos)
    # One photo at a time: the one that kills the process is then known.
    while suspects:
        for (task,) in _run_pool(align, suspects, 1, done):
            done(Outcome(task.name, task.photo, 0, "the process that read it died, perhaps for want of memory"))


def _run_pool(
    align: Callable[[list[Task]], list[Outcome]],
    waiting: deque[list[Task]],
    processes: int,
    done: Callable[[Outcome], None],
) -> list[list[Task]]:
    """Align chunks until none is waiting or a process has died; returns the chunks that were in hand then."""
    # Spawned, not forked: torch's thread pools do not survive a fork.
    context = multiprocessing.get_context("spawn")
    count = min(processes, len(waiting))
    in_hand: dict[Future[list[Outcome]], list[Task]] = {}
    with ProcessPoolExecutor(count, context, initializer=_start_process) as pool:
        try:
            while waiting or in_hand:
                # No more than there are processes, so that a death leaves few chunks in doubt.
                while waiting and len(in_hand) < count:
                    future = pool.submit(align, waiting[0])
                    in_hand[future] = waiting.popleft()
                for future in wait(in_hand, return_when=FIRST_COMPLETED).done:
                    outcomes = future.result()
                    del in_hand[future]
                    for outcome in outcomes:
                        done(outcome)
        except BrokenExecutor:
            return _undone(in_hand, done)
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise
    return []


def _undone(in_hand: dict[Future[list[Outcome]], list[Task]], done: Callable[[Outcome], None]) -> list[list[Task]]:
    """Chunks without a result, after those that came in together with the death of another's process are reported."""
    undone = []
    for future, chunk in in_hand.items():
        if future.done() and future.exception() is None:
            for outcome in future.result():
                done(outcome)
        else:
            undone.append(chunk)
    return undone


def _start_process() -> None:
    """One thread for torch, and one that ends the process with its parent: a killed parent cannot tell its pool to stop."""
    torch.set_num_threads(1)
    threading.Thread(target=_exit_with_parent, daemon=True).start()


def _exit_with_parent() -> None:
    parent = multiprocessing.parent_process()
    assert parent is not None  # only ever called in a pool's process
    wait_for([parent.sentinel])
    os._exit(1)
