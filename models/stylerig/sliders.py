"""What can be asked of a rig, in the units people think in: degrees, strengths of named expressions, standard deviations."""

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from models.morphable import FaceParameters, MorphableModel
from models.stylerig.expressions import ExpressionControl, expression_control, expression_controls, nearest
from models.stylerig.light import light_of, with_light
from models.stylerig.rig_network import CONTROLLABLE, check_controls
from renderers.errors import InputError

Unit = Literal["degrees", "strength", "share", "brightness", "doublings", "standard deviations"]

# Places in the vector of Euler angles.
_ANGLES: dict[str, int] = {"pitch": 0, "yaw": 1, "roll": 2}
# Slider name to the field of `Light` and its unit.
_LIGHTS: dict[str, tuple[str, Unit]] = {
    "light_azimuth": ("azimuth", "degrees"),
    "light_elevation": ("elevation", "degrees"),
    "light_strength": ("strength", "share"),
    "light_brightness": ("brightness", "brightness"),
    "light_warmth": ("warmth", "doublings"),
}
FIXED_SLIDERS: tuple[str, ...] = ("yaw", "pitch", "roll", *_LIGHTS)
_IDENTITY = re.compile(r"id(\d+)")
_LARGEST_ANGLE = 180.0


@dataclass(frozen=True)
class Slider:
    """One thing asked for.

    Attributes:
        name: yaw, pitch or roll (degrees; positive yaw turns the nose to the image's right, positive pitch down); light_azimuth,
            light_elevation (degrees), light_strength, light_brightness, light_warmth (`Light`); id0, id1, ... (identity
            coefficients, standard deviations); or an expression (`expression_control`: strength).
        value: For all codes, or one for each.
        relative: False: the value is what it shall be. True: how far it shall go from what it is read to be now.

    Raises:
        InputError: for values that are not finite, none, or angles of more than half a turn.
    """

    name: str
    value: float | tuple[float, ...]
    relative: bool = False

    def __post_init__(self) -> None:
        values = self.value if isinstance(self.value, tuple) else (self.value,)
        if not values or not all(math.isfinite(value) for value in values):
            raise InputError(f"expected finite numbers for {self.name}, got {self.value}; correct them")
        furthest = max(values, key=abs)
        if unit_of(self.name) == "degrees" and abs(furthest) > _LARGEST_ANGLE:
            raise InputError(f"expected {self.name} in degrees from -180 to 180, got {furthest:g}; correct it")
        if self.name in ("light_strength", "light_brightness") and not self.relative and min(values) < 0:
            raise InputError(f"expected {self.name} of 0 or more, got {min(values):g}; raise it")


def component_of(name: str) -> str:
    """The component of the face parameters that a slider changes; a name that is of no other kind is an expression's."""
    if name in _ANGLES:
        return "rotation"
    if name in _LIGHTS:
        return "illumination"
    return "identity" if _IDENTITY.fullmatch(name) else "expression"


def components_of(sliders: Sequence[Slider]) -> tuple[str, ...]:
    """The components that sliders change, in the order of `CONTROLLABLE`."""
    touched = {component_of(slider.name) for slider in sliders}
    return tuple(component for component in CONTROLLABLE if component in touched)


def coefficients_of(sliders: Sequence[Slider], face_model: MorphableModel) -> Bool[Tensor, " total"]:
    """Which places of the packed vector sliders change; a slider of the light changes all of its coefficients.

    Raises:
        InputError: for unknown names.
    """
    changed = torch.zeros(face_model.sizes.total, dtype=torch.bool)
    for slider in sliders:
        component = component_of(slider.name)
        part = changed[face_model.sizes.slice(component)]
        if component == "rotation":
            part[_ANGLES[slider.name]] = True
        elif component == "illumination":
            part[:] = True
        elif component == "identity":
            part[_identity_index(slider.name, face_model)] = True
        else:
            part[[index for index, _ in _expression(slider.name, face_model).weights]] = True
    return changed


