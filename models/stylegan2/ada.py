"""The layout of StyleGAN2-ADA (also of the StyleGAN3 repository's StyleGAN2 networks): names, sizes and options of its pickles."""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from models.safe_pickle import InertRecord
from models.stylegan2.kernels import check_resolutions, stored_tensor, taps_of, warn_of_missing_noise
from renderers.errors import InputError

State = dict[str, Tensor]

# A generator of 1024 pixels has 60 modules, three deep. A pickle can hold a module in many places, or in itself.
_MAX_MODULES = 10_000
_MAX_DEPTH = 50
# Tensors beside them: a network has a few hundred, with names of at most 60 characters.
_MAX_TENSORS = 100_000
_MAX_NAME = 200
# Bounds, gains and sizes of groups are far smaller.
_LARGEST_OPTION = 1e9
# What every modulated layer has beside its weight, with the number of axes.
_LAYER_PARTS = (("bias", 1), ("affine.weight", 2), ("affine.bias", 1))


def generator_state(record: InertRecord, path: Path) -> tuple[State, dict[str, Any]]:
    """Weights and constructor arguments of our `Generator` for one that was pickled.

    Args:
        record: The pickled network.
        path: The file, for messages.

    Raises:
        InputError: for networks that are not unconditional StyleGAN2 generators with skip outputs.
    """
    name, attributes = _network(record, path)
    tensors = flatten(attributes)
    if any(key.startswith(("synthesis.L", "synthesis.input.")) for key in tensors):
        raise InputError(f"expected a StyleGAN2 generator, {path} holds one of StyleGAN3; name a StyleGAN2 checkpoint")
    _refuse_conditional(attributes, "generator", path)
    if "synthesis.b4.const" not in tensors or "mapping.fc0.weight" not in tensors:
        raise InputError(f"expected a StyleGAN2 generator, {path} holds a {name}; name a generator's file")
    blocks = _blocks(tensors, "synthesis.")
    check_resolutions(blocks, path)
    if any(f"synthesis.b{size}.torgb.weight" not in tensors for size in blocks):
        raise InputError(f"expected skip outputs, {path} has a generator without torgb at each size; name a skip generator")
    first_fc = _child(attributes, "mapping", "fc0", path=path)
    _check_activation(first_fc, path)
    _check_activation(_child(attributes, "synthesis", "b4", "conv1", path=path), path)
    state: State = {"const": stored_tensor(tensors, "synthesis.b4.const", 3, path)}
    # Some converters leave the mean out; the loader then estimates it.
    if "mapping.w_avg" in tensors:
        state["mean_w"] = stored_tensor(tensors, "mapping.w_avg", 1, path)
    mapping_layers = 0
    while f"mapping.fc{mapping_layers}.weight" in tensors:
        for part, axes in (("weight", 2), ("bias", 1)):
            source = f"mapping.fc{mapping_layers}.{part}"
            state[f"mapping.layers.{mapping_layers}.{part}"] = stored_tensor(tensors, source, axes, path)
        mapping_layers += 1
    index, without_noise = 0, []
    for level, size in enumerate(blocks):
        for layer in ("conv0", "conv1") if level else ("conv1",):
            source, target = f"synthesis.b{size}.{layer}.", f"convolutions.{index}."
            for part, axes in (("weight", 4), *_LAYER_PARTS):
                state[target + part] = stored_tensor(tensors, source + part, axes, path)
            # Networks trained without noise (use_noise False) have none to store: a strength of zero is the same function.
            strength, noise = torch.zeros(()), torch.zeros(size, size)
            if source + "noise_strength" in tensors:
                strength = stored_tensor(tensors, source + "noise_strength", 0, path)
            if source + "noise_const" in tensors:
                noise = stored_tensor(tensors, source + "noise_const", 2, path)
            elif bool(strength != 0):
                without_noise.append(source + "noise_const")
            state[target + "noise_strength"], state[target + "noise_const"] = strength, noise
            index += 1
        source, target = f"synthesis.b{size}.torgb.", f"to_rgb.{level}."
        weight = stored_tensor(tensors, source + "weight", 4, path)
        if weight.shape[0] != 3:
            raise InputError(f"expected RGB images, {path} makes images of {weight.shape[0]} channels; name an RGB generator")
        state[target + "weight"] = weight.flatten(1)
        for part, axes in _LAYER_PARTS:
            state[target + part] = stored_tensor(tensors, source + part, axes, path)
    warn_of_missing_noise(without_noise, path)
    return state, {
        "channels": [state[f"to_rgb.{level}.weight"].shape[1] for level in range(len(blocks))],
        "z_dim": state["mapping.layers.0.weight"].shape[1],
        "w_dim": state["mapping.layers.0.weight"].shape[0],
        "mapping_layers": mapping_layers,
        # The gain of the bias is the learning rate multiplier itself.
        "mapping_lr_multiplier": _option(
            first_fc, "bias_gain", attributes, "mapping_kwargs", "lr_multiplier", default=0.01, path=path
        ),
        "normalize_z": True,
        "blur_kernel": taps_of(stored_tensor(tensors, "synthesis.b4.conv1.resample_filter", 2, path), path),
        "conv_clamp": _synthesis_clamp(attributes, path),
    }


