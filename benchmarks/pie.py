"""Seconds per portrait of PIE, and where they go: python benchmarks/pie.py [--config FILE ...] [--batches 1 8] [--steps 5].

For portraits one by one and batched: milliseconds and share of each part of an iteration, seconds per portrait over all iterations of
the schedule, and peak memory. Each part of the forward pass is timed by itself, with all its calls of an iteration; the backward pass
and the whole iteration likewise. Further configs change the first, as on the command line of `lightning fit`. The paper reports about
10 minutes for a 1024-px portrait of 3000 iterations on a V100 (section 5).
"""

import argparse
import resource
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
import yaml
from torch import Tensor

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks.stylerig_step import Clock
from datamodules.latent_pairs import PairRecipe
from lightning_modules.face_scene import FaceScene
from lightning_modules.pie.energies import PieEnergies
from lightning_modules.pie.settings import EnergyWeights, PieSettings, Schedule
from models.morphable import FaceParameters
from models.observers import load_face_embedder, load_landmark_detector
from models.perceptual import perceptual_loss
from models.stylegan2 import load_generator
from models.stylerig import RigNet
from models.stylerig.face_encoder import FaceEncoder

MEBIBYTE = 2**20


def merged(values: dict[str, Any], changes: dict[str, Any]) -> dict[str, Any]:
    """Nested values with those of another config in their place."""
    nested = {name: merged(values[name], change) for name, change in changes.items() if isinstance(change, dict) and name in values}
    return {**values, **changes, **nested}


def model_of(configs: Sequence[str], changes: dict[str, Any]) -> tuple[PieEnergies, PieSettings]:
    """Energies and settings of configs, RigNet and face encoder untrained: the work is the same.

    Args:
        configs: Files, each of which changes the ones before it.
        changes: Arguments in place of theirs.
    """
    root = Path(__file__).resolve().parents[1]
    model: dict[str, Any] = {}
    for config in configs:
        model = merged(model, yaml.safe_load((root / config).read_text())["model"]["init_args"])
    model = merged(model, changes)
    given = model["settings"]
    settings = PieSettings(**{**given, "weights": EnergyWeights(**given["weights"]), "schedule": Schedule(**given["schedule"])})
    weights, scene = settings.weights, FaceScene(**model["scene"])
    generator, face_model = load_generator(model["generator"]), scene.load_face_model()
    recognises = max(weights.recognition, weights.edited_recognition) > 0
    reduction: Any = "mean" if weights.normalised else "sum"
    energies = PieEnergies(
        generator,
        RigNet(generator.num_layers, generator.w_dim, ("rotation",), face_model.sizes),
        FaceEncoder(face_model.sizes),
        load_landmark_detector(model["landmarker"]),
        scene.renderer(face_model, generator.resolution),
        weights,
        perceptual_loss(model["perceptual"], reduction=reduction) if weights.perceptual > 0 else None,
        load_face_embedder(model["embedder"]) if recognises else None,
        settings.robust_landmarks,
    )
    return energies.eval().requires_grad_(False), settings


