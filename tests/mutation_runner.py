"""Puts damaged files through their readers, in processes of their own with little memory and time.

A reader may take a damaged file or refuse it with one line (`InputError`). Everything else is a fault: another exception, a message of
several lines, a hang, a signal, more memory than allowed, or an event that belongs to running a program.

    python -m tests.mutation_runner --count 30 [--first 0] [--kind NAME ...] [--quick]

prints one JSON object for each kind. A seed gives the same damage again, but torch's older layout names storages by their addresses: for it
and for ADA pickles, which hold such files, the damage may fall on other bytes.
"""

import argparse
import json
import os
import resource
import select
import shutil
import signal
import sys
import tempfile
import time
import traceback
import warnings
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch

from renderers.errors import InputError
from tests.mutated_kinds import KINDS, Kind
from tests.mutations import mutate

# Of the processor, so that a busy machine is no fault; a read of these files takes milliseconds to a few seconds.
SECONDS = 20
# Of the clock, for readers that wait for something.
SECONDS_ON_THE_CLOCK = 300.0
# Address space beyond that of a process which has read the whole file once.
MEMORY = 2**30
LONGEST_MESSAGE = 1000
# Audit events of the interpreter that readers have no reason for. `pickle.find_class` is one who resolves a pickle's names.
FORBIDDEN = (
    "os.system",
    "os.exec",
    "os.posix_spawn",
    "os.fork",
    "subprocess.Popen",
    "pickle.find_class",
    "socket.",
)


@dataclass
class Tally:
    """What came of the damaged files of one kind.

    Attributes:
        kind: Its name.
        count: Files read.
        accepted: Files that the reader took.
        refused: Files that it refused with one line.
        faults: Seed and description of everything else.
        slowest: Seconds of the processor for the slowest file.
    """

    kind: str
    count: int = 0
    accepted: int = 0
    refused: int = 0
    faults: list[tuple[int, str]] = field(default_factory=list)
    slowest: float = 0.0

    def add(self, seed: int, outcome: str, seconds: float) -> None:
        """Count one file."""
        self.count += 1
        self.slowest = max(self.slowest, seconds)
        if outcome == "accepted":
            self.accepted += 1
        elif outcome == "refused":
            self.refused += 1
        else:
            self.faults.append((seed, outcome))


def write_damaged(whole: Path, folder: Path, seed: int, others: Sequence[bytes]) -> Path:
    """A damaged file of a kind.

    Args:
        whole: A whole file or folder of it, alone in its folder but for what its reader takes beside it.
        folder: Where to write.
        seed: Which damage; of a folder, which file is damaged as well.
        others: Contents of other kinds.

    Returns:
        The path for the reader.
    """
    shutil.copytree(whole.parent, folder, dirs_exist_ok=True)
    path = folder / whole.name
    target = path
    if path.is_dir():
        files = sorted(file for file in path.iterdir() if file.is_file())
        target = files[seed % len(files)]
    target.write_bytes(mutate(target.read_bytes(), seed, others))
    return path


def outcome_of(kind: Kind, path: Path, events: list[str]) -> str:
    """What comes of reading a file: accepted, refused, or the fault."""
    events.clear()
    try:
        kind.read(path)
        outcome = "accepted"
    except InputError as error:
        message = str(error)
        outcome = "refused"
        if not message.isprintable() or len(message) > LONGEST_MESSAGE:
            outcome = f"a message of several lines, of control characters, or of over {LONGEST_MESSAGE} characters: {message[:300]!r}"
    except BaseException as error:  # any other exception is what this looks for
        place = traceback.extract_tb(error.__traceback__)[-1]
        outcome = f"{type(error).__name__}: {str(error)[:200]} ({Path(place.filename).name}:{place.lineno})"
    return f"did {sorted(set(events))}" if events else outcome


