"""Where the time of a RigNet training step goes: python benchmarks/stylerig_step.py [--config FILE] [--batch 16] [--steps 10].

Prints milliseconds per part, the share of the data (codes without pictures), and steps per second.
"""

import argparse
import sys
import time
from collections.abc import Callable
from pathlib import Path

import torch
import yaml

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from datamodules.latent_pairs import LatentPairs, PairRecipe
from lightning_modules.face_scene import FaceScene
from lightning_modules.stylerig import StyleRig
from models.stylerig import FaceReconstruction


def mean_ms(action: Callable[[], object], steps: int) -> float:
    """Milliseconds of one call, after a first one that is not counted."""
    action()
    start = time.perf_counter()
    for _ in range(steps):
        action()
    return (time.perf_counter() - start) / steps * 1000


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--config", default="configs/demo/stylerig_pose.yaml", help="its generator, landmarker and scene"
    )
    parser.add_argument("--generator", help="another checkpoint")
    parser.add_argument("--landmarker", help="another landmark network")
    parser.add_argument("--batch", type=int, default=16, help="pairs per step")
    parser.add_argument("--steps", type=int, default=10, help="repetitions")
    options = parser.parse_args()
    root = Path(__file__).resolve().parents[1]
    model = yaml.safe_load((root / options.config).read_text())["model"]["init_args"]
    generator = options.generator or model["generator"]
    rig = StyleRig(generator, options.landmarker or model["landmarker"], None, FaceScene(**model["scene"]))
    # Untrained: the work is the same.
    sizes = rig.face_model.sizes
    rig.face_reconstruction = FaceReconstruction(rig.generator.num_layers, rig.generator.w_dim, sizes).requires_grad_(
        False
    )
    recipe, indices = PairRecipe(0), torch.arange(options.batch)
    with torch.no_grad():
        plain = mean_ms(lambda: recipe.pairs(rig.generator, "train", indices), options.steps)
        whole = mean_ms(lambda: recipe.pairs(rig.generator, "train", indices, images=True), options.steps)
        batch = recipe.pairs(rig.generator, "train", indices, images=True)
        assert batch.image_w is not None and batch.image_v is not None
        images = torch.cat([batch.image_w, batch.image_v])
        landmarks = mean_ms(lambda: rig.landmarker(images), options.steps)
        losses = mean_ms(lambda: rig.pair_losses(batch), options.steps)

    def step(pairs: LatentPairs) -> None:
        rig.zero_grad()
        rig.pair_losses(pairs)["loss"].backward()

    trained = mean_ms(lambda: step(batch), options.steps)
    total = whole + trained
    parts = {
        "codes": plain,
        "pictures of the generator": whole - plain,
        "landmarks": landmarks,
        "reconstruction, RigNet and rendering": losses - landmarks,
        "backward": trained - losses,
    }
    for name, value in parts.items():
        print(f"{name:40}{value:9.1f} ms {100 * value / total:6.1f} %")
    print(
        f"{'step':40}{total:9.1f} ms; {1000 / total:.2f} steps per second at {options.batch} pairs, {torch.get_num_threads()} threads"
    )


if __name__ == "__main__":
    main()
