"""Where the time of a StyleRig training step goes: python benchmarks/stylerig_step.py [--config FILE] [--batch 16] [--steps 10].

Prints milliseconds and the share of each part, and steps per second. Each part of the forward pass is timed by itself. The backward pass
of the rendering is timed by itself as well, from the parameters that F gives.
"""

import argparse
import sys
import time
from collections.abc import Callable
from pathlib import Path

import torch
import yaml
from torch import Tensor

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from datamodules.latent_pairs import LatentPairs, PairRecipe
from lightning_modules.face_scene import FaceScene
from lightning_modules.pair_batches import codes_and_images
from lightning_modules.rig_losses import Control, StyleRigLosses
from lightning_modules.stylerig import StyleRig
from lightning_modules.stylerig_settings import StyleRigSettings
from models.morphable import FaceParameters
from models.stylerig import FaceReconstruction


class Clock:
    """The shortest of several times in milliseconds, after a first one that is not counted: other work on the machine disturbs it least."""

    def __init__(self, steps: int, device: torch.device) -> None:
        self._steps, self._device = steps, device

    def ms(self, action: Callable[[], object], prepare: Callable[[], object] = lambda: None) -> float:
        """Of `action`, without `prepare`, which is called before each."""
        times: list[float] = []
        for _ in range(self._steps + 1):
            prepare()
            start = self._now()
            action()
            times.append((self._now() - start) * 1000)
        return min(times[1:])

    def _now(self) -> float:
        if self._device.type == "cuda":
            torch.cuda.synchronize(self._device)
        return time.perf_counter()


def rig_of(config: str, generator: str | None, landmarker: str | None, device: str) -> StyleRig:
    """The module of a config, its F and rig network untrained: the work is the same."""
    root = Path(__file__).resolve().parents[1]
    model = yaml.safe_load((root / config).read_text())["model"]["init_args"]
    values = dict(model["settings"])
    settings = StyleRigSettings(**{**values, "controls": [Control(**control) for control in values["controls"]]})
    files = (generator or model["generator"], landmarker or model["landmarker"])
    # What a config does not name is as the module has it.
    rig = StyleRig(*files, None, FaceScene(**model.get("scene", {})), settings)
    network = FaceReconstruction(rig.generator.num_layers, rig.generator.w_dim, rig.face_model.sizes)
    rig.face_reconstruction = network.requires_grad_(False)
    return rig.to(device)


def measure(rig: StyleRig, recipe: PairRecipe, batch_size: int, clock: Clock) -> tuple[dict[str, float], float]:
    """Milliseconds of each part of a training step, and of the backward pass of the rendering by itself."""
    network = rig.face_reconstruction
    assert network is not None
    controls = len(rig.losses)
    indices = torch.arange(batch_size, device=rig.device)
    with torch.no_grad():
        drawing = clock.ms(lambda: recipe.pairs(rig.generator, "train", indices))
        whole_data = clock.ms(lambda: recipe.pairs(rig.generator, "train", indices, images=True))
        batch: LatentPairs = recipe.pairs(rig.generator, "train", indices, images=True)
        codes, images = codes_and_images(batch)
        own, landmarks = network(codes), rig.landmarker(images)
        landmark_pass = clock.ms(lambda: rig.landmarker(images))
    # F reads the codes once and the edited ones once per control; the rig network edits once per control, and once for L_rec.
    tracked = codes.clone().requires_grad_()
    reconstruction = clock.ms(lambda: network(codes)) + controls * clock.ms(lambda: network(tracked))
    editing = (controls + 1) * clock.ms(lambda: rig.rignet.edit(codes, own, own.roll(batch_size, 0)))

    leaf = own.clone().requires_grad_()
    parameters = FaceParameters.unpack(own, network.sizes)
    requested = parameters[torch.arange(len(codes), device=rig.device).roll(batch_size)]

    def rendered() -> Tensor:
        total = leaf.new_zeros(())
        for losses in rig.losses:
            assert isinstance(losses, StyleRigLosses)
            target = losses.loss.targets(images, landmarks)
            # Gradients reach the components that each loss takes from F alone, as in training.
            achieved = FaceParameters.unpack(leaf, network.sizes)
            edit, kept = losses(requested, parameters, achieved, target, target, rig.settings.consistency > 0)
            total = total + edit + kept
        return total

    rendering = clock.ms(rendered)
    held: list[Tensor] = []
    rendering_back = clock.ms(lambda: held.pop().backward(), lambda: held.append(rendered()))

    optimiser = torch.optim.AdamW(rig.rignet.parameters(), lr=1e-6)

    def forward() -> None:
        optimiser.zero_grad()
        held.append(rig.pair_losses(batch)["loss"])

    backward = clock.ms(lambda: held.pop().backward(), forward)
    parts = {
        "data: latents and mapping": drawing,
        "data: pictures by the generator": whole_data - drawing,
        "landmark network": landmark_pass,
        "F, forward": reconstruction,
        "rig network, forward": editing,
        "rendering and losses, forward": rendering,
        "backward": backward,
        "optimiser": clock.ms(optimiser.step),
    }
    return parts, rendering_back


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--config", default="configs/demo/stylerig_pose.yaml", help="its generator, landmarker, scene and settings"
    )
    parser.add_argument("--generator", help="another checkpoint")
    parser.add_argument("--landmarker", help="another landmark network")
    parser.add_argument("--batch", type=int, default=16, help="pairs per step")
    parser.add_argument("--steps", type=int, default=10, help="repetitions")
    parser.add_argument("--device", default="cpu", help="cpu or cuda")
    options = parser.parse_args()
    rig = rig_of(options.config, options.generator, options.landmarker, options.device)
    parts, rendering_back = measure(rig, PairRecipe(0), options.batch, Clock(options.steps, rig.device))
    total = sum(parts.values())
    for name, value in parts.items():
        print(f"{name:40}{value:9.1f} ms {100 * value / total:6.1f} %")
    print(f"  of the backward pass, the rendering by itself takes {rendering_back:.1f} ms")
    where = options.device if options.device != "cpu" else f"{torch.get_num_threads()} threads"
    print(f"{'step':40}{total:9.1f} ms; {1000 / total:.2f} steps per second at {options.batch} pairs, {where}")


if __name__ == "__main__":
    main()
