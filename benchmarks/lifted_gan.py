"""Where the time of a LiftedGAN training step goes: python benchmarks/lifted_gan.py [--config FILE ...] [--batch 4] [--steps 5].

Prints milliseconds and the share of each part, steps per second and peak memory. Each part of the forward pass is timed by itself, with
all its calls of a step; the backward pass and the whole step likewise. Then the depth mesh per image, forward and with backward, at each
of `--pixels`, and what the larger ones cost over the smallest. Further configs change the first, as on the command line of
`lightning fit`. The least of all repeats counts: other work on the machine disturbs it least.
"""

import argparse
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import torch
import yaml
from torch import Tensor

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks.pie import merged, peak_memory
from benchmarks.stylerig_step import Clock
from datamodules.latent_pairs import PairRecipe
from lightning_modules.lifted_gan import LiftedGanModule
from lightning_modules.lifted_gan_settings import LiftedTraining
from lightning_modules.pair_batches import codes_and_images
from models.lifted_gan import LiftedSettings
from renderers.camera import PerspectiveCamera
from renderers.depth_mesh import depth_points, pixel_faces, render_depth_mesh


class MeshTime(NamedTuple):
    """Milliseconds of one image: forward, and forward with backward."""

    forward: float
    forward_backward: float


def module_of(configs: Sequence[str], files: Mapping[str, str]) -> LiftedGanModule:
    """The module of configs, untrained: the work is the same.

    Args:
        configs: One that lifts a generator, and others that change it.
        files: Other networks than theirs, by the module's arguments.
    """
    root = Path(__file__).resolve().parents[1]
    model: dict[str, Any] = {}
    for config in configs:
        model = merged(model, yaml.safe_load((root / config).read_text())["model"]["init_args"])
    model = {**model, **files}
    networks, settings = (
        {name: _plain(value) for name, value in model[key].items()} for key in ("networks", "settings")
    )
    return LiftedGanModule(
        model["generator"],
        model["perceptual"],
        model["embedder"],
        None,
        LiftedSettings(**networks),
        LiftedTraining(**settings),
    )


def measure(module: LiftedGanModule, batch_size: int, clock: Clock) -> tuple[dict[str, float], float]:
    """Milliseconds of each part of a training step, and of the whole step without the making of its pictures."""
    settings, lifted, objective = module.settings, module.lifted, module.objective
    # Past the first steps, which have a term of their own.
    step, recipe = settings.convex_steps + 1, PairRecipe(0, 1)
    indices = torch.arange(batch_size, device=module.device)
    with torch.no_grad():
        parts = {
            "data: codes and pictures": clock.ms(lambda: recipe.pairs(module.generator, "train", indices, images=True))
        }
        batch = recipe.pairs(module.generator, "train", indices, images=True)
    codes, images = codes_and_images(batch)
    codes = codes[:, 0]
    optimiser = torch.optim.Adam(lifted.networks.parameters(), lr=1e-7)
    output = lifted(codes)
    # Reconstruction, mirrored, perturbed, and under the estimated view; a texture or picture passes the generator as often as that.
    renders = 1 + (settings.flip > 0) + 2 * settings.perturbs
    pictures = 1 + settings.perturbs
    parts["networks and texture, forward"] = clock.ms(lambda: lifted(codes))
    parts["pictures of M's codes, forward"] = (pictures - 1) * clock.ms(lambda: lifted.picture(output.code))
    parts["rendering, forward"] = renders * clock.ms(lambda: lifted.render(output))
    perceptual = objective.distance.perceptual
    if perceptual is not None:
        compared = renders - settings.perturbs + (settings.perturbation > 0)
        tracked = images.clone().requires_grad_()
        with torch.no_grad():
            targets = (1 + 2 * (settings.perturbation > 0)) * clock.ms(lambda: perceptual.feature_maps(images))
        parts["perceptual features, forward"] = compared * clock.ms(lambda: perceptual.feature_maps(tracked)) + targets
    embedder = objective.embedder
    if embedder is not None:
        parts["identity network, forward"] = clock.ms(lambda: embedder(torch.cat([output.texture, output.texture])))

    losses: list[Tensor] = []

    def forward() -> None:
        optimiser.zero_grad()
        terms = objective.faces(lifted, codes, images, batch.indices, step)
        loss = terms.loss
        if settings.parts_in_turn and settings.perturbation > 0 and terms.perturbed is not None:
            loss = loss + objective.manipulation(lifted, codes, terms.perturbed)[0]
        losses.append(loss)

    def whole() -> None:
        forward()
        losses.pop().backward()
        optimiser.step()

    parts["backward"] = clock.ms(lambda: losses.pop().backward(), forward)
    parts["optimiser"] = clock.ms(optimiser.step)
    return parts, clock.ms(whole)


