"""Generators and discriminators from files: this project's weights, StyleGAN2-ADA pickles, rosinality checkpoints.

Nothing in a file is executed (`models.safe_pickle`), and everything about the network is read from its tensors and stored options.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from models.safe_pickle import InertRecord, read_pickle
from models.stylegan2 import ada, rosinality
from models.stylegan2.discriminator import Discriminator
from models.stylegan2.generator import Generator
from models.stylegan2.latents import code_statistics
from models.weights import build_from, fill, load_weights, locate, save_weights
from renderers.errors import InputError

GENERATOR_KIND = "stylegan2-generator"
DISCRIMINATOR_KIND = "stylegan2-discriminator"

Layout = Literal["latentrig", "ada", "rosinality"]


@dataclass(frozen=True)
class GeneratorFacts:
    """What a generator file holds.

    Attributes:
        layout: Which implementation wrote it.
        resolution: Size of its images, in pixels.
        layers: Codes that a W+ code has.
        w_dim: Size of a code of W.
        z_dim: Size of a latent.
        mapping_layers: Layers of its mapping network.
        channels: Feature channels at 4, 8, 16, ... pixels.
        parameters: Number of weights.
        has_mean_code: Whether the file carries the mean of W; it is estimated from samples otherwise.
    """

    layout: Layout
    resolution: int
    layers: int
    w_dim: int
    z_dim: int
    mapping_layers: int
    channels: tuple[int, ...]
    parameters: int
    has_mean_code: bool


def load_generator(path: str | Path) -> Generator:
    """Read a generator, frozen and in evaluation mode.

    The mean code is the file's own where it has one; it and the standard deviation of W are otherwise estimated from codes of fixed
    latents.

    Args:
        path: ``.safetensors`` of this project, StyleGAN2-ADA ``.pkl``, or rosinality ``.pt``; as given or relative to the project.

    Raises:
        InputError: if the file is missing, cut short, of another kind, class-conditional, or of StyleGAN3.
    """
    generator, _, _ = _read_generator(path)
    return generator


def describe_generator(path: str | Path) -> GeneratorFacts:
    """What a generator file holds; reads the whole file and raises as `load_generator` does."""
    generator, layout, has_mean_code = _read_generator(path)
    return GeneratorFacts(
        layout=layout,
        resolution=generator.resolution,
        layers=generator.num_layers,
        w_dim=generator.w_dim,
        z_dim=generator.z_dim,
        mapping_layers=generator.mapping_layers,
        channels=generator.channels,
        parameters=sum(parameter.numel() for parameter in generator.parameters()),
        has_mean_code=has_mean_code,
    )


def save_generator(path: str | Path, generator: Generator) -> Path:
    """Write a generator with its statistics of W as this project's weights."""
    return save_weights(path, generator.state_dict(), GENERATOR_KIND, generator.config)


def save_discriminator(path: str | Path, discriminator: Discriminator) -> Path:
    """Write a discriminator as this project's weights."""
    return save_weights(path, discriminator.state_dict(), DISCRIMINATOR_KIND, discriminator.config)


def load_discriminator(path: str | Path) -> Discriminator:
    """Read a discriminator in training mode, from the same kinds of files as `load_generator`.

    Raises:
        InputError: if the file is missing, cut short, holds none, or one of an architecture other than the residual one.
    """
    path = locate(path)
    if path.suffix == ".safetensors":
        state, config = load_weights(path, DISCRIMINATOR_KIND)
    else:
        contents = _contents(path)
        if isinstance(contents.get("D"), InertRecord):
            state, config = ada.discriminator_state(contents["D"], path)
        elif isinstance(contents.get("d"), dict):
            state, config = rosinality.discriminator_state(contents["d"], path)
        else:
            raise InputError(f"expected a StyleGAN2 discriminator, {path} holds {_summary(contents)}; name a file with one")
    discriminator = build_from(path, lambda: Discriminator(**config))
    fill(discriminator, state, path)
    return discriminator


def _read_generator(path: str | Path) -> tuple[Generator, Layout, bool]:
    path = locate(path)
    layout: Layout
    if path.suffix == ".safetensors":
        state, config = load_weights(path, GENERATOR_KIND)
        layout = "latentrig"
    else:
        contents = _contents(path)
        record = contents.get("G_ema", contents.get("G"))
        if isinstance(record, InertRecord):
            state, config = ada.generator_state(record, path)
            layout = "ada"
        elif isinstance(contents.get("g_ema"), dict):
            state, config = rosinality.generator_state(contents["g_ema"], contents.get("latent_avg"), path)
            layout = "rosinality"
        else:
            raise InputError(f"expected a StyleGAN2 generator, {path} holds {_summary(contents)}; name a generator's file")
    generator = build_from(path, lambda: Generator(**config))
    has_mean_code = "mean_w" in state
    if "mean_w" not in state or "std_w" not in state:
        # The statistics need the mapping network, which they are then stored beside.
        fill(generator, {"mean_w": generator.mean_w, "std_w": generator.std_w, **state}, path)
        mean, deviation = code_statistics(generator.mapping, generator.z_dim)
        state = {"mean_w": mean, "std_w": deviation, **state}
    fill(generator, state, path)
    return generator.eval().requires_grad_(False), layout, has_mean_code


def _contents(path: Path) -> dict[str, Any]:
    contents = read_pickle(path)
    # A network saved by itself, rather than among others, reads like a file that holds it alone.
    if isinstance(contents, InertRecord):
        return {"G_ema": contents}
    if not isinstance(contents, dict):
        raise InputError(f"expected a checkpoint with named networks, {path} holds a {type(contents).__name__}; name another")
    return contents


def _summary(contents: Mapping[str, Any]) -> str:
    names = [str(name) for name in contents]
    return "nothing" if not names else ", ".join(names[:6]) + (", ..." if len(names) > 6 else "")
