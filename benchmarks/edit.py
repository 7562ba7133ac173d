"""Edits per second, from a code to its edited picture: python benchmarks/edit.py [--generator FILE] [--batch 64] [--seconds 5].

An edit is what an interactive rig does after each move of a slider: F reads the code's parameters, one component is changed, RigNet
edits the code, the generator draws it, and the picture becomes 8 bits on the CPU. Prints milliseconds and the share of each part, for
one code and for a batch, with and without the drawing. The paper reports about 5 edits per second on a desktop GPU (section 8.2).
"""

import argparse
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from models.morphable import FaceParameters, ParameterSizes
from models.stylegan2 import Generator, load_generator
from models.stylegan2.sampling import codes_of_seeds, pictures_of_codes
from models.stylerig import FaceReconstruction, RigNet


def median_ms(action: Callable[[], object], seconds: float) -> float:
    """Median milliseconds of one call within some seconds, after a first one that is not counted."""
    action()
    times: list[float] = []
    end = time.perf_counter() + seconds
    while len(times) < 3 or time.perf_counter() < end:
        start = time.perf_counter()
        action()
        times.append((time.perf_counter() - start) * 1000)
    return statistics.median(times)


@torch.no_grad()
def measure(generator: Generator, network: FaceReconstruction, rignet: RigNet, codes: Tensor, seconds: float) -> dict[str, float]:
    """Median milliseconds of each part of an edit of all codes at once, and of the whole ("edit with its picture")."""
    turn = torch.tensor([0.0, 0.3, 0.0], device=codes.device)

    def changed(own: Tensor) -> Tensor:
        parameters = FaceParameters.unpack(own, network.sizes)
        return parameters.replace(rotation=parameters.rotation + turn).pack()

    def edited() -> Tensor:
        own = network(codes)
        return rignet.edit(codes, own, changed(own))

    own = network(codes)
    target, result = changed(own), edited()
    # On a GPU calls return before they are done; a value read on the CPU waits for them.
    parts: dict[str, Callable[[], object]] = {
        "face reconstruction F": lambda: network(codes)[0, 0].item(),
        "change of the parameters": lambda: changed(own)[0, 0].item(),
        "RigNet": lambda: rignet.edit(codes, own, target)[0, 0, 0].item(),
        "generator and picture": lambda: pictures_of_codes(generator, result),
        "edit without its picture": lambda: edited()[0, 0, 0].item(),
        "edit with its picture": lambda: pictures_of_codes(generator, edited()),
    }
    return {name: median_ms(action, seconds) for name, action in parts.items()}


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--generator", default="assets/demo_generator.safetensors", help="StyleGAN2 checkpoint")
    parser.add_argument("--batch", type=int, default=64, help="codes of the second measurement")
    parser.add_argument("--seconds", type=float, default=5.0, help="time for each figure")
    parser.add_argument("--threads", type=int, help="of PyTorch on the CPU; by default its own choice")
    parser.add_argument("--device", default="cpu", help="cpu or cuda")
    options = parser.parse_args()
    if options.threads is not None:
        torch.set_num_threads(options.threads)
    generator = load_generator(options.generator).to(options.device)
    layers, width, sizes = generator.num_layers, generator.w_dim, ParameterSizes()
    # Untrained: the work is the same.
    torch.manual_seed(0)
    network = FaceReconstruction(layers, width, sizes).to(options.device)
    rignet = RigNet(layers, width, ("rotation",), sizes).to(options.device)
    codes = generator.broadcast(codes_of_seeds(generator, range(options.batch)).to(options.device))
    where = torch.cuda.get_device_name() if options.device.startswith("cuda") else f"CPU, {torch.get_num_threads()} threads"
    print(f"generator of {generator.resolution} px, {layers} layers of {width}; {where}")
    for count in (1, options.batch):
        results = measure(generator, network, rignet, codes[:count], options.seconds)
        whole = results["edit with its picture"]
        print(f"\n{count} code{'s' * (count > 1)} at once")
        for name, value in results.items():
            rate = f"{1000 * count / value:12.1f} per second" if name.startswith("edit") else ""
            print(f"{name:28}{value:10.3f} ms {100 * value / whole:6.1f} %{rate}")


if __name__ == "__main__":
    main()