def measure_mesh(pixels: int, batch_size: int, clock: Clock, device: torch.device) -> MeshTime:
    """Of a head-like bump, drawn with gradients to depth and colours."""
    settings = LiftedSettings()
    across = torch.linspace(-1, 1, pixels, device=device)
    bump = 1.05 - 0.1 * torch.exp(-4 * (across[:, None] ** 2 + across[None] ** 2))
    depth = bump.expand(batch_size, -1, -1).contiguous().requires_grad_()
    colours = torch.rand(batch_size, 3, pixels, pixels, device=device, requires_grad=True)
    camera: PerspectiveCamera = settings.camera
    faces = pixel_faces(pixels, pixels).to(device)

    def drawn() -> Tensor:
        return render_depth_mesh(depth_points(depth, camera), colours, camera, faces=faces).image

    def both() -> None:
        drawn().sum().backward()

    with torch.no_grad():
        forward = clock.ms(drawn)
    return MeshTime(forward / batch_size, clock.ms(both) / batch_size)


def _plain(value: Any) -> Any:
    return tuple(value) if isinstance(value, list) else value


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--config", nargs="+", default=["configs/demo/lifted_gan.yaml"], help="a config that lifts, and others after it"
    )
    parser.add_argument("--generator", help="another checkpoint")
    parser.add_argument("--batch", type=int, default=4, help="pairs per step: twice as many codes")
    parser.add_argument("--steps", type=int, default=5, help="repetitions")
    parser.add_argument(
        "--pixels", type=int, nargs="*", default=[64, 256], help="sides of depth meshes; nothing after it for none"
    )
    parser.add_argument("--threads", type=int, help="of PyTorch on the CPU; by default its own choice")
    parser.add_argument("--device", default="cpu", help="cpu or cuda")
    options = parser.parse_args()
    if options.threads is not None:
        torch.set_num_threads(options.threads)
    device = torch.device(options.device)
    module = module_of(options.config, {"generator": options.generator} if options.generator else {}).to(device)
    clock = Clock(options.steps, device)
    where = torch.cuda.get_device_name() if device.type == "cuda" else f"CPU, {torch.get_num_threads()} threads"
    print(f"generator of {module.generator.resolution} px, {2 * options.batch} codes; {where}")
    parts, whole = measure(module, options.batch, clock)
    total = sum(parts.values())
    for name, value in parts.items():
        print(f"{name:36}{value:10.2f} ms {100 * value / total:6.1f} %")
    seconds = (whole + parts["data: codes and pictures"]) / 1000
    print(
        f"{'step':36}{whole:10.2f} ms; {1 / seconds:.2f} steps per second with data; peak memory {peak_memory(device):.0f} MiB"
    )
    times: dict[int, MeshTime] = {pixels: measure_mesh(pixels, 4, clock, device) for pixels in options.pixels}
    for pixels, time in times.items():
        first = times[options.pixels[0]]
        print(
            f"depth mesh, {pixels:4} px{'':17}{time.forward:10.2f} ms an image forward, {time.forward_backward:.2f} ms with backward "
            f"({time.forward_backward / time.forward:.1f} times as much); {time.forward / first.forward:.1f} times {options.pixels[0]} px"
        )


if __name__ == "__main__":
    main()
