"""Generators and discriminators from files: this project's weights, StyleGAN2-ADA pickles, rosinality checkpoints.

Nothing in a file is executed (`models.safe_pickle`), and everything about the network is read from its tensors and stored options.
"""

import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import torch

from models.safe_pickle import InertRecord, read_pickle
from models.stylegan2 import ada, rosinality
from models.stylegan2.discriminator import Discriminator
from models.stylegan2.generator import Generator
from models.stylegan2.latents import code_statistics
from models.weights import (
    build_from,
    describe_weights,
    fill,
    half_matrices,
    is_safetensors,
    load_weights,
    locate,
    save_weights,
)
from renderers.errors import InputError

GENERATOR_KIND = "stylegan2-generator"
DISCRIMINATOR_KIND = "stylegan2-discriminator"

Layout = Literal["latentrig", "ada", "rosinality"]


@dataclass(frozen=True)
class StoredGenerator:
    """A generator as a file holds it.

    Attributes:
        network: Frozen and in evaluation mode.
        layout: Which implementation wrote the file.
        origin: Layout of the file that it was first converted from, else that of this one.
        has_mean_code: Whether the file carries the mean of W; it is estimated from samples otherwise.
    """

    network: Generator
    layout: Layout
    origin: str
    has_mean_code: bool


@dataclass(frozen=True)
class GeneratorFacts:
    """What a generator file holds.

    Attributes:
        layout: Which implementation wrote it.
        origin: Layout of the file that it was first converted from, else that of this one.
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
    origin: str
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
    latents, the same on each reading; a warning says so of the mean.

    Args:
        path: ``.safetensors`` of this project, ``.pkl`` of StyleGAN2-ADA or of the StyleGAN3 repository, rosinality ``.pt`` (also one
            network's state dict by itself); as given or relative to the project.

    Raises:
        InputError: if the file is missing, cut short, of another kind, class-conditional, or of StyleGAN3.
    """
    return read_generator(path).network


def describe_generator(path: str | Path) -> GeneratorFacts:
    """What a generator file holds; reads the whole file and raises as `load_generator` does."""
    stored = read_generator(path, warn=False)
    generator = stored.network
    return GeneratorFacts(
        layout=stored.layout,
        origin=stored.origin,
        resolution=generator.resolution,
        layers=generator.num_layers,
        w_dim=generator.w_dim,
        z_dim=generator.z_dim,
        mapping_layers=generator.mapping_layers,
        channels=generator.channels,
        parameters=sum(parameter.numel() for parameter in generator.parameters()),
        has_mean_code=stored.has_mean_code,
    )


def save_generator(path: str | Path, generator: Generator, origin: str = "", half: bool = False) -> Path:
    """Write a generator with its statistics of W as this project's weights.

    Args:
        path: Where to write.
        generator: The generator.
        origin: Layout that it was converted from.
        half: Write matrices as float16. What is read back is then another generator to `generator_digest`, as its weights are rounded.

    Raises:
        InputError: for half precision of weights beyond its range; nothing is written then.
    """
    state = half_matrices(generator.state_dict()) if half else generator.state_dict()
    beyond = [name for name, value in state.items() if not bool(torch.isfinite(value).all())] if half else []
    if beyond:
        raise InputError(
            f"expected weights of at most 65504 for half precision, {beyond[0]} of this generator has larger ones; leave half out"
        )
    return save_weights(path, state, GENERATOR_KIND, generator.config, origin)


def save_discriminator(path: str | Path, discriminator: Discriminator, origin: str = "") -> Path:
    """Write a discriminator as this project's weights; `origin` is the layout that it was converted from."""
    return save_weights(path, discriminator.state_dict(), DISCRIMINATOR_KIND, discriminator.config, origin)


def load_discriminator(path: str | Path) -> Discriminator:
    """Read a discriminator in training mode, from the same kinds of files as `load_generator`.

    Raises:
        InputError: if the file is missing, cut short, holds none, or one of an architecture other than the residual one.
    """
    return read_discriminator(path)[0]


def read_discriminator(path: str | Path) -> tuple[Discriminator, str]:
    """Read a discriminator as `load_discriminator` does, and the layout that its file was first converted from, else the file's own."""
    path = locate(path)
    if is_safetensors(path):
        state, config = load_weights(path, DISCRIMINATOR_KIND)
        origin = describe_weights(path).origin or "latentrig"
    else:
        contents = _contents(path)
        stored = _stored_discriminator(contents)
        if isinstance(stored, InertRecord):
            state, config = ada.discriminator_state(stored, path)
            origin = "ada"
        elif stored is not None:
            state, config = rosinality.discriminator_state(stored, path)
            origin = "rosinality"
        else:
            raise InputError(f"expected a StyleGAN2 discriminator, {path} holds {_summary(contents)}; name a file with one")
    discriminator = build_from(path, lambda: Discriminator(**config))
    fill(discriminator, state, path)
    return discriminator, origin


