"""What a calibration asks of a rig: sliders, the values asked of each, and how they are read from pictures."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from evaluation.picture_readers import Reading
from models.morphable import COMPONENTS, FaceParameters, MorphableModel, ParameterSizes
from models.stylerig.sliders import component_of, read_slider, slider_names, unit_of
from renderers.errors import InputError

# Sliders that are asked where none are named. Those that a face model lacks are left out.
_USUAL: dict[str, tuple[str, ...]] = {
    "rotation": ("yaw", "pitch", "roll"),
    "expression": ("smile", "open_mouth", "blink", "brow_raise", "pucker", "frown"),
    "illumination": ("light_azimuth", "light_elevation", "light_strength"),
    "identity": ("id0", "id1", "id2"),
}
# Face models without named expressions, such as the Basel model's.
_UNNAMED: tuple[str, ...] = ("e0", "e1", "e2")
# First and last value asked, and how many: a little beyond what portraits show (datamodules.portraits.controls).
_ASKED: dict[str, tuple[float, float, int]] = {
    "yaw": (-45.0, 45.0, 11),
    "pitch": (-30.0, 30.0, 11),
    "roll": (-20.0, 20.0, 9),
    "light_azimuth": (-75.0, 75.0, 11),
    "light_elevation": (-30.0, 75.0, 8),
    "light_strength": (0.1, 0.9, 9),
    "light_brightness": (0.4, 1.4, 11),
    "light_warmth": (-1.0, 1.0, 9),
}
_STRENGTHS = (-0.125, 1.125, 11)
_DEVIATIONS = (-3.0, 3.0, 9)
# The number of a portrait's latent that moves a slider most (datamodules.portraits.controls): part and place in it.
_PORTRAIT_NUMBERS: dict[str, tuple[str, int]] = {
    "pitch": ("rotation", 0),
    "yaw": ("rotation", 1),
    "roll": ("rotation", 2),
    "light_azimuth": ("light", 0),
    "light_elevation": ("light", 1),
    "light_strength": ("light", 2),
    "light_warmth": ("light", 5),
    "light_brightness": ("light", 8),
    "smile": ("expression", 0),
    "open_mouth": ("expression", 1),
    "blink": ("expression", 2),
    "brow_raise": ("expression", 3),
    "pucker": ("expression", 6),
    "frown": ("expression", 7),
    "squint": ("expression", 8),
    "wide_eyes": ("expression", 9),
    "id0": ("identity", 0),
    "id1": ("identity", 1),
    "id2": ("identity", 2),
}
_UNITS = {"degrees": "deg", "standard deviations": "sd"}


@dataclass(frozen=True)
class AskedControl:
    """A slider and the absolute values that are asked of it.

    Attributes:
        name: Of the slider (`models.stylerig.sliders`).
        asked: Increasing, in the slider's unit.
    """

    name: str
    asked: tuple[float, ...]

    @property
    def component(self) -> str:
        """What it changes."""
        return component_of(self.name)

    @property
    def unit(self) -> str:
        """As calibrations write it."""
        return _UNITS.get(unit_of(self.name), "")

    @property
    def portrait_number(self) -> tuple[str, int] | None:
        """The part of a portrait's latent, and the place in it, that moves this slider; None where there is no single one."""
        return _PORTRAIT_NUMBERS.get(self.name)


def asked_controls(
    components: Sequence[str], face_model: MorphableModel, names: Sequence[str] = ()
) -> tuple[AskedControl, ...]:
    """Sliders of a rig with the values to ask of each.

    Args:
        components: What the rig controls.
        face_model: Whose sliders they are.
        names: Sliders; none for the usual ones: the angles, the light's direction and strength, some expressions that everybody
            knows, the first identity coefficients.

    Raises:
        InputError: for a slider that the face model has not or the rig does not control.
    """
    known = slider_names(face_model)
    if not names:
        usual: list[str] = []
        for component in components:
            named = [name for name in _USUAL[component] if name in known]
            unnamed = [name for name in _UNNAMED if int(name[1:]) < face_model.sizes.expression]
            usual += named or (unnamed if component == "expression" else [])
        return tuple(AskedControl(name, _values(name)) for name in usual)
    for name in names:
        # Reads a face without anything, and so raises for names that do not exist.
        read_slider(FaceParameters.zeros(1, face_model.sizes), name, face_model)
        if component_of(name) not in components:
            raise InputError(
                f"expected a slider of what the rig controls, {', '.join(components)}, got {name} ({component_of(name)}); leave it out"
            )
    return tuple(AskedControl(name, _values(name)) for name in dict.fromkeys(names))


def slider_values(
    reading: Reading | FaceParameters, name: str, face_model: MorphableModel
) -> Float[Tensor, " batch"]:
    """Where a slider stands in what was read of pictures; components that were not read are taken as zero.

    Raises:
        InputError: for an unknown slider, or a reader of another face model's coefficients.
    """
    if isinstance(reading, FaceParameters):
        return read_slider(reading, name, face_model)
    return read_slider(_as_parameters(reading, face_model.sizes), name, face_model)


def _as_parameters(reading: Reading, sizes: ParameterSizes) -> FaceParameters:
    rotation = reading.rotation
    zeros = FaceParameters.zeros(len(rotation), sizes, rotation.device, rotation.dtype)
    read = {component: getattr(reading, component) for component in COMPONENTS if hasattr(reading, component)}
    return zeros.replace(**read)


def _values(name: str) -> tuple[float, ...]:
    if name in _ASKED:
        first, last, count = _ASKED[name]
    elif unit_of(name) == "standard deviations" or name[1:].isdecimal():
        first, last, count = _DEVIATIONS
    else:
        first, last, count = _STRENGTHS
    return tuple(torch.linspace(first, last, count, dtype=torch.float64).tolist())
