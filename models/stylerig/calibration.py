"""Calibration of a rig: how far each slider really moves the picture, and the range in which it does.

Linear latent directions have no unit: nobody knows what a step along one does until it has been measured. Here each control is
measured on unseen codes, as curves of the value asked against the value that a reader sees in the picture of the edited code.
What is kept are the curves; ranges follow from them by the rules of `ControlCalibration`.
"""

import hashlib
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch

from models.stylerig.control_curves import READERS, ControlCalibration, ControlCurve
from models.stylerig.rig_network import RigNetwork
from models.weights import whole_path
from renderers.errors import InputError

FORMAT = "latentrig-calibration-1"
SUFFIX = ".calibration.json"


@dataclass(frozen=True)
class RigCalibration:
    """What the controls of one rig do.

    Attributes:
        weights: `rig_digest` of the network that was measured.
        codes: Number of unseen codes that each value was asked of.
        samples: Number of the generator's own pictures behind the teacher's ranges.
        controls: One each.
    """

    weights: str
    codes: int
    samples: int
    controls: tuple[ControlCalibration, ...]

    def __post_init__(self) -> None:
        names = [control.control for control in self.controls]
        if len(set(names)) < len(names):
            raise InputError(f"expected each control once, got {', '.join(names)}; leave out the second")

    @property
    def names(self) -> tuple[str, ...]:
        """The controls that were measured."""
        return tuple(control.control for control in self.controls)

    def require(self, network: RigNetwork, path: Path) -> None:
        """Refuse a rig of other weights than those that were measured.

        Args:
            network: The rig.
            path: File of this calibration, for the message.

        Raises:
            InputError: where they differ.
        """
        digest = rig_digest(network)
        if digest != self.weights:
            raise InputError(
                f"expected the rig that {path} was measured with (weights {self.weights[:12]}), got one with weights {digest[:12]}; "
                "calibrate it anew by 'lightning calibrate', or remove that file"
            )

    def of(self, control: str) -> ControlCalibration:
        """What was measured of a control.

        Raises:
            InputError: for one that was not.
        """
        for each in self.controls:
            if each.control == control:
                return each
        raise InputError(
            f"expected a calibrated control among {', '.join(self.names) or 'none'}, got {control!r}; calibrate it by 'lightning calibrate'"
        )

    def supported_range(self, control: str) -> tuple[float, float]:
        """See `ControlCalibration.supported_range`."""
        return self.of(control).supported_range

    def achieved(self, control: str, asked: float) -> float:
        """What the median picture shows where a value is asked.

        Raises:
            InputError: for a control or a value that was not measured.
        """
        measured = self.of(control)
        low, high = measured.curve.asked[0], measured.curve.asked[-1]
        if not low <= asked <= high:
            raise InputError(
                f"expected a {control} that was measured, {measured.said(low)} to {measured.said(high)}, got {measured.said(asked)}; "
                "ask for one of these"
            )
        return measured.curve.at(asked)

    def asked_for(self, control: str, wanted: float, clamp: bool = False) -> float:
        """See `ControlCalibration.asked_for`."""
        return self.of(control).asked_for(wanted, clamp)

    def warnings_for(self, asked: Mapping[str, Sequence[float]]) -> list[str]:
        """A plain line for each control of which more is asked than is supported, or which is known to go elsewhere than asked.

        Args:
            asked: Control to absolute values, one per code; controls that were not measured are passed over.
        """
        lines = (each.warning(asked[each.control]) for each in self.controls if each.control in asked)
        return [line for line in lines if line is not None]


def rig_digest(network: RigNetwork) -> str:
    """SHA-256 (hexadecimal) of what a rig's edits follow from: its kind, its components and the float32 values of its tensors."""
    digest = hashlib.sha256(json.dumps([network.kind, network.components]).encode())
    for name, tensor in sorted(network.state_dict().items()):
        values = tensor.detach().to("cpu", torch.float32).contiguous()
        digest.update(f"{name} {tuple(values.shape)}".encode() + values.numpy().tobytes())
    return digest.hexdigest()


def calibration_path(rig: Path) -> Path:
    """Where the calibration of a rig's file is kept: beside it."""
    return rig.with_suffix(SUFFIX)


def save_calibration(path: Path, calibration: RigCalibration) -> Path:
    """Write a calibration as JSON, whole or not at all."""
    text = json.dumps({"format": FORMAT, **asdict(calibration)}, indent=1, allow_nan=False) + "\n"
    with whole_path(path) as temporary:
        Path(temporary).write_text(text, encoding="utf-8")
    return path


def load_calibration(path: Path) -> RigCalibration:
    """Read a calibration that `save_calibration` wrote.

    Raises:
        InputError: if the file is missing, damaged or something else.
    """
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
        if value["format"] != FORMAT:
            raise ValueError(f"format {str(value['format'])[:50]!r}")
        controls = tuple(_control(each) for each in _list(value["controls"]))
        return RigCalibration(_text(value["weights"]), _count(value["codes"]), _count(value["samples"]), controls)
    except OSError as error:
        raise InputError(
            f"expected a calibration at {path}, could not read it ({error.strerror}); correct the path"
        ) from error
    except (ValueError, KeyError, TypeError, OverflowError, RecursionError) as error:
        raise InputError(
            f"expected a calibration ({FORMAT}) in {path}, got something else ({type(error).__name__}: {error}); "
            "write it again by 'lightning calibrate'"
        ) from error


def calibration_beside(rig: Path, network: RigNetwork) -> RigCalibration | None:
    """The calibration beside a rig's file; None where there is none.

    Args:
        rig: File of the rig.
        network: What was read from it.

    Raises:
        InputError: for a broken calibration, or one of other weights.
    """
    path = calibration_path(rig)
    if not path.exists():
        return None
    calibration = load_calibration(path)
    calibration.require(network, path)
    return calibration


def _control(value: dict[str, Any]) -> ControlCalibration:
    low, median, high = (_number(value[f"teacher_{name}"]) for name in ("low", "median", "high"))
    curves = tuple(_curve(each) for each in _list(value["curves"]))
    return ControlCalibration(_text(value["control"]), _text(value["unit"]), low, median, high, curves)


def _curve(value: dict[str, Any]) -> ControlCurve:
    asked, median, lower, upper = (
        tuple(_number(each) for each in _list(value[name])) for name in ("asked", "median", "lower", "upper")
    )
    reader = next((name for name in READERS if name == value["reader"]), None)
    if reader is None:
        raise ValueError(f"reader {str(value['reader'])[:50]!r}")
    return ControlCurve(reader, asked, median, lower, upper)


def _list(value: Any) -> list[Any]:
    if not isinstance(value, list):
        raise TypeError(f"{type(value).__name__} in place of a list")
    return value


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise TypeError(f"{type(value).__name__} in place of text")
    return value


def _number(value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not math.isfinite(value):
        raise ValueError(f"{str(value)[:50]} in place of a number")
    return float(value)


def _count(value: Any) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        raise ValueError(f"{str(value)[:50]} in place of a number of pictures")
    return value
