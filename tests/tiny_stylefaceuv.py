"""Networks on disk with which the stages of StyleFaceUV train on the generator of `tests.tiny_stylerig`."""

import math
from pathlib import Path

import torch
from torch import nn

from lightning_modules.face_scene import FaceScene
from models.latent_directions import LatentDirection, LatentDirections, save_directions
from models.stylefaceuv import CodeCoefficients, FaceSources, StepSize, UVGenerator, UVSurface
from models.stylefaceuv.step_size import _YAW_SCALE
from models.stylegan2 import Generator, load_generator
from models.stylegan2.digest import generator_digest
from models.stylerig import Provenance
from tests.tiny_stylerig import write_networks

# The yaw that the coefficients read changes by this, in radians, over a spread of codes along the direction.
YAW_PER_SPREAD = 0.5


def write_stylefaceuv_networks(folder: Path) -> dict[str, str]:
    """Coefficients, a yaw direction and an untrained step size for `folder`/generator.safetensors, by name.

    The yaw that the coefficients read depends on a code's position along the direction alone, nearly linearly.
    """
    generator, scene = load_generator(str(folder / "generator.safetensors")), FaceScene()
    model = scene.load_face_model()
    provenance = Provenance.of(generator, model, scene.camera)
    yaw = yaw_direction(generator)
    coefficients = CodeCoefficients(generator.num_layers, generator.w_dim, model.sizes, hidden=(1,))
    first, last = coefficients.geometry[0], coefficients.geometry[-1]
    assert isinstance(first, nn.Linear) and isinstance(last, nn.Linear)
    # One hidden unit sees the position along the direction, small, where the hyperbolic tangent is nearly straight.
    row = 0.1 * yaw.normal.repeat(generator.num_layers) / (generator.num_layers * yaw.spread)
    angle = model.sizes.total - model.sizes.reflectance - (3 + 27 + 3) + 1
    with torch.no_grad():
        first.weight[0], first.bias[0] = row, -float(row @ generator.broadcast(generator.mean_w[None])[0].flatten())
        last.weight[angle].zero_()
        last.weight[angle, 0] = 10 * YAW_PER_SPREAD
    step = StepSize(generator.num_layers, generator.w_dim, hidden=(1,))
    step.move_along(yaw.normal.expand(generator.num_layers, -1), yaw.spread)
    places = {name: folder / f"{name}.safetensors" for name in ("coefficients", "directions", "step_size")}
    coefficients.save(places["coefficients"], provenance)
    save_directions(places["directions"], LatentDirections((yaw,), generator_digest(generator), {}))
    step.save(places["step_size"], provenance)
    return {name: str(path) for name, path in places.items()}


def yaw_direction(generator: Generator) -> LatentDirection:
    """Along one axis of W, in the deviation of the codes there."""
    normal = torch.zeros(generator.w_dim)
    normal[0] = 1.0
    return LatentDirection("yaw", normal, float(generator.std_w[0]), float(generator.mean_w[0]))


def write_uv_networks(folder: Path) -> dict[str, str]:
    """What the UV generator is trained with, by the module's arguments; the step size mirrors the yaw that is read."""
    path = write_networks(folder)["generator"]
    written = write_stylefaceuv_networks(folder)
    generator, scene = load_generator(path), FaceScene()
    provenance = Provenance.of(generator, scene.load_face_model(), scene.camera)
    step = StepSize.load(written["step_size"], provenance)
    step.whiten_by(generator.mean_w, generator.std_w)
    with torch.no_grad():
        step.net[-1].weight.zero_()
        step.linear.weight[0, 0 : -1 : step.w_dim] = -math.sqrt(step.code_size) / step.num_layers
        step.linear.weight[0, -1] = _YAW_SCALE / YAW_PER_SPREAD
    mirroring = step.save(folder / "mirroring.safetensors", provenance)
    return {"generator": path, "coefficients": written["coefficients"], "step_size": str(mirroring)}


def write_uv_network(folder: Path, seed: int = 0) -> str:
    """A UV generator with all that it is opened with, in `folder`; its maps are noise."""
    path = write_networks(folder, seed)["generator"]
    written = write_stylefaceuv_networks(folder)
    generator, scene = load_generator(path), FaceScene()
    model = scene.load_face_model()
    network = UVGenerator.from_generator(generator, 0.01, UVSurface.of(model))
    for head in network.to_displacement:
        nn.init.normal_(head.get_parameter("weight"))
    provenance = Provenance.of(generator, model, scene.camera)
    sources = FaceSources(path, written["coefficients"], scene.face_model_source)
    return str(network.save(folder / "uv_generator.safetensors", provenance, sources))
