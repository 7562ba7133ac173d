"""StyleGAN2 files from one layout to another: into this project's, and back to rosinality's."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import torch
from jaxtyping import Float
from torch import Tensor

from models.stylegan2.discriminator import Discriminator
from models.stylegan2.generator import Generator
from models.stylegan2.loading import (
    has_discriminator,
    load_discriminator,
    load_generator,
    read_discriminator,
    read_generator,
    save_discriminator,
    save_generator,
)
from models.stylegan2.rosinality import public_channel_multiplier, rosinality_discriminator, rosinality_generator
from models.stylegan2.sampling import codes_of_seeds
from models.weights import locate, whole_path
from renderers.errors import InputError

Networks = Literal["all", "generator", "discriminator"]

# Enough for a figure of what leaving out a bound does; more would make converting slow at 1024 pixels.
_COMPARED_SEEDS = range(8)


def convert_networks(
    source: str | Path,
    target: str | Path,
    networks: Networks = "all",
    discriminator: str | Path | None = None,
    drop_conv_clamp: bool = False,
    overwrite: bool = False,
    half: bool = False,
) -> list[str]:
    """Write the networks of a file in the layout that the target's name ends in.

    Args:
        source: Anything that `load_generator` reads.
        target: ``.safetensors`` of this project, which holds one network, or ``.pt`` of the rosinality layout.
        networks: Which to write. For a ``.pt``, all there are; for a ``.safetensors``, all means the generator.
        discriminator: Another file to take the discriminator from; by default the source, where it has one.
        drop_conv_clamp: Leave out the bound on the outputs of convolutions, which the rosinality layout cannot say.
        overwrite: Replace a file at `target`.
        half: Write a generator's matrices as float16 into a ``.safetensors``, half as large.

    Returns:
        Lines that say what was written and what a user should know of it.

    Raises:
        InputError: for a source that cannot be read, a target of another kind, or one that exists, networks that the target's layout
            cannot say, or weights beyond the range of half precision. No file is written then.
    """
    source, target = locate(source), Path(target)
    if target.suffix not in (".safetensors", ".pt"):
        raise InputError(f"expected an output that ends in .safetensors or .pt, got {target}; rename it")
    if target.exists() and any(target.samefile(path) for path in (source, discriminator) if path is not None and Path(path).exists()):
        raise InputError(f"expected another output than the input, got {target} for both; rename it")
    if target.is_dir() or (target.exists() and not overwrite):
        raise InputError(f"expected no file at {target} yet, there is one; rename the output, or give --overwrite")
    if networks == "generator" and discriminator is not None:
        raise InputError("expected no file with a discriminator where the generator alone is written; leave one of the two out")
    if half and (target.suffix == ".pt" or networks == "discriminator"):
        raise InputError(f"expected half for a generator in .safetensors, got it for {networks} in {target}; leave it out")
    if target.suffix == ".pt":
        return _to_rosinality(source, target, networks, discriminator, drop_conv_clamp)
    if drop_conv_clamp:
        raise InputError("expected an output that ends in .pt to drop the bound of convolutions for, this format keeps it; leave it out")
    if networks == "discriminator":
        critic, origin = read_discriminator(discriminator or source)
        save_discriminator(target, critic, _foreign(origin))
        return [f"discriminator of {critic.resolution} px in {target}"]
    if discriminator is not None:
        raise InputError(f"expected one network for {target}, got a generator and a discriminator; convert the discriminator by itself")
    stored = read_generator(source)
    generator = stored.network
    save_generator(target, generator, _foreign(stored.origin), half)
    lines = [f"generator of {_sizes(generator)} in {target}"]
    if half:
        rounded = load_generator(target)
        difference = max(_difference(generator, rounded, rows) for rows in codes_of_seeds(generator, _COMPARED_SEEDS).split(1))
        lines.append(
            f"in half precision, pictures of seeds {_COMPARED_SEEDS[0]} to {_COMPARED_SEEDS[-1]} change by at most {difference:.1g} in "
            "[-1, 1]; what is trained for the one file is refused beside the other"
        )
    if networks == "all" and has_discriminator(source):
        lines.append(f"{source} holds a discriminator too, which goes into a file of its own: --networks discriminator")
    return lines


def _to_rosinality(
    source: Path, target: Path, networks: Networks, discriminator: str | Path | None, drop_conv_clamp: bool
) -> list[str]:
    contents: dict[str, Any] = {}
    lines = []
    if networks != "discriminator":
        generator = load_generator(source)
        if drop_conv_clamp and generator.conv_clamp is not None:
            generator, difference = _without_clamp(generator)
            seeds = f"{_COMPARED_SEEDS[0]} to {_COMPARED_SEEDS[-1]}"
            lines.append(f"without the bound on convolutions, pictures of seeds {seeds} change by at most {difference:.1g} in [-1, 1]")
        contents |= {"g_ema": rosinality_generator(generator)}
        # Their own scripts read the mean; the deviation is there so that nothing is lost on the way back.
        contents |= {"latent_avg": generator.mean_w.clone(), "latent_std": generator.std_w.clone()}
        lines.append(f"generator of {_sizes(generator)} in {target}: {_constructor('Generator', generator)}")
    wanted = networks == "discriminator" or discriminator is not None
    if networks != "generator" and (wanted or has_discriminator(source)):
        critic = load_discriminator(discriminator or source)
        if contents and critic.resolution != generator.resolution:
            raise InputError(
                f"expected a discriminator of the generator's {generator.resolution} px, got one of {critic.resolution} px; name another"
            )
        if drop_conv_clamp and critic.conv_clamp is not None:
            critic = _rebuilt(critic, Discriminator(**{**critic.config, "conv_clamp": None}))
            lines.append("the discriminator was written without the bound on its convolutions")
        contents["d"] = rosinality_discriminator(critic)
        lines.append(f"discriminator of {critic.resolution} px in {target}: {_constructor('Discriminator', critic)}")
    if drop_conv_clamp and not any("without the bound" in line for line in lines):
        lines.append("there was no bound on convolutions to leave out")
    _save_torch(target, contents)
    return lines


def _foreign(origin: str) -> str:
    """What converted weights say of where they come from: the layout of others, whose licence binds them."""
    return "" if origin == "latentrig" else origin


def _sizes(generator: Generator) -> str:
    return f"{generator.resolution} px, {generator.num_layers} layers of width {generator.w_dim}"


def _constructor(name: str, network: Generator | Discriminator) -> str:
    """The call of the public code that builds a network which loads what was written."""
    multiplier = public_channel_multiplier(network.channels)
    sizes = [network.resolution]
    if isinstance(network, Generator):
        sizes += [network.w_dim, network.mapping_layers]
    if multiplier is None:
        channels = ", ".join(str(channel) for channel in network.channels)
        return f"the public code's {name} loads it once its table of channels is {channels} (4 px upwards)"
    taps = "" if network.blur_kernel == (1.0, 3.0, 3.0, 1.0) else f", blur_kernel={list(network.blur_kernel)}"
    return f"load it with {name}({', '.join(map(str, sizes))}, channel_multiplier={multiplier}{taps})"


def _rebuilt(network: Any, like: Any) -> Any:
    like.load_state_dict(network.state_dict())
    return like.eval().requires_grad_(False)


def _without_clamp(generator: Generator) -> tuple[Generator, float]:
    """The generator without its bound, and the largest change of a few pictures, at full strength, by that."""
    bare = _rebuilt(generator, Generator(**{**generator.config, "conv_clamp": None}))
    codes = codes_of_seeds(generator, _COMPARED_SEEDS)
    return bare, max(_difference(generator, bare, rows) for rows in codes.split(1))


@torch.no_grad()
def _difference(one: Generator, other: Generator, codes: Float[Tensor, "codes width"]) -> float:
    images: Sequence[Tensor] = [network.synthesis(network.broadcast(codes)) for network in (one, other)]
    return float((images[0] - images[1]).abs().max())


def _save_torch(path: Path, contents: dict[str, Any]) -> None:
    """`torch.save` that leaves the earlier file or the whole new one, never a part."""
    with whole_path(path) as temporary:
        torch.save(contents, temporary)
