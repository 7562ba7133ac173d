"""Which generator: one digest for what was trained for a generator and for codes that were drawn from it."""

import hashlib
import inspect
import json

import torch
from torch import Tensor

from models.stylegan2.generator import Generator


def generator_digest(generator: Generator) -> str:
    """SHA-256 (hexadecimal) of all that makes a generator's images of codes: shapes and float32 values of its parameters and
    fixed noise, on any device, and its options (blur kernel and clamp among them) where they differ from the defaults.

    It is the same for the same network in any file layout. No name enters, nor an option at its default: the digest of a trained
    generator stays when its code is renamed or learns more.
    """
    defaults = {name: option.default for name, option in inspect.signature(Generator).parameters.items()}
    given = [_json(value) for name, value in generator.config.items() if _json(value) != _json(defaults[name])]
    tensors = {**dict(generator.named_parameters()), **dict(generator.named_buffers())}
    # Statistics of W enter no image of a code, and files without them get estimates, which differ in the last digits between
    # machines; filters follow from the options.
    kept = [tensor for name, tensor in tensors.items() if name.rpartition(".")[2] not in ("mean_w", "std_w", "kernel")]
    parts = [text.encode() for text in sorted(given)] + sorted(_tensor_digest(tensor) for tensor in kept)
    return hashlib.sha256(b"\n".join(parts)).hexdigest()


def _json(value: object) -> str:
    # A parameter without default has none that a value could equal.
    return "" if value is inspect.Parameter.empty else json.dumps(value)


def _tensor_digest(tensor: Tensor) -> bytes:
    values = tensor.detach().to("cpu", torch.float32).contiguous().numpy().tobytes()
    return hashlib.sha256(str(tuple(tensor.shape)).encode() + values).hexdigest().encode()
