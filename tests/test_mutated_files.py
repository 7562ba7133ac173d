"""Damaged files of every kind that the project reads: each is taken, or refused with one line.

`benchmarks/mutated_files.py` reads many more of each kind; `tests/mutation_runner.py` says what counts as a fault.
"""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from tests.mutated_kinds import KINDS
from tests.mutations import mutate

ROOT = Path(__file__).resolve().parents[1]
COUNT = 30


@pytest.fixture(scope="module")
def tallies():
    """Of a process of its own, in which the readers run as they do for users."""
    finished = subprocess.run(
        [sys.executable, "-m", "tests.mutation_runner", "--count", str(COUNT), "--quick"],
        capture_output=True,
        text=True,
        cwd=ROOT,
        timeout=1800,
    )
    assert finished.returncode == 0, finished.stderr[-2000:]
    return {tally["kind"]: tally for tally in map(json.loads, finished.stdout.splitlines())}


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="limits of a process's memory are those of Linux")
@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.name)
def test_damaged_files_are_taken_or_refused(tallies, kind):
    tally = tallies[kind.name]
    assert tally["count"] == COUNT // kind.every
    faults = [f"seed {seed}: {fault}" for seed, fault in tally["faults"]]
    assert not faults, f'python -m tests.mutation_runner --kind "{kind.name}" --first SEED --count 1: ' + "; ".join(faults)
    assert tally["refused"], "damage that no reader notices tests nothing"


def test_damage_is_the_same_for_the_same_seed():
    content = np.random.default_rng(0).bytes(3000) + b"size 123, 456"
    damaged = [mutate(content, seed, [b"other"]) for seed in range(200)]
    assert damaged == [mutate(content, seed, [b"other"]) for seed in range(200)]
    assert len(set(damaged)) > 170 and sum(each == b"other" for each in damaged) > 2
