"""The layout of the rosinality implementation (LiftedGAN's slim generator too): names and sizes of its state dicts, both ways.

It stores the weights of demodulated convolutions before their He scale, 1 / sqrt(fan-in); ours, like ADA's, are stored as they are
used. Demodulation cancels that scale, up to the epsilon under its root (1e-8, beside about 1). So the nearest power of two is
multiplied in: the epsilon keeps its meaning within a factor of two, and no bit of any weight is lost on the way there or back.
"""

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from models.stylegan2.discriminator import Discriminator
from models.stylegan2.generator import Generator
from models.stylegan2.kernels import check_resolutions, stored_tensor, taps_of, warn_of_missing_noise
from models.stylegan2.layers import low_pass_kernel
from renderers.errors import InputError

State = dict[str, Tensor]

# The mapping network's learning rate relative to the rest: fixed by default in this implementation and not stored in its files.
MAPPING_LR_MULTIPLIER = 0.01
# The group of the minibatch deviation: fixed in this implementation.
DEVIATION_GROUP = 4
_USUAL_TAPS = [1.0, 3.0, 3.0, 1.0]


@dataclass(frozen=True)
class _Entry:
    """One tensor under both names: theirs is ours with axes of one entry around it.

    Attributes:
        own: Our name.
        theirs: Their name.
        axes: Number of axes of ours.
        leading: Axes of one entry before these in theirs.
        trailing: Axes of one entry after these in theirs.
        scaled: Whether theirs is stored before the He scale.
    """

    own: str
    theirs: str
    axes: int
    leading: int = 0
    trailing: int = 0
    scaled: bool = False

    def read(self, tensors: Mapping[str, Any], path: Path) -> Tensor:
        """Ours, from a state dict of theirs."""
        value = stored_tensor(tensors, self.theirs, self.leading + self.axes + self.trailing, path)
        kept = value.shape[self.leading : self.leading + self.axes]
        if value.numel() != math.prod(kept):
            raise InputError(
                f"expected one entry along the outer axes of {self.theirs}, {path} has shape {tuple(value.shape)}; "
                "name a StyleGAN2 checkpoint"
            )
        value = value.reshape(kept)
        return value / _scale(value) if self.scaled else value

    def write(self, state: Mapping[str, Tensor]) -> Tensor:
        """Theirs, from a state dict of ours."""
        value = state[self.own].detach().cpu()
        value = value * _scale(value) if self.scaled else value.clone()
        return value.reshape((1,) * self.leading + value.shape + (1,) * self.trailing)


def _scale(weight: Tensor) -> float:
    # Empty weights are refused later, by their size.
    return 2.0 ** round(math.log2(max(math.prod(weight.shape[1:]), 1)) / 2)


def _linear(own: str, theirs: str) -> Iterator[_Entry]:
    yield _Entry(f"{own}.weight", f"{theirs}.weight", 2)
    yield _Entry(f"{own}.bias", f"{theirs}.bias", 1)


def _mapping_entries(layers: int) -> Iterator[_Entry]:
    for index in range(layers):
        yield from _linear(f"mapping.layers.{index}", f"style.{index + 1}")


def _synthesis_entries(levels: int) -> Iterator[_Entry]:
    """Everything of the synthesis network but the pictures of noise."""
    yield _Entry("const", "input.input", 3, leading=1)
    for index in range(2 * levels - 1):
        own, theirs = f"convolutions.{index}", "conv1" if index == 0 else f"convs.{index - 1}"
        yield _Entry(f"{own}.weight", f"{theirs}.conv.weight", 4, leading=1, scaled=True)
        yield from _linear(f"{own}.affine", f"{theirs}.conv.modulation")
        yield _Entry(f"{own}.bias", f"{theirs}.activate.bias", 1)
        yield _Entry(f"{own}.noise_strength", f"{theirs}.noise.weight", 0, leading=1)
    for level in range(levels):
        own, theirs = f"to_rgb.{level}", "to_rgb1" if level == 0 else f"to_rgbs.{level - 1}"
        yield _Entry(f"{own}.weight", f"{theirs}.conv.weight", 2, leading=1, trailing=2)
        yield from _linear(f"{own}.affine", f"{theirs}.conv.modulation")
        yield _Entry(f"{own}.bias", f"{theirs}.bias", 1, leading=1, trailing=2)


