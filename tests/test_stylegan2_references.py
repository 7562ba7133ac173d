"""Generators from files against what the public implementations computed: within 1e-3 of the standard deviation of each output."""

from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from models.stylegan2 import Generator, load_generator
from tests.stylegan2_files import (
    DATA,
    ada_network,
    ada_value,
    filled,
    reference_state,
    rosinality_value,
    write_ada,
    write_rosinality,
)

SHARED = Path(__file__).resolve().parents[1].parent / "shared"
Z = torch.from_numpy(np.random.default_rng(11).standard_normal((2, 512)).astype("float32"))

pytestmark = pytest.mark.filterwarnings("ignore:.*carries no mean of W")


def matches(ours: torch.Tensor, theirs: np.ndarray, tolerance: float) -> None:
    """The largest difference is below `tolerance` standard deviations of the reference; what was measured is a tenth or less."""
    reference = torch.from_numpy(theirs.astype("float32"))
    assert ours.shape == reference.shape
    difference = float((ours - reference).abs().max() / reference.std())
    assert difference < tolerance, f"{difference:.1e} standard deviations"


def check_rosinality(generator: Generator, reference, stride: int) -> None:
    with torch.no_grad():
        matches(generator.mapping(Z), reference["w"], 1e-5)
        image = generator.synthesis(generator.broadcast(torch.from_numpy(reference["w"])))
        matches(image[:, :, ::stride, ::stride], reference["image"], 1e-4)
        image = generator.synthesis(torch.from_numpy(reference["w_plus"]))
        matches(image[:, :, ::stride, ::stride], reference["image_w_plus"], 1e-4)


@pytest.mark.parametrize("name, stride", [("32px_cm2", 1), ("128px_cm1", 4)])
def test_rosinality(tmp_path, name, stride):
    reference = np.load(DATA / f"stylegan2_rosinality_{name}.npz")
    state = reference_state(reference, rosinality_value)
    generator = load_generator(write_rosinality(tmp_path / "g.pt", state))
    assert (generator.resolution, generator.w_dim, generator.mapping_layers) == (int(name.split("px")[0]), 512, 8)
    assert not any(parameter.requires_grad for parameter in generator.parameters()) and not generator.training
    check_rosinality(generator, reference, stride)


@pytest.mark.parametrize("layout", ["ada", "stylegan3 repository"])
def test_ada(tmp_path, layout):
    reference = np.load(DATA / "stylegan2_ada_32px.npz")
    network = ada_network("Generator", reference_state(reference, ada_value))
    for block in ("b4", "b8", "b16", "b32"):
        if layout == "ada":
            network.module("synthesis", block, "conv1").attributes["conv_clamp"] = 256
        else:
            network.module("synthesis", block).attributes |= {"fused_modconv_default": "inference_only", "use_fp16": False}
    path = write_ada(tmp_path / "g.pkl", G=network, D=network, G_ema=network)
    generator = load_generator(path)
    assert generator.conv_clamp == 256
    with torch.no_grad():
        codes = generator.broadcast(generator.mapping(Z))
        matches(codes, reference["w"], 1e-5)
        matches(generator.truncate(codes, 0.7), reference["w_truncated_0_7"], 1e-5)
        matches(generator(Z), reference["image"], 1e-4)


def test_real_ada_pickle():
    folder = SHARED / "data" / "real_faces_64px"
    if not folder.exists():
        pytest.skip(f"needs {folder}")
    reference = np.load(folder / "reference.npz")
    generator = load_generator(folder / "generator.pkl")
    assert (generator.resolution, generator.num_layers, generator.w_dim, generator.z_dim) == (64, 10, 128, 128)
    assert (generator.conv_clamp, generator.mapping_layers) == (256, 4)
    with torch.no_grad():
        codes = generator.mapping(torch.from_numpy(reference["z"]))
        matches(codes, reference["w"], 1e-5)
        matches(generator.synthesis(generator.broadcast(codes[:4])), reference["image"], 1e-4)


def perceptron(state: dict[str, torch.Tensor], name: str, x: torch.Tensor) -> torch.Tensor:
    """LiftedGAN's normalised multilayer perceptron: groups of four features, and a scale and shift of the result where it has one."""
    for layer in (0, 3, 6):
        x = F.linear(x, state[f"{name}.mlp.{layer}.weight"], state[f"{name}.mlp.{layer}.bias"])
        x = F.group_norm(x, x.shape[1] // 4, state[f"{name}.mlp.{layer + 1}.weight"], state[f"{name}.mlp.{layer + 1}.bias"])
        x = F.leaky_relu(x, 0.2)
    x = F.linear(x, state[f"{name}.mlp.9.weight"], state[f"{name}.mlp.9.bias"])
    scale = state.get(f"{name}.mlp.10.weight")
    return x if scale is None else x * scale + state[f"{name}.mlp.10.bias"]


def test_slim_generator_of_liftedgan(tmp_path):
    """Its texture is the picture of a code that its style network makes from W, the strengths of the light, and a frontal view."""
    reference = np.load(DATA / "liftedgan_generator_256px.npz")
    generator_state, style_state = {}, {}
    for line in reference["keys"]:
        network, name, sizes = str(line).split(" ", 2)
        shape = tuple(int(size) for size in sizes.strip("()").split(",") if size.strip())
        if network == "generator":
            generator_state[name] = rosinality_value(name, shape, prefix="generator.")
        else:
            a = filled(f"netSC.{name}", shape)
            scaled = a * np.sqrt(2 / a[0].size) if a.ndim > 1 else 0.1 * a + name.endswith("weight")
            style_state[name] = torch.from_numpy(scaled.astype("float32"))
    torch.save({"g_ema": generator_state}, tmp_path / "slim.pt")
    generator = load_generator(tmp_path / "slim.pt")
    assert generator.channels == (512, 512, 256, 128, 64, 32, 16)
    w, light = torch.from_numpy(reference["w"]), torch.from_numpy(reference["light"])
    with torch.no_grad():
        matches(generator.mapping(Z), reference["w"], 1e-5)
        strengths = torch.cat([light[:, :2], torch.zeros(2, 2)], dim=1)
        parts = {"embed_style": w, "embed_light": strengths, "embed_view": torch.zeros(2, 6)}
        code = perceptron(style_state, "model", sum(perceptron(style_state, name, x) for name, x in parts.items()))
        # The stored picture has the eleven bits of half precision, which are most of the difference.
        matches(generator.synthesis(generator.broadcast(code))[:, :, ::4, ::4], reference["raw"], 1e-3)
