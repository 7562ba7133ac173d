"""LiftedGAN from the checkpoints of its authors (`.pth`, with their generator's `.pt`), read without running anything in them.

Their networks: netD (depth), netT (transformation map), netSD (light and view; its style branch is unused), netSC (M). Sizes are
read from the tensors; ranges and the other choices are those of the authors' code, which files do not carry.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import Tensor

from models.lifted_gan.model import LiftedGAN
from models.lifted_gan.networks import decoder_channels
from models.lifted_gan.settings import LiftedSettings
from models.safe_pickle import read_pickle
from models.stylegan2.loading import load_generator
from models.weights import build_from, fill, is_safetensors, locate
from renderers.errors import InputError

# Where each of their modules goes in `LiftedNetworks`; an empty name in theirs is the whole network.
_PLACES = (
    ("netD", "", "depth"),
    ("netT", "", "transformation"),
    ("netSD", "model_light.", "light"),
    ("netSD", "model_view.", "view"),
    ("netSC", "", "manipulation"),
)
_NETWORKS = ("netD", "netT", "netSD", "netSC")
# In every file, and never called by their code.
_UNUSED = "model_style."


def load_official(checkpoint: str | Path, generator_checkpoint: str | Path) -> LiftedGAN:
    """Read a lifted generator of the authors, frozen and in evaluation mode.

    Args:
        checkpoint: Their `.pth`, as given or relative to the project root.
        generator_checkpoint: The generator that it was trained for: their `.pt`, or any file of it that `load_generator` reads.

    Returns:
        The model; called with codes of W it gives `LiftedOutput`.

    Raises:
        InputError: if a file is missing, cut short, another format or of another kind, or if the two are of different sizes.
    """
    path = locate(checkpoint)
    networks = _networks(path)
    generator = load_generator(generator_checkpoint)
    resolution, settings = _sizes(networks, path)
    if resolution != generator.resolution:
        raise InputError(
            f"expected a generator of {resolution} pixels for {path}, {generator_checkpoint} makes {generator.resolution}; "
            "name the generator that it was trained for"
        )
    style = networks["netSC"]["embed_style.mlp.0.weight"].shape[1]
    if style != generator.w_dim:
        raise InputError(
            f"expected a generator of codes of width {style} for {path}, that of {generator_checkpoint} is {generator.w_dim}; "
            "name the generator that it was trained for"
        )
    model = build_from(path, lambda: LiftedGAN(generator, settings))
    state: dict[str, Tensor] = {}
    for network, theirs, own in _PLACES:
        part = {name: value for name, value in networks[network].items() if name.startswith(theirs)}
        state |= {f"{own}.{name.removeprefix(theirs)}": value for name, value in part.items()}
    known = tuple(theirs for network, theirs, _ in _PLACES if network == "netSD") + (_UNUSED,)
    state |= {f"netSD.{name}": value for name, value in networks["netSD"].items() if not name.startswith(known)}
    fill(model.networks, state, path)
    return model.eval().requires_grad_(False)


def _networks(path: Path) -> dict[str, dict[str, Tensor]]:
    """The state dicts of a file."""
    if is_safetensors(path):
        raise InputError(
            f"expected a .pth of LiftedGAN's authors, {path} holds weights of this project or of another safetensors file; load it with "
            "LiftedGAN.load"
        )
    contents = read_pickle(path)
    if not isinstance(contents, dict):
        raise InputError(
            f"expected a checkpoint of LiftedGAN's authors, {path} holds a {type(contents).__name__}; name another file"
        )
    missing = [name for name in _NETWORKS if name not in contents]
    if missing and ("g_ema" in contents or "style.1.weight" in contents):
        raise InputError(
            f"expected a lifted generator, {path} holds a StyleGAN2 generator; give it as the generator, and beside it the .pth "
            "that was trained for it"
        )
    if missing:
        names = ", ".join(" ".join(str(name).split())[:40] for name in list(contents)[:6]) or "nothing"
        raise InputError(
            f"expected a checkpoint of LiftedGAN's authors with {', '.join(_NETWORKS)}, {path} lacks {missing[0]} (it holds {names}); "
            "name another file"
        )
    return {name: _tensors(contents[name], name, path) for name in _NETWORKS}


def _tensors(state: Any, network: str, path: Path) -> dict[str, Tensor]:
    if not isinstance(state, Mapping) or not all(isinstance(name, str) for name in state):
        raise InputError(f"expected named tensors in {network}, {path} has a {type(state).__name__}; fetch it again")
    for name, value in state.items():
        if not isinstance(value, Tensor):
            raise InputError(
                f"expected a tensor in {network}.{name}, {path} has a {type(value).__name__}; fetch it again"
            )
    return dict(state)


def _sizes(networks: Mapping[str, Mapping[str, Tensor]], path: Path) -> tuple[int, LiftedSettings]:
    """Resolution and settings that the shapes of tensors tell."""

    def size(network: str, name: str, axis: int, axes: int) -> int:
        value = networks[network].get(name)
        if value is None or value.ndim != axes or not value.numel():
            found = "none" if value is None else f"one of shape {tuple(value.shape)}"
            raise InputError(
                f"expected a tensor of {axes} axes as {network}.{name}, {path} has {found}; name a checkpoint of LiftedGAN's authors"
            )
        return value.shape[axis]

    # Each doubling is six layers: deconvolution, normalisation, activation, and the same with a convolution.
    doublings = 0
    while f"network.{4 + 6 * doublings}.weight" in networks["netD"]:
        doublings += 1
    resolution = 8 * 2**doublings
    size("netSC", "embed_style.mlp.0.weight", 1, 2)
    try:
        settings = LiftedSettings(
            mlp_width=size("netSD", "model_view.mlp.0.weight", 0, 2),
            map_mlp_width=size("netT", "mlp.0.weight", 0, 2),
            base_channels=size("netD", "head.0.weight", 0, 4),
            max_channels=size("netD", "network.0.weight", 1, 4),
            normalise_manipulation="embed_style.mlp.10.weight" in networks["netSC"],
        )
    except InputError as error:
        raise InputError(f"expected sizes of LiftedGAN's networks in {path}: {error}") from error
    if decoder_channels(resolution, settings)[0] != settings.max_channels:
        raise InputError(
            f"expected decoder channels that double from {settings.base_channels}, {path} starts with {settings.max_channels} at 4 "
            f"pixels of {resolution}; name a checkpoint of LiftedGAN's authors"
        )
    return resolution, settings