def _noise_entries(levels: int) -> Iterator[_Entry]:
    for index in range(2 * levels - 1):
        yield _Entry(f"convolutions.{index}.noise_const", f"noises.noise_{index}", 2, leading=2)


def _discriminator_entries(blocks: int) -> Iterator[_Entry]:
    def convolution(own: str, weight: str, bias: str) -> Iterator[_Entry]:
        yield _Entry(f"{own}.weight", f"{weight}.weight", 4)
        yield _Entry(f"{own}.bias", f"{bias}.bias", 1)

    yield from convolution("from_rgb", "convs.0.0", "convs.0.1")
    for index in range(blocks):
        own, theirs = f"blocks.{index}", f"convs.{index + 1}"
        yield from convolution(f"{own}.conv0", f"{theirs}.conv1.0", f"{theirs}.conv1.1")
        yield from convolution(f"{own}.conv1", f"{theirs}.conv2.1", f"{theirs}.conv2.2")
        yield _Entry(f"{own}.skip.weight", f"{theirs}.skip.1.weight", 4)
    yield from convolution("convolution", "final_conv.0", "final_conv.1")
    yield from _linear("hidden", "final_linear.0")
    yield from _linear("output", "final_linear.1")


def generator_state(
    tensors: Mapping[str, Any], latent_avg: Any, latent_std: Any, path: Path
) -> tuple[State, dict[str, Any]]:
    """Weights and constructor arguments of our `Generator` for a state dict ``g_ema``.

    Args:
        tensors: The state dict.
        latent_avg: The mean code, where the file has one.
        latent_std: The standard deviation of W, which only files that this project wrote have.
        path: The file, for messages.

    Raises:
        InputError: if tensors are missing or of another form.
    """
    levels, mapping_layers = 1, 0
    while f"to_rgbs.{levels - 1}.conv.weight" in tensors:
        levels += 1
    while f"style.{mapping_layers + 1}.weight" in tensors:
        mapping_layers += 1
    check_resolutions([4 * 2**level for level in range(levels)], path)
    first = stored_tensor(tensors, "style.1.weight", 2, path)
    state = {
        entry.own: entry.read(tensors, path) for entry in (*_mapping_entries(mapping_layers), *_synthesis_entries(levels))
    }
    without_noise = []
    for index, entry in enumerate(_noise_entries(levels)):
        # Files of early versions, and of some converters, lack the noise pictures: then every image has its own, and none is fixed.
        if entry.theirs in tensors:
            state[entry.own] = entry.read(tensors, path)
        else:
            size = 4 * 2 ** ((index + 1) // 2)
            state[entry.own] = torch.zeros(size, size)
            if bool(state[f"convolutions.{index}.noise_strength"] != 0):
                without_noise.append(entry.theirs)
    warn_of_missing_noise(without_noise, path)
    for own, theirs, value in (("mean_w", "latent_avg", latent_avg), ("std_w", "latent_std", latent_std)):
        if value is not None:
            if not isinstance(value, Tensor):
                raise InputError(f"expected a tensor as {theirs}, {path} has a {type(value).__name__}; leave it out")
            state[own] = value.flatten()
    blur = "convs.0.conv.blur.kernel"
    return state, {
        "channels": [state[f"to_rgb.{level}.weight"].shape[1] for level in range(levels)],
        "z_dim": first.shape[1],
        "w_dim": first.shape[0],
        "mapping_layers": mapping_layers,
        "mapping_lr_multiplier": MAPPING_LR_MULTIPLIER,
        "normalize_z": True,
        "blur_kernel": taps_of(stored_tensor(tensors, blur, 2, path), path) if levels > 1 else _USUAL_TAPS,
        "conv_clamp": None,
    }


def discriminator_state(tensors: Mapping[str, Any], path: Path) -> tuple[State, dict[str, Any]]:
    """Weights and constructor arguments of our `Discriminator` for a state dict ``d``.

    Raises:
        InputError: if tensors are missing or of another form.
    """
    blocks = 0
    while f"convs.{blocks + 1}.conv1.0.weight" in tensors:
        blocks += 1
    state = {entry.own: entry.read(tensors, path) for entry in _discriminator_entries(blocks)}
    channels = [state[f"blocks.{index}.conv1.weight"].shape[0] for index in range(blocks)]
    blur = "convs.1.conv2.0.kernel"
    return state, {
        "channels": [*reversed(channels), state["from_rgb.weight"].shape[0]],
        "deviation_group": DEVIATION_GROUP,
        "blur_kernel": taps_of(stored_tensor(tensors, blur, 2, path), path) if blocks else _USUAL_TAPS,
        "conv_clamp": None,
    }


def rosinality_generator(generator: Generator) -> State:
    """The state dict ``g_ema`` of a generator, which the public code's constructor with the same sizes loads strictly.

    Raises:
        InputError: for what that code has no place for: a bound on convolutions, latents of another size than codes or that are not
            normalised, another learning rate of the mapping network.
    """
    if generator.conv_clamp is not None:
        raise _clamped(generator.conv_clamp)
    if generator.z_dim != generator.w_dim:
        raise _cannot_say("latents of the size of codes", f"z_dim {generator.z_dim} and w_dim {generator.w_dim}")
    if not generator.normalize_z:
        raise _cannot_say("normalised latents", "normalize_z false")
    if generator.mapping_lr_multiplier != MAPPING_LR_MULTIPLIER:
        raise _cannot_say(
            f"a mapping network of learning rate {MAPPING_LR_MULTIPLIER}", f"mapping_lr_multiplier {generator.mapping_lr_multiplier:g}"
        )
    levels, own = len(generator.channels), generator.state_dict()
    entries = (*_mapping_entries(generator.mapping_layers), *_synthesis_entries(levels), *_noise_entries(levels))
    state = {entry.theirs: entry.write(own) for entry in entries}
    # Zero insertion spreads a picture over four times the pixels, which their filters of upsampling make good.
    kernel = low_pass_kernel(generator.blur_kernel) * 4
    for level in range(levels - 1):
        state[f"convs.{2 * level}.conv.blur.kernel"] = kernel.clone()
        state[f"to_rgbs.{level}.upsample.kernel"] = kernel.clone()
    return state


def rosinality_discriminator(discriminator: Discriminator) -> State:
    """The state dict ``d`` of a discriminator, which the public code's constructor with the same sizes loads strictly.

    Raises:
        InputError: for what that code has no place for: a bound on convolutions, other groups of the minibatch deviation.
    """
    if discriminator.conv_clamp is not None:
        raise _clamped(discriminator.conv_clamp)
    if discriminator.deviation_group != DEVIATION_GROUP:
        raise _cannot_say(
            f"groups of {DEVIATION_GROUP} in the minibatch deviation", f"deviation_group {discriminator.deviation_group}"
        )
    blocks, own = len(discriminator.channels) - 1, discriminator.state_dict()
    state = {entry.theirs: entry.write(own) for entry in _discriminator_entries(blocks)}
    kernel = low_pass_kernel(discriminator.blur_kernel)
    for index in range(blocks):
        state[f"convs.{index + 1}.conv2.0.kernel"] = kernel.clone()
        state[f"convs.{index + 1}.skip.0.kernel"] = kernel.clone()
    return state


def public_channel_multiplier(channels: tuple[int, ...]) -> int | None:
    """The argument with which the public code's constructors make these channels; None where no argument does.

    Args:
        channels: At 4, 8, 16, ... pixels.
    """
    wide = [512] * 4
    if list(channels) == wide[: len(channels)]:
        return 2  # their default: up to 32 pixels it makes no difference
    multiplier = channels[4] // 256 if len(channels) > 4 else 0
    expected = [*wide, *(256 // 2**level * multiplier for level in range(len(channels) - 4))]
    return multiplier if multiplier and list(channels) == expected else None


def _clamped(bound: float) -> InputError:
    return InputError(
        f"expected convolutions without a bound on their outputs, as the rosinality layout has, got conv_clamp {bound:g}; leave it out "
        "with --drop_conv_clamp, which says what that changes, or write a .safetensors file"
    )


def _cannot_say(expected: str, found: str) -> InputError:
    return InputError(f"expected {expected}, as the rosinality layout has, got {found}; write a .safetensors file instead")