def measure(energies: PieEnergies, optimiser_name: str, batch_size: int, clock: Clock) -> tuple[dict[str, float], float]:
    """Milliseconds of each part of an iteration in W+, and of the whole iteration."""
    generator, weights, recipe = energies.generator, energies.weights, PairRecipe(0)
    device = generator.mean_w.device
    indices = torch.arange(batch_size, device=device)
    with torch.no_grad():
        drawn = recipe.pairs(generator, "test", indices, images=True)
        assert drawn.image_w is not None
        target = energies.target(drawn.image_w)
        own = energies.encoder(drawn.image_w)
    codes = drawn.w.clone().requires_grad_()
    adadelta = optimiser_name == "adadelta"
    optimiser: torch.optim.Optimizer = torch.optim.Adadelta([codes], lr=1e-6) if adadelta else torch.optim.Adam([codes], lr=1e-6)

    def forward() -> Tensor:
        sample = energies.sample(recipe.pairs(generator, "train", indices).v) if weights.samples_edits else None
        return energies(codes, target, sample)["total"].sum()

    def iteration() -> None:
        optimiser.zero_grad()
        forward().backward()
        optimiser.step()

    picture = drawn.image_w.clone().requires_grad_()
    leaf = own.clone().requires_grad_()

    def rendered() -> Tensor:
        return energies.loss.of_each(*target.rendering, FaceParameters.unpack(leaf, energies.encoder.sizes)).total

    # How often each is called: with gradients to the codes, and for v without.
    edits, reads = int(weights.samples_edits), int(weights.uses_rig)
    achieves = int(max(weights.edit, weights.invariance) > 0)
    renders = int(weights.edit > 0) + int(weights.invariance > 0)
    recognised = int(weights.recognition > 0) + int(weights.edited_recognition > 0)
    calls: dict[str, list[tuple[int, Callable[[], object]]]] = {
        "codes v": [(edits, lambda: recipe.pairs(generator, "train", indices))],
        "generator, forward": [
            (1 + edits, lambda: generator.synthesis(codes)),
            (edits, lambda: generator.synthesis(drawn.v)),
        ],
        "face encoder, forward": [
            (reads + achieves, lambda: energies.encoder(picture)),
            (edits, lambda: energies.encoder(drawn.image_w)),
        ],
        "RigNet, forward": [(int(weights.identity > 0) + edits, lambda: energies.network.edit(codes, leaf, leaf))],
        "renderer, forward": [(renders, rendered)],
        "landmark network": [(edits, lambda: energies.landmarker(drawn.image_w))],
    }
    if energies.perceptual is not None:
        perceptual = energies.perceptual
        calls["perceptual features, forward"] = [(1, lambda: perceptual.feature_maps(picture))]
    if energies.embedder is not None:
        embedder = energies.embedder
        calls["embedder, forward"] = [(recognised, lambda: embedder(picture))]
    parts: dict[str, float] = {}
    for name, timed in calls.items():
        # What is done for v carries no gradient; generator and encoder have an entry for it of their own.
        times = []
        for number, (count, call) in enumerate(timed):
            if count:
                with torch.set_grad_enabled(number == 0 and name not in ("codes v", "landmark network")):
                    times.append(count * clock.ms(call))
        if times:
            parts[name] = sum(times)
    held: list[Tensor] = []
    parts["backward"] = clock.ms(lambda: held.pop().backward(), lambda: held.append(forward()))
    parts["optimiser"] = clock.ms(optimiser.step)
    return parts, clock.ms(iteration)


def peak_memory(device: torch.device) -> float:
    """MiB: of the GPU's since the last reset, or of the process so far."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device) / MEBIBYTE
    # Linux counts in KiB.
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--config", nargs="+", default=["configs/demo/pie.yaml"], help="a config that embeds portraits, and others after it"
    )
    parser.add_argument("--batches", type=int, nargs="+", default=[1, 8], help="portraits that are optimised together")
    parser.add_argument("--steps", type=int, default=5, help="repetitions")
    for name, what in (
        ("generator", "checkpoint"),
        ("landmarker", "landmark network"),
        ("embedder", "embedder"),
        ("perceptual", "perceptual features"),
    ):
        parser.add_argument(f"--{name}", help=f"another {what}")
    parser.add_argument("--threads", type=int, help="of PyTorch on the CPU; by default its own choice")
    parser.add_argument("--device", default="cpu", help="cpu or cuda")
    options = parser.parse_args()
    if options.threads is not None:
        torch.set_num_threads(options.threads)
    names = ("generator", "landmarker", "embedder", "perceptual")
    energies, settings = model_of(options.config, {name: getattr(options, name) for name in names if getattr(options, name)})
    device = torch.device(options.device)
    energies.to(device)
    where = torch.cuda.get_device_name() if device.type == "cuda" else f"CPU, {torch.get_num_threads()} threads"
    iterations = settings.schedule.iterations
    print(f"generator of {energies.generator.resolution} px, {iterations} iterations of {settings.schedule.optimiser}; {where}")
    for batch_size in options.batches:
        if device.type == "cuda":
            torch.cuda.reset_peak_memory_stats(device)
        parts, whole = measure(energies, settings.schedule.optimiser, batch_size, Clock(options.steps, device))
        total = sum(parts.values())
        print(f"\n{batch_size} portrait{'s' * (batch_size > 1)} at once")
        for name, value in parts.items():
            print(f"{name:32}{value:10.2f} ms {100 * value / total:6.1f} %")
        seconds = whole * iterations / 1000 / batch_size
        print(f"{'iteration':32}{whole:10.2f} ms; {seconds:.1f} s per portrait; peak memory {peak_memory(device):.0f} MiB")


if __name__ == "__main__":
    main()
