"""The rasterizer measured: its time per image, and its agreement with a picture that PyTorch3D drew."""

import math
import os
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from models.weights import PROJECT_ROOT
from renderers.rasterizer import interpolate, rasterize

# Drawn by PyTorch3D 0.7.9; part of a checkout, not of an installed package.
REFERENCE = Path("tests/data/rasterizer_pytorch3d_96px.npz")
# Rings and segments of the mesh and pixels of the picture that are timed: 52 thousand faces.
RINGS, SEGMENTS, SIZE = 130, 200, 256


def head(
    rings: int, segments: int, batch: int
) -> tuple[Float[Tensor, "batch vertices 3"], Int[Tensor, "faces 3"]]:
    """A bumpy ellipsoid that covers most of the image, turned a little further in each of the batch; 2 rings segments
    faces. In clip space with positive depth."""
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


@dataclass(frozen=True)
class Timing:
    """Milliseconds per image.

    Attributes:
        least: Of all repeats: what the work itself takes.
        median: Also holds what else the machine was doing.
    """

    least: float
    median: float


def timed(
    run: Callable[[], object], clock: Callable[[], float], repeats: int, batch: int, device: torch.device
) -> Timing:
    """Time of a call that draws `batch` images."""
    samples = []
    for repeat in range(repeats + 2):
        start = clock()
        run()
        if device.type == "cuda":
            torch.cuda.synchronize(device)
        if repeat >= 2:  # the first calls also fill caches and memory pools
            samples.append((clock() - start) * 1000 / batch)
    return Timing(min(samples), statistics.median(samples))


@dataclass(frozen=True)
class RasterizerTimes:
    """Time of one mesh at one image size.

    Attributes:
        faces: Number of faces.
        covered: Share of the pixels that they cover.
        forward: Of the fragments.
        forward_backward: Of the fragments and interpolated colours, and of the gradients of depth, barycentrics and colours.
    """

    faces: int
    covered: float
    forward: Timing
    forward_backward: Timing


def measure_times(
    rings: int,
    segments: int,
    batch: int,
    size: int,
    repeats: int = 20,
    device: torch.device = torch.device("cpu"),
    clock: Callable[[], float] = time.perf_counter,
    backend: Literal["torch", "pytorch3d"] = "torch",
) -> RasterizerTimes:
    """Time the rasterizer on `head`.

    Args:
        rings, segments, batch: Of the mesh.
        size: Height and width of the image, pixels.
        repeats: Calls that count.
        device: Where to draw.
        clock: Seconds.
        backend: Of `rasterize`.
    """
    vertices, faces = (tensor.to(device) for tensor in head(rings, segments, batch))
    colors = torch.rand(batch, vertices.shape[1], 3, device=device).requires_grad_()
    moving = vertices.clone().requires_grad_()

    def forward() -> Tensor:
        return rasterize(vertices, faces, (size, size), backend=backend).face_index

    def backward() -> None:
        fragments = rasterize(moving, faces, (size, size), backend=backend)
        depth = torch.where(fragments.face_index >= 0, fragments.depth, 0.0)
        picture = interpolate(fragments, faces, colors)
        torch.autograd.grad(picture.sum() + depth.sum() + fragments.barycentric[..., 0].sum(), (moving, colors))

    with torch.enable_grad():
        covered = (forward() >= 0).float().mean().item()
        return RasterizerTimes(
            len(faces),
            covered,
            timed(forward, clock, repeats, batch, device),
            timed(backward, clock, repeats, batch, device),
        )


@dataclass(frozen=True)
class RasterizerMeasurement:
    """The rasterizer on the CPU.

    Attributes:
        equal_pixels: Share of the pixels of the reference picture that show the same face; None without the picture.
        note: Why there is no share; empty where there is one.
        faces, pixels: Of the mesh and the side of the image that were timed.
        forward_ms, forward_backward_ms: Milliseconds per image, the least of all repeats; see `RasterizerTimes`.
        threads: Of PyTorch, while it was timed.
    """

    equal_pixels: float | None
    note: str
    faces: int
    pixels: int
    forward_ms: float
    forward_backward_ms: float
    threads: int


def equal_pixels(reference: Path) -> float:
    """Share of the pixels of a picture by PyTorch3D (an .npz with its mesh) in which the same face is seen."""
    with np.load(reference) as data:
        expected = torch.from_numpy(data["pix_to_face"].astype(np.int64))
        vertices, faces = torch.from_numpy(data["verts_ndc"]), torch.from_numpy(data["faces"].astype(np.int64))
    height, width = expected.shape[1:]
    return float((rasterize(vertices, faces, (height, width)).face_index == expected).float().mean())


def measure_rasterizer(
    repeats: int = 10, size: int = SIZE, rings: int = RINGS, segments: int = SEGMENTS
) -> RasterizerMeasurement:
    """Agreement and times on the CPU, with as many threads as PyTorch has, at most two."""
    reference = PROJECT_ROOT / REFERENCE
    found = reference.is_file()
    threads = torch.get_num_threads()
    torch.set_num_threads(min(2, threads, os.cpu_count() or 1))
    try:
        times = measure_times(rings, segments, 1, size, repeats)
        used = torch.get_num_threads()
    finally:
        torch.set_num_threads(threads)
    return RasterizerMeasurement(
        equal_pixels=equal_pixels(reference) if found else None,
        note="" if found else f"{REFERENCE} is not here: it is part of a checkout, not of an installed package",
        faces=times.faces,
        pixels=size,
        forward_ms=times.forward.least,
        forward_backward_ms=times.forward_backward.least,
        threads=used,
    )
