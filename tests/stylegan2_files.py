"""Checkpoints in the layouts of the public StyleGAN2 implementations, made for tests: filled by rule, or from a network of ours."""

import argparse
import collections
import hashlib
import pickle
import sys
import types
from pathlib import Path
from typing import Any

import numpy as np
import torch

DATA = Path(__file__).parent / "data"
TAPS = torch.tensor([1.0, 3.0, 3.0, 1.0])
KERNEL = torch.outer(TAPS, TAPS) / 64


def filled(name: str, shape: tuple[int, ...]) -> np.ndarray:
    """The normal numbers that the reference outputs were made with for a tensor of this name and shape."""
    seed = int.from_bytes(hashlib.sha256(("reference:" + name).encode()).digest()[:6], "big")
    return np.random.default_rng(seed).standard_normal(shape).astype("float32")


def rosinality_value(name: str, shape: tuple[int, ...], prefix: str = "") -> torch.Tensor:
    """A tensor of the rosinality layout, filled by the rule of the references; `prefix` goes before its name there."""
    if name.endswith("kernel"):
        return KERNEL * 4
    a = filled(prefix + name, shape)
    if name.endswith("modulation.bias"):
        a = 1 + 0.1 * a
    elif name.endswith("noise.weight"):
        a = 0.1 * a
    elif name.startswith("style.") and name.endswith("weight"):
        a = 100 * a
    elif name.endswith(".bias"):
        a = 0.1 * a
    return torch.from_numpy(np.asarray(a, dtype="float32"))


def ada_value(name: str, shape: tuple[int, ...]) -> torch.Tensor:
    """A tensor of the ADA layout, filled by the rule of the references."""
    if name.endswith("resample_filter"):
        return KERNEL
    a = filled(name, shape)
    if name.endswith("affine.bias"):
        a = 1 + 0.1 * a
    elif name.endswith("noise_strength"):
        a = 0.1 * a
    elif name.startswith("mapping.fc") and name.endswith("weight"):
        a = 100 * a
    elif name.endswith(".bias"):
        a = 0.1 * a
    return torch.from_numpy(np.asarray(a, dtype="float32"))


def reference_state(file: Any, value: Any) -> dict[str, torch.Tensor]:
    """The state dict whose tensors a reference file lists."""
    state = {}
    for line in file["keys"]:
        name, _, shape = str(line).partition(" ")
        sizes = tuple(int(size) for size in shape.strip("()").split(",") if size.strip())
        state[name] = value(name, sizes)
    return state


def write_rosinality(path: Path, state: dict[str, torch.Tensor], zipped: bool = True, **others: Any) -> Path:
    """A checkpoint as the rosinality training script writes it."""
    contents = {"g_ema": state, "args": argparse.Namespace(size=32, latent=512), "ada_aug_p": 0.0, **others}
    torch.save(contents, path, _use_new_zipfile_serialization=zipped)
    return path


class Persistent:
    """A module as ADA pickles it: a call of a function with the module's source and attributes."""

    def __init__(self, class_name: str, **attributes: Any) -> None:
        self.class_name = class_name
        self.attributes: dict[str, Any] = {
            "training": False,
            "_parameters": collections.OrderedDict(),
            "_buffers": collections.OrderedDict(),
            "_modules": collections.OrderedDict(),
            **attributes,
        }

    def put(self, name: str, value: torch.Tensor, buffers: tuple[str, ...]) -> None:
        """Store a tensor under its dotted name, making submodules on the way."""
        head, _, rest = name.partition(".")
        if rest:
            self.attributes["_modules"].setdefault(head, Persistent(head)).put(rest, value, buffers)
        elif head in buffers:
            self.attributes["_buffers"][head] = value
        else:
            self.attributes["_parameters"][head] = torch.nn.Parameter(value, requires_grad=value.is_floating_point())

    def module(self, *names: str) -> "Persistent":
        """A submodule."""
        return self if not names else self.attributes["_modules"][names[0]].module(*names[1:])

    def __reduce__(self) -> tuple[Any, ...]:
        function = sys.modules["torch_utils.persistence"]._reconstruct_persistent_obj  # type: ignore[attr-defined]
        source = "raise RuntimeError('the source in a pickle was executed')"
        meta = {"type": "class", "version": 6, "module_src": source, "class_name": self.class_name, "state": self.attributes}
        return function, (meta,)


def ada_network(class_name: str, state: dict[str, torch.Tensor], **attributes: Any) -> Persistent:
    """A network of the ADA layout with these tensors and attributes."""
    network = Persistent(class_name, c_dim=0, img_channels=3, _init_args=(), _init_kwargs={}, **attributes)
    for name, value in state.items():
        network.put(name, value, ("w_avg", "noise_const", "resample_filter"))
    return network


def write_ada(path: Path, **networks: Persistent) -> Path:
    """A pickle as the ADA training script writes it."""
    return write_persistent(path, {**networks, "training_set_kwargs": {}, "augment_pipe": None})


def write_persistent(path: Path, contents: Any) -> Path:
    """A pickle of networks as ADA pickles them."""
    names = ("torch_utils", "torch_utils.persistence")
    before = {name: sys.modules.get(name) for name in names}
    module = types.ModuleType("torch_utils.persistence")

    def _reconstruct_persistent_obj(meta: dict[str, Any]) -> None:
        raise RuntimeError("the function that runs a pickle's source was called")

    _reconstruct_persistent_obj.__module__ = "torch_utils.persistence"
    _reconstruct_persistent_obj.__qualname__ = "_reconstruct_persistent_obj"
    module._reconstruct_persistent_obj = _reconstruct_persistent_obj  # type: ignore[attr-defined]
    sys.modules["torch_utils"], sys.modules["torch_utils.persistence"] = types.ModuleType("torch_utils"), module
    try:
        with path.open("wb") as file:
            pickle.dump(contents, file)
    finally:
        for name, value in before.items():
            if value is None:
                del sys.modules[name]
            else:
                sys.modules[name] = value
    return path
