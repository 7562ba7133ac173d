"""Networks on codes from the checkpoints of StyleFaceUV's authors (Lightning `.ckpt`), read without running anything in them.

Their coefficients' checkpoint holds the coefficient network; that of the step size holds it too, with the step-size network and the
direction; the main one holds everything. Widths and the size of a code are read from the tensors: the last hidden layer is as wide as
one layer's code.
"""

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import torch
from jaxtyping import Float
from torch import Tensor, nn

from models.morphable import ParameterSizes
from models.safe_pickle import read_pickle
from models.stylefaceuv.coefficients import CodeCoefficients
from models.stylefaceuv.step_size import MirrorStep
from models.weights import FLOATS, build_from, fill, is_safetensors, locate
from renderers.errors import InputError

NetworkName = Literal["coefficients", "step"]

# All that belongs to one network starts so.
_PREFIXES: dict[NetworkName, str] = {
    "coefficients": "stylecode_to_3dmm_coeff_model.",
    "step": "stylecode_to_scalar_model.",
}
# In the step size's checkpoint, and in the main one.
_DIRECTIONS = ("pose_normal_direction", "pose_direction")


class OfficialNetwork(nn.Module):
    """One of the authors' networks, frozen and in evaluation mode.

    Args:
        network: The network; a `MirrorStep` has the direction too.
        direction: As stored.

    Attributes:
        network: As given.
        direction: (layers, width), unit length over all layers in the authors' files; None where the file holds none.
    """

    direction: Tensor | None

    def __init__(
        self, network: CodeCoefficients | MirrorStep, direction: Float[Tensor, "layers width"] | None = None
    ) -> None:
        super().__init__()
        self.network = network
        self.register_buffer("direction", direction)
        self.eval().requires_grad_(False)

    def forward(self, codes: Float[Tensor, "batch layers width"]) -> Float[Tensor, "batch outputs"]:
        """Packed face parameters of W+ codes, or their steps along the direction to the mirrored yaw (one column).

        Raises:
            InputError: for codes of another size.
        """
        return self.network(codes)


def load_official(
    checkpoint: str | Path, network: NetworkName | None = None, sizes: ParameterSizes = ParameterSizes()
) -> OfficialNetwork:
    """Read a network from one of the authors' checkpoints.

    Args:
        checkpoint: The file, as given or relative to the project root.
        network: "coefficients" or "step"; None for the step size where the file has it, else the coefficients.
        sizes: Of the face model that the coefficients drive; the authors' by default. The file does not say where identity ends and
            expression begins.

    Raises:
        InputError: if the file is missing, cut short, another format, lacks the network, or holds one of another form; for another
            name of a network.
    """
    if network not in (None, *_PREFIXES):
        raise InputError(f"expected one of the networks {', '.join(_PREFIXES)}, got {network!r}; correct the name")
    path = locate(checkpoint)
    tensors = _tensors(path)
    present = [name for name, prefix in _PREFIXES.items() if any(key.startswith(prefix) for key in tensors)]
    if not present:
        raise InputError(
            f"expected a checkpoint of StyleFaceUV's authors, {path} holds neither {' nor '.join(_PREFIXES.values())} "
            f"(it holds {_shown(list(tensors))}); name another file"
        )
    wanted = network or present[-1]
    if wanted not in present:
        raise InputError(
            f"expected the network {wanted!r} in {path}, it holds {' and '.join(present)} alone; name a file that has it"
        )
    return _coefficients(tensors, sizes, path) if wanted == "coefficients" else _step(tensors, path)


@dataclass(frozen=True)
class _Layers:
    """One of their perceptrons.

    Attributes:
        name: Of it in the file.
        state: Its tensors by the names within it.
        widths: Of the input and of each layer's output.
    """

    name: str
    state: dict[str, Tensor]
    widths: tuple[int, ...]

    @classmethod
    def read(cls, tensors: Mapping[str, Any], name: str, path: Path) -> "_Layers":
        """From a state dict: linear layers at 0, 2, 4, ... with their activations in between."""
        state = {key.removeprefix(name): value for key, value in tensors.items() if key.startswith(name)}
        count = (len(state) + 1) // 2
        expected = [f"{2 * index}.{part}" for index in range(count) for part in ("weight", "bias")]
        missing, unknown = [key for key in expected if key not in state], sorted(state.keys() - set(expected))
        if missing or unknown or count < 2:
            fault = f"lacks {missing[0]}" if missing else f"also has {_shown(unknown)}" if unknown else "has one"
            raise InputError(
                f"expected two linear layers or more in {name}, {path} {fault}; fetch it again or name another file"
            )
        for key, value in state.items():
            axes = 2 if key.endswith("weight") else 1
            if not isinstance(value, Tensor) or value.ndim != axes or value.dtype not in FLOATS or not value.numel():
                raise InputError(
                    f"expected floating-point numbers along {axes} axes in {name}{key}, {path} has {_described(value)}; "
                    "name a checkpoint of StyleFaceUV's authors"
                )
        weights, biases = [[state[key] for key in expected[first::2]] for first in (0, 1)]
        widths = (weights[0].shape[1], *(weight.shape[0] for weight in weights))
        inner = all(first.shape[0] == second.shape[1] for first, second in itertools.pairwise(weights))
        if not inner or any(len(bias) != width for bias, width in zip(biases, widths[1:], strict=True)):
            raise InputError(f"expected layers that fit each other in {name}, those in {path} do not; fetch it again")
        return cls(name, state, widths)

    def code(self, path: Path) -> tuple[int, int, tuple[int, ...]]:
        """Layers and width of a code, and hidden widths as multiples of that width."""
        inputs, *hidden, _ = self.widths
        width = hidden[-1]
        if inputs % width or any(each % width for each in hidden):
            raise InputError(
                f"expected inputs and hidden layers of multiples of {width}, the width of the last, in {self.name}, {path} has "
                f"{', '.join(map(str, self.widths[:8]))}; name a checkpoint of StyleFaceUV's authors"
            )
        return inputs // width, width, tuple(each // width for each in hidden)

    def within(self, module: str) -> dict[str, Tensor]:
        """Its tensors by the names they have in a network whose module it is."""
        return {f"{module}.{key}": value for key, value in self.state.items()}