def discriminator_state(record: InertRecord, path: Path) -> tuple[State, dict[str, Any]]:
    """Weights and constructor arguments of our `Discriminator` for one that was pickled.

    Raises:
        InputError: for networks that are not unconditional residual StyleGAN2 discriminators.
    """
    name, attributes = _network(record, path)
    tensors = flatten(attributes)
    _refuse_conditional(attributes, "discriminator", path)
    blocks = _blocks(tensors, "")
    if "b4.out.weight" not in tensors or any(f"b{size}.skip.weight" not in tensors for size in blocks[1:]):
        raise InputError(f"expected a residual StyleGAN2 discriminator, {path} holds a {name}; name one of that kind")
    check_resolutions(blocks, path)
    top = blocks[-1]
    top_layer = _child(attributes, f"b{top}", "conv0", path=path)
    _check_activation(top_layer, path)
    names = {f"from_rgb.{part}": f"b{top}.fromrgb.{part}" for part in ("weight", "bias")}
    matrices = ("hidden.weight", "output.weight")
    for index, size in enumerate(reversed(blocks[1:])):
        names[f"blocks.{index}.skip.weight"] = f"b{size}.skip.weight"
        for layer in ("conv0", "conv1"):
            for part in ("weight", "bias"):
                names[f"blocks.{index}.{layer}.{part}"] = f"b{size}.{layer}.{part}"
    for own, theirs in (("convolution", "conv"), ("hidden", "fc"), ("output", "out")):
        for part in ("weight", "bias"):
            names[f"{own}.{part}"] = f"b4.{theirs}.{part}"
    state = {
        own: stored_tensor(tensors, theirs, 1 if own.endswith("bias") else 2 if own in matrices else 4, path)
        for own, theirs in names.items()
    }
    deviation = _child(attributes, "b4", "mbstd", path=path)
    group = _option(deviation, "group_size", attributes, "epilogue_kwargs", "mbstd_group_size", default=4.0, path=path)
    channels = [state[f"blocks.{index}.conv1.weight"].shape[0] for index in range(len(blocks) - 1)]
    return state, {
        "channels": [*reversed(channels), state["from_rgb.weight"].shape[0]],
        "deviation_group": None if group is None else int(group),
        "blur_kernel": taps_of(stored_tensor(tensors, f"b{top}.conv1.resample_filter", 2, path), path),
        "conv_clamp": _option(top_layer, "conv_clamp", attributes, "conv_clamp", default=None, path=path),
    }


def class_name(record: InertRecord) -> str:
    """Name of the class of a pickled network, or of whatever else was pickled."""
    meta = record.arguments[0] if record.arguments and isinstance(record.arguments[0], dict) else {}
    name = meta.get("class_name")
    # Anything else may be nested so that its text has no end.
    return name if isinstance(name, str) else record.class_name


def _refuse_conditional(attributes: Mapping[str, Any], what: str, path: Path) -> None:
    labels = attributes.get("c_dim", 0)
    if not isinstance(labels, int):
        raise InputError(f"expected a number as c_dim, {path} has a {type(labels).__name__}; name a StyleGAN2-ADA pickle")
    if labels:
        raise InputError(f"expected an unconditional {what}, {path} is class-conditional (c_dim {labels}); name an unconditional one")


def _synthesis_clamp(attributes: Mapping[str, Any], path: Path) -> float | None:
    """The bound of a generator's convolutions, whose default and place among the arguments differ between the repositories."""
    layer = _child(attributes, "synthesis", "b4", "conv1", path=path)
    if "fused_modconv_default" in _child(attributes, "synthesis", "b4", path=path):
        # As the StyleGAN3 repository has it: arguments of the synthesis network are the generator's own.
        return _option(layer, "conv_clamp", attributes, "conv_clamp", default=256.0, path=path)
    return _option(layer, "conv_clamp", attributes, "synthesis_kwargs", "conv_clamp", default=None, path=path)


def _check_activation(layer: Mapping[str, Any], path: Path) -> None:
    # Linear layers of the mapping network, and all convolutions, may have been built with another one.
    activation = layer.get("activation", "lrelu")
    # Anything but text may be nested so that its text has no end, or compare element by element.
    if not isinstance(activation, str) or activation != "lrelu":
        name = activation[:40] if isinstance(activation, str) else f"a {type(activation).__name__}"
        raise InputError(f"expected layers with leaky ReLUs, {path} has some with {name}; name a network of the usual kind")


