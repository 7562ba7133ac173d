"""The layout of the rosinality implementation (LiftedGAN's slim generator too): names and sizes of its state dicts.

It stores convolution weights before their He scale; ours, like ADA's, are stored as they are used, so the scale is multiplied in. The
scale of a demodulated convolution cancels, up to the epsilon under its root, which is why it is kept.
"""

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from models.stylegan2.kernels import stored_tensor, taps_of, warn_of_missing_noise
from renderers.errors import InputError

State = dict[str, Tensor]

# The mapping network's learning rate relative to the rest: fixed by default in this implementation and not stored in its files.
MAPPING_LR_MULTIPLIER = 0.01


def generator_state(
    tensors: Mapping[str, Any], latent_avg: Any, path: Path
) -> tuple[State, dict[str, Any]]:
    """Weights and constructor arguments of our `Generator` for a state dict ``g_ema``.

    Args:
        tensors: The state dict.
        latent_avg: The mean code, where the file has one.
        path: The file, for messages.

    Raises:
        InputError: if tensors are missing or of another form.
    """
    levels = 1
    while f"to_rgbs.{levels - 1}.conv.weight" in tensors:
        levels += 1
    mapping_layers = 0
    while f"style.{mapping_layers + 1}.weight" in tensors:
        mapping_layers += 1
    state: State = {"const": _single(tensors, "input.input", 4, path)}
    for index in range(mapping_layers):
        for part, axes in (("weight", 2), ("bias", 1)):
            state[f"mapping.layers.{index}.{part}"] = stored_tensor(tensors, f"style.{index + 1}.{part}", axes, path)
    first = stored_tensor(tensors, "style.1.weight", 2, path)
    without_noise = []
    for index in range(2 * levels - 1):
        source = "conv1." if index == 0 else f"convs.{index - 1}."
        target = f"convolutions.{index}."
        weight = _single(tensors, source + "conv.weight", 5, path)
        size = 4 * 2 ** ((index + 1) // 2)
        state[target + "weight"] = weight / math.sqrt(math.prod(weight.shape[1:]))
        state[target + "affine.weight"] = stored_tensor(tensors, source + "conv.modulation.weight", 2, path)
        state[target + "affine.bias"] = stored_tensor(tensors, source + "conv.modulation.bias", 1, path)
        state[target + "bias"] = stored_tensor(tensors, source + "activate.bias", 1, path)
        strength = _single(tensors, source + "noise.weight", 1, path)
        # Files of early versions, and of some converters, lack the noise pictures: then every image has its own, and none is fixed.
        noise, name = torch.zeros(size, size), f"noises.noise_{index}"
        if name in tensors:
            noise = _single(tensors, name, 4, path).flatten(0, 1)
        elif bool(strength != 0):
            without_noise.append(name)
        state[target + "noise_strength"], state[target + "noise_const"] = strength, noise
    for level in range(levels):
        source, target = "to_rgb1." if level == 0 else f"to_rgbs.{level - 1}.", f"to_rgb.{level}."
        state[target + "weight"] = _single(tensors, source + "conv.weight", 5, path).flatten(1)
        state[target + "affine.weight"] = stored_tensor(tensors, source + "conv.modulation.weight", 2, path)
        state[target + "affine.bias"] = stored_tensor(tensors, source + "conv.modulation.bias", 1, path)
        state[target + "bias"] = _single(tensors, source + "bias", 4, path).flatten()
    warn_of_missing_noise(without_noise, path)
    if latent_avg is not None:
        if not isinstance(latent_avg, Tensor):
            raise InputError(f"expected a tensor as latent_avg, {path} has a {type(latent_avg).__name__}; leave it out")
        state["mean_w"] = latent_avg.flatten()
    blur = "convs.0.conv.blur.kernel"
    return state, {
        "channels": [state[f"to_rgb.{level}.weight"].shape[1] for level in range(levels)],
        "z_dim": first.shape[1],
        "w_dim": first.shape[0],
        "mapping_layers": mapping_layers,
        "mapping_lr_multiplier": MAPPING_LR_MULTIPLIER,
        "normalize_z": True,
        "blur_kernel": taps_of(stored_tensor(tensors, blur, 2, path), path) if levels > 1 else [1.0, 3.0, 3.0, 1.0],
        "conv_clamp": None,
    }


def discriminator_state(tensors: Mapping[str, Any], path: Path) -> tuple[State, dict[str, Any]]:
    """Weights and constructor arguments of our `Discriminator` for a state dict ``d``.

    Raises:
        InputError: if tensors are missing or of another form.
    """
    names = {"from_rgb.weight": "convs.0.0.weight", "from_rgb.bias": "convs.0.1.bias"}
    blocks = 0
    while f"convs.{blocks + 1}.conv1.0.weight" in tensors:
        source, target = f"convs.{blocks + 1}.", f"blocks.{blocks}."
        names[target + "conv0.weight"], names[target + "conv0.bias"] = source + "conv1.0.weight", source + "conv1.1.bias"
        names[target + "conv1.weight"], names[target + "conv1.bias"] = source + "conv2.1.weight", source + "conv2.2.bias"
        names[target + "skip.weight"] = source + "skip.1.weight"
        blocks += 1
    names["convolution.weight"], names["convolution.bias"] = "final_conv.0.weight", "final_conv.1.bias"
    for own, theirs in (("hidden", "final_linear.0"), ("output", "final_linear.1")):
        for part in ("weight", "bias"):
            names[f"{own}.{part}"] = f"{theirs}.{part}"
    state = {
        own: stored_tensor(tensors, theirs, 1 if own.endswith("bias") else 2 if "final_linear" in theirs else 4, path)
        for own, theirs in names.items()
    }
    channels = [state[f"blocks.{index}.conv1.weight"].shape[0] for index in range(blocks)]
    blur = "convs.1.conv2.0.kernel"
    return state, {
        "channels": [*reversed(channels), state["from_rgb.weight"].shape[0]],
        "deviation_group": 4,
        "blur_kernel": taps_of(stored_tensor(tensors, blur, 2, path), path) if blocks else [1.0, 3.0, 3.0, 1.0],
        "conv_clamp": None,
    }


def _single(tensors: Mapping[str, Any], name: str, axes: int, path: Path) -> Tensor:
    """As `stored_tensor`, of a tensor whose first axis has one entry, without that axis."""
    value = stored_tensor(tensors, name, axes, path)
    if len(value) != 1:
        raise InputError(
            f"expected one entry along the first axis of {name}, {path} has shape {tuple(value.shape)}; name a StyleGAN2 checkpoint"
        )
    return value[0]
