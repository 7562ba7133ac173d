"""The layout of StyleGAN2-ADA (also of the StyleGAN3 repository's StyleGAN2 networks): names, sizes and options of its pickles."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from models.safe_pickle import InertRecord
from models.stylegan2.kernels import taps_of
from renderers.errors import InputError

State = dict[str, Tensor]


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
    if attributes.get("c_dim", 0):
        raise InputError(
            f"expected an unconditional generator, {path} is class-conditional (c_dim {attributes['c_dim']}); name an unconditional one"
        )
    if "synthesis.b4.const" not in tensors or "mapping.fc0.weight" not in tensors:
        raise InputError(f"expected a StyleGAN2 generator, {path} holds a {name}; name a generator's file")
    blocks = _blocks(tensors, "synthesis.")
    if any(f"synthesis.b{size}.torgb.weight" not in tensors for size in blocks):
        raise InputError(f"expected skip outputs, {path} has a generator without torgb at each size; name a skip generator")
    first = _child(attributes, "synthesis", "b4", "conv1", path=path)
    state: State = {"const": tensors["synthesis.b4.const"], "mean_code": tensors["mapping.w_avg"]}
    mapping_layers = 0
    while f"mapping.fc{mapping_layers}.weight" in tensors:
        for part in ("weight", "bias"):
            state[f"mapping.layers.{mapping_layers}.{part}"] = tensors[f"mapping.fc{mapping_layers}.{part}"]
        mapping_layers += 1
    index = 0
    for level, size in enumerate(blocks):
        for layer in ("conv0", "conv1") if level else ("conv1",):
            source, target = f"synthesis.b{size}.{layer}.", f"convolutions.{index}."
            for part in ("weight", "bias", "affine.weight", "affine.bias"):
                state[target + part] = _tensor(tensors, source + part, path)
            shape = (size, size)
            # Networks trained without noise (use_noise False) have none to store: a strength of zero is the same function.
            state[target + "noise_strength"] = tensors.get(source + "noise_strength", torch.zeros(()))
            state[target + "noise_const"] = tensors.get(source + "noise_const", torch.zeros(shape))
            index += 1
        source, target = f"synthesis.b{size}.torgb.", f"to_rgb.{level}."
        weight = _tensor(tensors, source + "weight", path)
        if weight.shape[0] != 3:
            raise InputError(f"expected RGB images, {path} makes images of {weight.shape[0]} channels; name an RGB generator")
        state[target + "weight"] = weight.flatten(1)
        for part in ("bias", "affine.weight", "affine.bias"):
            state[target + part] = _tensor(tensors, source + part, path)
    first_fc = _child(attributes, "mapping", "fc0", path=path)
    return state, {
        "channels": [state[f"to_rgb.{level}.weight"].shape[1] for level in range(len(blocks))],
        "z_dim": state["mapping.layers.0.weight"].shape[1],
        "width": state["mapping.layers.0.weight"].shape[0],
        "mapping_layers": mapping_layers,
        "mapping_lr_multiplier": _lr_multiplier(first_fc),
        "normalize_z": True,
        "blur_kernel": taps_of(_tensor(tensors, "synthesis.b4.conv1.resample_filter", path), path),
        "conv_clamp": _clamp(first),
    }


def discriminator_state(record: InertRecord, path: Path) -> tuple[State, dict[str, Any]]:
    """Weights and constructor arguments of our `Discriminator` for one that was pickled.

    Raises:
        InputError: for networks that are not unconditional residual StyleGAN2 discriminators.
    """
    name, attributes = _network(record, path)
    tensors = flatten(attributes)
    if attributes.get("c_dim", 0):
        raise InputError(f"expected an unconditional discriminator, {path} is class-conditional; name an unconditional one")
    blocks = _blocks(tensors, "")
    if "b4.out.weight" not in tensors or any(f"b{size}.skip.weight" not in tensors for size in blocks[1:]):
        raise InputError(f"expected a residual StyleGAN2 discriminator, {path} holds a {name}; name one of that kind")
    top = blocks[-1]
    names = {f"from_rgb.{part}": f"b{top}.fromrgb.{part}" for part in ("weight", "bias")}
    for index, size in enumerate(reversed(blocks[1:])):
        names[f"blocks.{index}.skip.weight"] = f"b{size}.skip.weight"
        for layer in ("conv0", "conv1"):
            for part in ("weight", "bias"):
                names[f"blocks.{index}.{layer}.{part}"] = f"b{size}.{layer}.{part}"
    for own, theirs in (("convolution", "conv"), ("hidden", "fc"), ("output", "out")):
        for part in ("weight", "bias"):
            names[f"{own}.{part}"] = f"b4.{theirs}.{part}"
    state = {own: _tensor(tensors, theirs, path) for own, theirs in names.items()}
    deviation = _child(attributes, "b4", "mbstd", path=path)
    channels = [state[f"blocks.{index}.conv1.weight"].shape[0] for index in range(len(blocks) - 1)]
    return state, {
        "channels": [*reversed(channels), state["from_rgb.weight"].shape[0]],
        "deviation_group": deviation.get("group_size", 4),
        "blur_kernel": taps_of(_tensor(tensors, f"b{top}.conv1.resample_filter", path), path),
        "conv_clamp": _clamp(_child(attributes, f"b{top}", "conv0", path=path)),
    }


def flatten(attributes: Mapping[str, Any], prefix: str = "") -> State:
    """The state dict of a module from its attribute dict, whose submodules are records with attribute dicts of their own."""
    state: State = {}
    for group in ("_parameters", "_buffers"):
        for name, value in dict(attributes.get(group) or {}).items():
            if isinstance(value, Tensor):
                state[prefix + name] = value
    for name, module in dict(attributes.get("_modules") or {}).items():
        if isinstance(module, InertRecord):
            state.update(flatten(_attributes(module), f"{prefix}{name}."))
    return state


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
    meta = record.arguments[0] if record.arguments and isinstance(record.arguments[0], dict) else {}
    return str(meta.get("class_name", record.class_name)), attributes


def _child(attributes: Mapping[str, Any], *names: str, path: Path) -> Mapping[str, Any]:
    for name in names:
        module = dict(attributes.get("_modules") or {}).get(name)
        if not isinstance(module, InertRecord):
            raise InputError(f"expected a submodule {name} as StyleGAN2-ADA has, {path} lacks it; name another file")
        attributes = _attributes(module)
    return attributes


def _blocks(tensors: Mapping[str, Tensor], prefix: str) -> list[int]:
    names = {key[len(prefix) :].split(".")[0] for key in tensors if key.startswith(prefix + "b")}
    return sorted(int(name[1:]) for name in names if name[1:].isdigit())


def _lr_multiplier(layer: Mapping[str, Any]) -> float:
    # The gain of the bias is the multiplier itself; the authors store it as a plain attribute.
    return float(layer.get("bias_gain", 0.01))


def _clamp(layer: Mapping[str, Any]) -> float | None:
    clamp = layer.get("conv_clamp")
    return None if clamp is None else float(clamp)


def _tensor(tensors: Mapping[str, Tensor], name: str, path: Path) -> Tensor:
    if name not in tensors:
        raise InputError(f"expected the tensors of StyleGAN2-ADA, {path} lacks {name}; fetch it again or name another file")
    return tensors[name]