def unit_of(name: str) -> Unit:
    """The unit of a slider's values."""
    if name in _LIGHTS:
        return _LIGHTS[name][1]
    units: dict[str, Unit] = {"rotation": "degrees", "identity": "standard deviations", "expression": "strength"}
    return units[component_of(name)]


def slider_names(face_model: MorphableModel) -> tuple[str, ...]:
    """Every slider by name: angles, light, composite expressions, blendshapes, identity coefficients; without e0, e1, ..."""
    controls = expression_controls(face_model).values()
    expressions = sorted(controls, key=lambda control: not control.is_composite)
    identities = (f"id{number}" for number in range(face_model.sizes.identity))
    return (*FIXED_SLIDERS, *(control.name for control in expressions), *identities)


def read_slider(own: FaceParameters, name: str, face_model: MorphableModel) -> Float[Tensor, " batch"]:
    """Where a slider stands for face parameters, in its unit; of a composite expression, the strength that comes nearest.

    Raises:
        InputError: for an unknown name.
    """
    _check_model(own, face_model)
    if name in _ANGLES:
        return torch.rad2deg(own.rotation[:, _ANGLES[name]])
    if name in _LIGHTS:
        field, unit = _LIGHTS[name]
        value = getattr(light_of(own.illumination), field)
        return torch.rad2deg(value) if unit == "degrees" else value
    if _IDENTITY.fullmatch(name):
        return own.identity[:, _identity_index(name, face_model)]
    return _expression(name, face_model).reading(own.expression)


def values_asked(slider: Slider, own: FaceParameters, face_model: MorphableModel) -> Float[Tensor, " batch"]:
    """What a slider asks of each code as an absolute value, in its unit.

    Raises:
        InputError: for an unknown name, or numbers of values that are neither 1 nor the batch.
    """
    present = read_slider(own, slider.name, face_model)
    return present + _values(slider, own) if slider.relative else _values(slider, own)


def apply_sliders(own: FaceParameters, sliders: Sequence[Slider], face_model: MorphableModel) -> FaceParameters:
    """The parameters that sliders ask for; whatever no slider names stays as it is in `own`.

    The order of the sliders does not matter. An absolute angle leaves the other two, and an absolute blendshape all others, as
    they are. Composite expressions add up where they share a blendshape; a blendshape that is named itself has that value, whatever
    composites say; relative ones come on top. A relative light strength or brightness that would fall below 0 is 0.

    Args:
        own: What the codes are read to be.
        sliders: What to change, each name once.
        face_model: The face model of `own`.

    Raises:
        InputError: for unknown names, a name given twice, or numbers of values that are neither 1 nor the batch.
    """
    _check_model(own, face_model)
    names = [slider.name for slider in sliders]
    for name in names:
        if names.count(name) > 1:
            raise InputError(f"expected each slider once, got {name} {names.count(name)} times; keep one of them")
    by_component = {component: [s for s in sliders if component_of(s.name) == component] for component in CONTROLLABLE}
    return own.replace(
        identity=_identity(own, by_component["identity"], face_model),
        expression=_expressions(own, by_component["expression"], face_model),
        rotation=_rotation(own, by_component["rotation"]),
        illumination=_illumination(own, by_component["illumination"]),
    )


def transfer(own: FaceParameters, source: FaceParameters, components: Sequence[str]) -> FaceParameters:
    """Whole components of other faces, everything else as it is: [theta_own^taubar, theta_source^tau] of PIE (section 3).

    Sliders on top of a transfer are applied to what this returns.

    Args:
        own: What the codes are read to be.
        source: One face for all, or one for each.
        components: Among `CONTROLLABLE`.

    Raises:
        InputError: for other components, or numbers of faces or sizes that do not fit.
    """
    chosen = check_controls(components)
    if len(source) == 1:
        source = source[torch.zeros(len(own), dtype=torch.int64, device=source.device)]
    return own.with_components_from(source, chosen)


