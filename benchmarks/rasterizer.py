"""Time of the rasterizer per image, forward and forward with backward.

    python benchmarks/rasterizer.py [--threads 2] [--repeats 20] [--device cpu] [--clock wall]

The mesh is a bumpy ellipsoid about the size of a head in a portrait. The least of all repeats is what the rasterizer
takes; the median also holds what else the machine was doing. On a busy machine `--threads 1 --clock cpu` counts the
processor's time alone.
"""

import argparse
import math
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import torch
from torch import Tensor

from renderers.rasterizer import interpolate, rasterize

# rings and segments of the mesh, batch size, image size in pixels
CASES = (
    (55, 55, 16, 64),  # training on 64-px pictures
    (55, 55, 4, 256),
    (130, 200, 1, 128),
    (130, 200, 1, 256),  # 52 thousand faces: under 20 ms forward and 80 ms with backward on two cores
    (130, 200, 4, 256),
    (184, 286, 1, 1024),
)


def head(rings: int, segments: int, batch: int) -> tuple[Tensor, Tensor]:
    """A bumpy ellipsoid that covers most of the image, turned a little further in each of the batch; 2 rings segments
    faces."""
    latitude = torch.linspace(-math.pi / 2, math.pi / 2, rings + 1)[:, None]
    longitude = torch.arange(segments) * (2 * math.pi / segments)
    radius = 1 + 0.05 * torch.sin(5 * longitude) * torch.cos(3 * latitude)
    x = 0.85 * radius * latitude.cos() * longitude.sin()
    y = 0.95 * radius * latitude.sin()
    z = 0.85 * radius * latitude.cos() * longitude.cos()
    yaw = torch.linspace(-0.4, 0.4, batch + 2)[1:-1].view(-1, 1, 1)
    points = torch.stack(
        [x * yaw.cos() + z * yaw.sin(), y.expand(batch, -1, -1), 3 + x * yaw.sin() - z * yaw.cos()], -1
    )

    ring = torch.arange(rings)[:, None] * segments
    segment = torch.arange(segments)
    a, b = ring + segment, ring + (segment + 1) % segments
    quads = torch.stack([a, b, b + segments, a, b + segments, a + segments], -1)
    return points.flatten(1, 2), quads.view(-1, 3)


def times(
    run: Callable[[], object], clock: Callable[[], float], repeats: int, batch: int, device: torch.device
) -> tuple[float, float]:
    """Least and median milliseconds per image."""
    samples = []
    for repeat in range(repeats + 2):
        start = clock()
        run()
        if device.type == "cuda":
            torch.cuda.synchronize(device)
        if repeat >= 2:  # the first calls also fill caches and memory pools
            samples.append((clock() - start) * 1000 / batch)
    return min(samples), statistics.median(samples)


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
        vertices, faces = (tensor.to(options.device) for tensor in head(rings, segments, batch))
        colors = torch.rand(batch, vertices.shape[1], 3, device=options.device).requires_grad_()
        moving = vertices.clone().requires_grad_()

        def forward(vertices: Tensor = vertices, faces: Tensor = faces, size: int = size) -> Tensor:
            return rasterize(vertices, faces, (size, size), backend=options.backend).face_index

        def backward(
            vertices: Tensor = moving, colors: Tensor = colors, faces: Tensor = faces, size: int = size
        ) -> None:
            fragments = rasterize(vertices, faces, (size, size), backend=options.backend)
            depth = torch.where(fragments.face_index >= 0, fragments.depth, 0.0)
            picture = interpolate(fragments, faces, colors)
            torch.autograd.grad(picture.sum() + depth.sum() + fragments.barycentric[..., 0].sum(), (vertices, colors))

        covered = (forward() >= 0).float().mean().item()
        cells = [
            f"{least:.2f} ({median:.2f})"
            for least, median in (
                times(run, clock, options.repeats, batch, options.device) for run in (forward, backward)
            )
        ]
        print(f"{len(faces):>7} {batch:>6} {size:>7} {covered:>8.0%} {cells[0]:>18} {cells[1]:>18}")


if __name__ == "__main__":
    main()