def _work(kind: Kind, folder: Path, seeds: range, pipe: int) -> None:
    """In a child: read damaged files one by one; before each its seed is reported, and afterwards what came of it."""
    events: list[str] = []
    warnings.simplefilter("ignore")
    torch.set_num_threads(1)
    torch.manual_seed(0)

    def say(**message: Any) -> None:
        os.write(pipe, json.dumps(message).encode() + b"\n")

    def case(name: str) -> Path:
        made = folder / name / "file"
        made.mkdir(parents=True)
        return made

    others = []
    for other in (
        "coefficients .npy",
        "photo PNG",
        "generator .safetensors",
        "plain pickle",
        "generator of rosinality .pt",
        "photo TIFF",
    ):
        if other != kind.name:
            others.append(next(k for k in KINDS if k.name == other).build(case(f"other {len(others)}")).read_bytes())
    others += [b"", b"\0" * 4096, b"<html>not found</html>\n" * 40]
    whole = kind.build(case("whole"))
    # A whole file must be read; it also brings in what readers import late.
    kind.read(whole)
    used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (used + MEMORY, used + MEMORY))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    armed = [False]

    def audit(event: str, arguments: tuple[Any, ...]) -> None:
        writes = event == "open" and isinstance(arguments[1], str) and arguments[1][:1] in ("w", "a", "x")
        if armed[0] and (writes or event.startswith(FORBIDDEN)):
            events.append(event)

    sys.addaudithook(audit)
    for seed in seeds:
        made = case(str(seed))
        path = write_damaged(whole, made, seed, others)
        say(seed=seed)
        start = time.process_time()
        signal.setitimer(signal.ITIMER_PROF, SECONDS)
        armed[0] = True
        outcome = outcome_of(kind, path, events)
        armed[0] = False
        signal.setitimer(signal.ITIMER_PROF, 0)
        say(seed=seed, outcome=outcome, seconds=time.process_time() - start)
        shutil.rmtree(made.parent)
    say(done=True)


def run_kind(kind: Kind, seeds: range) -> Tally:
    """Read damaged files of a kind; a process that a file kills is followed by another."""
    tally = Tally(kind.name)
    following = seeds.start
    while following < seeds.stop:
        with tempfile.TemporaryDirectory() as folder:
            following = _run_child(kind, Path(folder), range(following, seeds.stop), tally)
    return tally


def _run_child(kind: Kind, folder: Path, seeds: range, tally: Tally) -> int:
    """One process, until it is done or dead; the seed to go on with."""
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(reading)
        try:
            _work(kind, folder, seeds, writing)
        except BaseException:
            traceback.print_exc()
        finally:
            os._exit(0)
    os.close(writing)
    current, done, buffer, stuck = None, False, b"", False
    while True:
        if not select.select([reading], [], [], SECONDS_ON_THE_CLOCK)[0]:
            stuck = True
            os.kill(child, signal.SIGKILL)
            break
        received = os.read(reading, 65536)
        if not received:
            break
        *lines, buffer = (buffer + received).split(b"\n")
        for message in map(json.loads, lines):
            done = done or "done" in message
            if "outcome" in message:
                tally.add(message["seed"], message["outcome"], message["seconds"])
                current = None
            elif "seed" in message:
                current = message["seed"]
    os.close(reading)
    status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    if done:
        return seeds.stop
    if current is None:
        raise RuntimeError(f"the process for {kind.name} ended with status {status} outside of a reader")
    name = signal.Signals(-status).name if status < 0 else f"exit status {status}"
    tally.add(current, "a hang" if stuck or name == "SIGPROF" else f"death by {name}", SECONDS)
    return current + 1


def main() -> None:
    """Run the kinds that the command line names."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--count", type=int, default=30, help="damaged files of each kind")
    parser.add_argument("--first", type=int, default=0, help="the first seed")
    parser.add_argument("--kind", action="append", choices=[kind.name for kind in KINDS], help="a kind; all by default")
    parser.add_argument("--quick", action="store_true", help="fewer of the kinds that take long")
    options = parser.parse_args()
    for kind in KINDS:
        if options.kind is None or kind.name in options.kind:
            count = options.count // kind.every if options.quick else options.count
            print(json.dumps(asdict(run_kind(kind, range(options.first, options.first + count)))), flush=True)


if __name__ == "__main__":
    main()
