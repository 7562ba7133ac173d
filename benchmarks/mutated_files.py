"""Damaged files of every kind that the project reads, put through their readers.

    python benchmarks/mutated_files.py --count 1000

prints a table: how many files each reader took, how many it refused with one line, and all other outcomes (exceptions, hangs, signals, too
much memory, anything run), each with the seed that makes it again. `tests/mutations.py` does the damage, `tests/mutation_runner.py` reads.
"""

import argparse
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from tests.mutated_kinds import KINDS
from tests.mutation_runner import run_kind


def main() -> int:
    """Print the table; the exit code is 1 where there is any fault."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--count", type=int, default=1000, help="damaged files of each kind")
    parser.add_argument("--first", type=int, default=0, help="the first seed")
    parser.add_argument("--kind", action="append", choices=[kind.name for kind in KINDS], help="a kind; all by default")
    options = parser.parse_args()
    print("| kind | files | taken | refused | faults | slowest, s |\n|---|---|---|---|---|---|")
    faults = []
    for kind in KINDS:
        if options.kind is None or kind.name in options.kind:
            tally = run_kind(kind, range(options.first, options.first + options.count))
            counts = f"{tally.count} | {tally.accepted} | {tally.refused} | {len(tally.faults)} | {tally.slowest:.2f}"
            print(f"| {kind.name} | {counts} |", flush=True)
            faults += [f"{kind.name}, seed {seed}: {fault}" for seed, fault in tally.faults]
    print("\n".join(["", *faults]) if faults else "\nno fault")
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