def has_discriminator(path: str | Path) -> bool:
    """Whether a file holds a discriminator of any kind, perhaps beside a generator.

    Raises:
        InputError: if the file is missing, cut short or another format.
    """
    path = locate(path)
    if is_safetensors(path):
        return describe_weights(path).kind == DISCRIMINATOR_KIND
    return _stored_discriminator(_contents(path)) is not None


def networks_in(contents: Any, path: Path) -> frozenset[Literal["generator", "discriminator"]]:
    """Which networks of other people's layouts a file holds, from what `read_pickle` gave for it.

    What is found can still turn out to be of another kind when it is loaded.

    Raises:
        InputError: for networks of TensorFlow.
    """
    if not isinstance(contents, (dict, InertRecord, tuple, list)):
        return frozenset()
    _refuse_tensorflow(contents, path)
    named = _named(contents)
    found = {"generator": _stored_generator(named), "discriminator": _stored_discriminator(named)} if named else {}
    return frozenset(name for name, stored in found.items() if stored is not None)  # type: ignore[misc]


def read_generator(path: str | Path, warn: bool = True) -> StoredGenerator:
    """Read a generator as `load_generator` does, with what else its file says.

    Args:
        path: The file.
        warn: Whether to warn of an estimated mean.
    """
    path = locate(path)
    layout: Layout
    if is_safetensors(path):
        state, config = load_weights(path, GENERATOR_KIND)
        _check_depth(config, state, path)
        layout, origin = "latentrig", describe_weights(path).origin
    else:
        contents = _contents(path)
        stored, origin = _stored_generator(contents), ""
        if isinstance(stored, InertRecord):
            state, config = ada.generator_state(stored, path)
            layout = "ada"
        elif stored is not None:
            state, config = rosinality.generator_state(stored, contents.get("latent_avg"), contents.get("latent_std"), path)
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
    if warn and not has_mean_code:
        warnings.warn(
            f"{path} carries no mean of W: it was estimated from 10,000 fixed latents; truncation is relative to it", stacklevel=2
        )
    fill(generator, state, path)
    return StoredGenerator(generator.eval().requires_grad_(False), layout, origin or layout, has_mean_code)


def _stored_generator(contents: Mapping[str, Any]) -> InertRecord | dict[str, Any] | None:
    record = contents.get("G_ema", contents.get("G"))
    if isinstance(record, InertRecord):
        return record
    # The training script names the averaged network; others keep the state dict of one network alone.
    tensors = contents.get("g_ema", contents.get("g", contents))
    named = "g_ema" in contents or "g" in contents or "style.1.weight" in contents
    return tensors if named and isinstance(tensors, dict) else None


def _stored_discriminator(contents: Mapping[str, Any]) -> InertRecord | dict[str, Any] | None:
    record, tensors = contents.get("D"), contents.get("d", contents)
    if isinstance(record, InertRecord):
        return record
    return tensors if isinstance(tensors, dict) and "final_linear.0.weight" in tensors else None


def _check_depth(config: Mapping[str, Any], state: Mapping[str, Any], path: Path) -> None:
    """Refuse a configuration of another depth than the tensors have, before a network of that depth is built."""
    layers = config.get("mapping_layers")
    if isinstance(layers, int) and f"mapping.layers.{layers - 1}.weight" not in state:
        raise InputError(
            f"expected a configuration that fits its tensors, that of {path} has {layers} mapping layers; write the file again"
        )


def _contents(path: Path) -> dict[str, Any]:
    if not path.is_dir() and path.stat().st_size == 0:
        raise InputError(f"expected a StyleGAN2 checkpoint, {path} is empty; fetch it again")
    contents = read_pickle(path)
    _refuse_tensorflow(contents, path)
    named = _named(contents)
    if named is None:
        raise InputError(f"expected a checkpoint with named networks, {path} holds a {type(contents).__name__}; name another")
    return named


def _named(contents: Any) -> dict[str, Any] | None:
    # A network saved by itself, rather than among others, reads like a file that holds it alone.
    if isinstance(contents, InertRecord):
        discriminates = ada.class_name(contents) == "Discriminator"
        return {"D" if discriminates else "G_ema": contents}
    return contents if isinstance(contents, dict) else None


def _refuse_tensorflow(contents: Any, path: Path) -> None:
    parts = contents if isinstance(contents, tuple | list) else [contents]
    if any(isinstance(part, InertRecord) and part.class_name.startswith("dnnlib.tflib.") for part in parts):
        raise InputError(
            f"expected networks of PyTorch, {path} holds networks of TensorFlow; convert it with the script legacy.py of the "
            "StyleGAN2-ADA repository first"
        )


def _summary(contents: Mapping[str, Any]) -> str:
    names = [" ".join(str(name).split())[:40] for name in contents]
    return "nothing" if not names else ", ".join(names[:6]) + (", ..." if len(names) > 6 else "")