def _coefficients(tensors: Mapping[str, Any], sizes: ParameterSizes, path: Path) -> OfficialNetwork:
    prefix = _PREFIXES["coefficients"]
    first, second = (_Layers.read(tensors, f"{prefix}{name}.", path) for name in ("Net1", "Net2"))
    layers, width, hidden = first.code(path)
    outputs = (sizes.total - sizes.reflectance, sizes.reflectance)
    if first.widths[:-1] != second.widths[:-1] or (first.widths[-1], second.widths[-1]) != outputs:
        raise InputError(
            f"expected two perceptrons of the same hidden widths with {outputs[0]} and {outputs[1]} outputs, {path} has "
            f"{_shown(first.widths)} and {_shown(second.widths)}; give the sizes of its face model"
        )
    network = build_from(path, lambda: CodeCoefficients(layers, width, sizes, hidden))
    _fill(network, {**first.within("geometry"), **second.within("reflectance")}, path)
    return OfficialNetwork(network, _direction(tensors, layers, width, path))


def _step(tensors: Mapping[str, Any], path: Path) -> OfficialNetwork:
    net = _Layers.read(tensors, f"{_PREFIXES['step']}Net.", path)
    layers, width, hidden = net.code(path)
    if net.widths[-1] != 1:
        raise InputError(f"expected one output of {net.name}, {path} has {net.widths[-1]}; name a step-size checkpoint")
    network = build_from(path, lambda: MirrorStep(layers, width, hidden))
    _fill(network, net.within("net"), path)
    direction = _direction(tensors, layers, width, path)
    if direction is not None:
        network.move_along(direction)
    return OfficialNetwork(network, direction)


def _fill(network: CodeCoefficients | MirrorStep, state: Mapping[str, Tensor], path: Path) -> None:
    # Their codes are not whitened and their outputs not scaled: those buffers stay as they were built.
    fill(network, {**dict(network.named_buffers()), **state}, path)


def _direction(tensors: Mapping[str, Any], layers: int, width: int, path: Path) -> Float[Tensor, "layers width"] | None:
    for name in _DIRECTIONS:
        value = tensors.get(name)
        if value is None:
            continue
        if not isinstance(value, Tensor) or value.dtype not in FLOATS or value.numel() != layers * width:
            raise InputError(
                f"expected a direction of {layers} x {width} numbers in {name}, {path} has {_described(value)}; fetch it again"
            )
        if not bool(torch.isfinite(value).all()) or not bool(value.any()):
            raise InputError(
                f"expected a finite direction other than zero in {name}, {path} has another; fetch it again"
            )
        return value.detach().float().reshape(layers, width).clone()
    return None


def _tensors(path: Path) -> dict[str, Any]:
    """The state dict in a file, besides entries whose name is no text."""
    if is_safetensors(path):
        raise InputError(
            f"expected a .ckpt of StyleFaceUV's authors, {path} holds weights of this project or of another safetensors file; load it "
            "by the class of its network"
        )
    contents = read_pickle(path)
    state = contents.get("state_dict", contents) if isinstance(contents, dict) else None
    if not isinstance(state, dict):
        raise InputError(
            f"expected a checkpoint of StyleFaceUV's authors with a state_dict, {path} holds {_described(contents)}; name another file"
        )
    return {name: value for name, value in state.items() if isinstance(name, str)}


def _described(value: Any) -> str:
    return f"{value.dtype} of shape {tuple(value.shape)}" if isinstance(value, Tensor) else f"a {type(value).__name__}"


def _shown(values: Sequence[object]) -> str:
    names = [" ".join(str(value).split())[:60] for value in values[:4]]
    return ", ".join(names) + (", ..." if len(values) > 4 else "") if names else "nothing"