def _values(slider: Slider, own: FaceParameters) -> Float[Tensor, " batch"]:
    values = slider.value if isinstance(slider.value, tuple) else (slider.value,)
    if len(values) not in (1, len(own)):
        raise InputError(
            f"expected 1 value of {slider.name} or one for each of {len(own)} codes, got {len(values)}; give as many as codes"
        )
    return own.rotation.new_tensor(values).expand(len(own))


def _rotation(own: FaceParameters, sliders: Sequence[Slider]) -> Float[Tensor, "batch 3"]:
    angles = list(own.rotation.unbind(dim=1))
    for slider in sliders:
        place, value = _ANGLES[slider.name], torch.deg2rad(_values(slider, own))
        angles[place] = angles[place] + value if slider.relative else value
    return torch.stack(angles, dim=1)


def _illumination(own: FaceParameters, sliders: Sequence[Slider]) -> Float[Tensor, "batch 27"]:
    light = light_of(own.illumination)
    asked: dict[str, Tensor] = {}
    for slider in sliders:
        field, unit = _LIGHTS[slider.name]
        value = _values(slider, own)
        value = torch.deg2rad(value) if unit == "degrees" else value
        value = getattr(light, field) + value if slider.relative else value
        asked[field] = value.clamp_min(0) if field in ("strength", "brightness") else value
    return with_light(own.illumination, **asked)


def _identity(
    own: FaceParameters, sliders: Sequence[Slider], face_model: MorphableModel
) -> Float[Tensor, "batch identity"]:
    coefficients = own.identity.clone()
    for slider in sliders:
        index, value = _identity_index(slider.name, face_model), _values(slider, own)
        coefficients[:, index] = coefficients[:, index] + value if slider.relative else value
    return coefficients


def _expressions(
    own: FaceParameters, sliders: Sequence[Slider], face_model: MorphableModel
) -> Float[Tensor, "batch expression"]:
    asked = [(slider, _expression(slider.name, face_model)) for slider in sliders]
    _check_once(asked)
    coefficients = own.expression.clone()
    absolute = [(slider, control) for slider, control in asked if not slider.relative]
    for _, control in absolute:
        coefficients[:, [index for index, _ in control.weights]] = 0.0
    for slider, control in sorted(absolute, key=lambda each: not each[1].is_composite):
        for index, weight in control.weights:
            base = coefficients[:, index] if control.is_composite else 0.0
            coefficients[:, index] = base + weight * _values(slider, own)
    for slider, control in asked:
        if slider.relative:
            for index, weight in control.weights:
                coefficients[:, index] = coefficients[:, index] + weight * _values(slider, own)
    return coefficients


def _check_once(asked: "Sequence[tuple[Slider, ExpressionControl]]") -> None:
    """Refuse one expression under two spellings: a blendshape of two names, or a composite."""
    first: dict[int | str, str] = {}
    for slider, control in asked:
        key = control.name if control.is_composite else control.weights[0][0]
        if first.setdefault(key, slider.name) != slider.name:
            raise InputError(
                f"expected each slider once, {first[key]} and {slider.name} are the same expression; keep one of them"
            )


def _expression(name: str, face_model: MorphableModel) -> ExpressionControl:
    try:
        return expression_control(face_model, name)
    except InputError:
        if re.fullmatch(r"e\d+", name):
            raise
        known = slider_names(face_model)
        raise InputError(f"expected a slider of this face model, got '{name}'; {nearest(name, known)}") from None


def _identity_index(name: str, face_model: MorphableModel) -> int:
    index, count = int(name.removeprefix("id")), face_model.sizes.identity
    if index >= count:
        raise InputError(
            f"expected identity coefficients id0 to id{count - 1} of this face model, got {name}; correct the number"
        )
    return index


def _check_model(own: FaceParameters, face_model: MorphableModel) -> None:
    if own.sizes != face_model.sizes:
        raise InputError(
            f"expected face parameters of {face_model.sizes}, got {own.sizes}; give the face model they were read for"
        )
