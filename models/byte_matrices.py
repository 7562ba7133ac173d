"""Matrices of weights in eight bits, a quarter of float32, for networks that are shipped: `save_weights` takes them, `load_weights` gives
them back."""

from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor

from renderers.errors import InputError

# No name of a parameter or buffer has this sign.
_SCALE = "#scale"
_LEVELS = 127


def byte_matrices(state_dict: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The same with convolution and matrix weights as int8, and for each row the step between two of its values.

    Errors are at most half a step: 1/254 of the largest weight of a row, which is all weights that make one output.
    """
    result: dict[str, Tensor] = {}
    for name, value in state_dict.items():
        if not value.is_floating_point() or value.ndim < 2:
            result[name] = value
            continue
        rows = value.detach().float().flatten(1)
        steps = rows.abs().amax(dim=1, keepdim=True) / _LEVELS
        levels = (rows / steps.clamp_min(torch.finfo(torch.float32).tiny)).round()
        result[name] = levels.to(torch.int8).view_as(value)
        result[name + _SCALE] = steps.squeeze(1)
    return result


def whole_matrices(tensors: Mapping[str, Tensor], path: str | Path) -> dict[str, Tensor]:
    """Inverse of `byte_matrices`, as float32; other tensors as they are.

    Raises:
        InputError: for steps without their matrix or of other rows than it has; `path` names the file in the message.
    """
    result = {name: value for name, value in tensors.items() if not name.endswith(_SCALE)}
    for scale in tensors.keys() - result.keys():
        name = scale.removesuffix(_SCALE)
        steps, levels = tensors[scale], tensors.get(name)
        if (
            levels is None
            or levels.dtype != torch.int8
            or steps.shape != levels.shape[:1]
            or not steps.is_floating_point()
        ):
            raise InputError(
                f"expected a matrix of bytes with a step for each row as {name}, {path} holds another; write it again"
            )
        result[name] = levels.float() * steps.float().view(-1, *[1] * (levels.ndim - 1))
    return result