def flatten(attributes: Mapping[str, Any], prefix: str = "") -> State:
    """The state dict of a module from its attribute dict, whose submodules are records with attribute dicts of their own.

    Raises:
        InputError: for more modules or tensors than a network has, as where a module is within itself, or for longer names.
    """
    state: State = {}
    pending = [(prefix, attributes)]
    # A list that grows while it is gone through: modules that share submodules may be nested deeper than the stack.
    for name, module in pending:
        if len(pending) > _MAX_MODULES or name.count(".") > _MAX_DEPTH:
            raise InputError(
                f"expected a network of at most {_MAX_MODULES} modules, {_MAX_DEPTH} deep, got more; name a StyleGAN2-ADA pickle"
            )
        for group in ("_parameters", "_buffers"):
            for part, value in _entries(module, group).items():
                if isinstance(value, Tensor):
                    state[_joined(name, part)] = value
        if len(state) > _MAX_TENSORS:
            raise InputError(f"expected a network of at most {_MAX_TENSORS} tensors, got more; name a StyleGAN2-ADA pickle")
        for part, child in _entries(module, "_modules").items():
            if isinstance(child, InertRecord):
                pending.append((f"{_joined(name, part)}.", _attributes(child)))
    return state


def _joined(prefix: str, name: str) -> str:
    # Names of many modules and tensors, each long, would take more memory than the file.
    if len(prefix) + len(name) > _MAX_NAME:
        raise InputError(
            f"expected names of at most {_MAX_NAME} characters in a network, got one of more; name a StyleGAN2-ADA pickle"
        )
    return prefix + name


def _entries(attributes: Mapping[str, Any], group: str) -> dict[str, Any]:
    entries = attributes.get(group)
    if not isinstance(entries, dict):
        return {}
    return {name: value for name, value in entries.items() if isinstance(name, str)}


def _attributes(record: InertRecord) -> Mapping[str, Any]:
    # A persistent class is rebuilt by a function called with one dictionary of meta data; plain modules have their state set.
    if record.class_name.endswith("_reconstruct_persistent_obj") and record.arguments:
        meta = record.arguments[0]
        state = meta.get("state") if isinstance(meta, dict) else None
        return state if isinstance(state, dict) else {}
    return record.attributes


def _network(record: InertRecord, path: Path) -> tuple[str, Mapping[str, Any]]:
    attributes = _attributes(record)
    if "_modules" not in attributes:
        raise InputError(f"expected a pickled network, {path} holds a {record.class_name}; name a StyleGAN2-ADA pickle")
    return class_name(record), attributes


def _child(attributes: Mapping[str, Any], *names: str, path: Path) -> Mapping[str, Any]:
    for name in names:
        module = _entries(attributes, "_modules").get(name)
        if not isinstance(module, InertRecord):
            raise InputError(f"expected a submodule {name} as StyleGAN2-ADA has, {path} lacks it; name another file")
        attributes = _attributes(module)
    return attributes


def _blocks(tensors: Mapping[str, Tensor], prefix: str) -> list[int]:
    names = {key[len(prefix) :].split(".")[0] for key in tensors if key.startswith(prefix + "b")}
    return sorted(int(name[1:]) for name in names if re.fullmatch(r"b[1-9][0-9]{0,9}", name))


def _option(
    layer: Mapping[str, Any], attribute: str, network: Mapping[str, Any], *names: str, default: float | None, path: Path
) -> float | None:
    """An option of the network, from the attribute of a layer that has it, else from the constructor's arguments.

    Args:
        layer: The layer's attributes.
        attribute: The option's name there.
        network: The network's attributes, with the keyword arguments it was constructed with.
        names: Where among these the option is.
        default: What the constructor takes where the option is not given.
        path: The file, for messages.

    Raises:
        InputError: where the file tells neither, or no number.
    """
    value = layer.get(attribute)
    if attribute not in layer:
        value = network.get("_init_kwargs")
        if not isinstance(value, dict):
            raise InputError(f"expected {attribute} in a layer or the constructor's arguments, {path} lacks both; name another file")
        for name in names[:-1]:
            value = value.get(name)
            value = value if isinstance(value, dict) else {}
        value = value.get(names[-1], default)
    # Not math.isfinite, which fails on whole numbers that no floating-point number holds.
    if value is not None and not (isinstance(value, (int, float)) and abs(value) < _LARGEST_OPTION):
        raise InputError(f"expected a number as {attribute}, {path} has a {type(value).__name__}; name another file")
    return None if value is None else float(value)
