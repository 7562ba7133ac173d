"""Time of the rasterizer per image, forward and forward with backward.

    python benchmarks/rasterizer.py [--threads 2] [--repeats 20] [--device cpu] [--clock wall]

The mesh is a bumpy ellipsoid about the size of a head in a portrait. The least of all repeats is what the rasterizer
takes; the median also holds what else the machine was doing. On a busy machine `--threads 1 --clock cpu` counts the
processor's time alone.
"""

import argparse
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import torch

from evaluation.rasterizer_benchmark import RINGS, SEGMENTS, SIZE, measure_times

# rings and segments of the mesh, batch size, image size in pixels
CASES = (
    (55, 55, 16, 64),  # training on 64-px pictures
    (55, 55, 4, 256),
    (130, 200, 1, 128),
    (RINGS, SEGMENTS, 1, SIZE),  # 52 thousand faces: under 20 ms forward and 80 ms with backward on two cores
    (130, 200, 4, 256),
    (184, 286, 1, 1024),
)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--threads", type=int, default=2, help="CPU threads (default 2)")
    parser.add_argument("--repeats", type=int, default=20, help="timed calls per figure (default 20)")
    parser.add_argument("--device", type=torch.device, default=torch.device("cpu"), help="cpu (default) or cuda")
    parser.add_argument("--clock", choices=("wall", "cpu"), default="wall", help="what is counted (default wall)")
    parser.add_argument("--backend", choices=("torch", "pytorch3d"), default="torch")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    clock = time.perf_counter if options.clock == "wall" else time.process_time

    print("milliseconds per image, least (median); backward is that of depth, barycentrics and interpolated colours")
    print(f"{'faces':>7} {'batch':>6} {'pixels':>7} {'covered':>8} {'forward':>18} {'+ backward':>18}")
    for rings, segments, batch, size in CASES:
        times = measure_times(rings, segments, batch, size, options.repeats, options.device, clock, options.backend)
        cells = [f"{timing.least:.2f} ({timing.median:.2f})" for timing in (times.forward, times.forward_backward)]
        print(f"{times.faces:>7} {batch:>6} {size:>7} {times.covered:>8.0%} {cells[0]:>18} {cells[1]:>18}")


if __name__ == "__main__":
    main()
