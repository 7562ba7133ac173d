"""Expressions by name: every blendshape of a face model, and a few combinations of them that have everyday names."""

import difflib
import re
from collections.abc import Iterable
from dataclasses import dataclass

from jaxtyping import Float
from torch import Tensor

from models.morphable import MorphableModel
from renderers.errors import InputError


@dataclass(frozen=True)
class ExpressionControl:
    """One expression that can be asked for.

    Attributes:
        name: Its name.
        weights: (index of an expression coefficient, its value at strength 1), of each blendshape that takes part.
        is_composite: Whether it is a combination of blendshapes of other names.
    """

    name: str
    weights: tuple[tuple[int, float], ...]
    is_composite: bool

    def reading(self, expression: Float[Tensor, "batch coefficients"]) -> Float[Tensor, " batch"]:
        """Strength at which this expression comes nearest to coefficients, by least squares over its own blendshapes."""
        index = [position for position, _ in self.weights]
        weights = expression.new_tensor([weight for _, weight in self.weights])
        return expression[:, index] @ weights / (weights @ weights)


def _both(name: str, weight: float) -> dict[str, float]:
    return {f"{name}_left": weight, f"{name}_right": weight}


# In names of the shipped model. Which muscles take part in the emotions follows the action units (AU) of the facial action coding
# system (Ekman, Friesen and Hager 2002); how strongly is our choice, so that 1 is a strong yet natural expression.
_COMPOSITES: dict[str, dict[str, float]] = {
    "smile": {**_both("mouth_smile", 1.0), **_both("cheek_raise", 0.5)},  # AU 6 + 12
    "frown": {**_both("mouth_frown", 1.0), **_both("brow_down", 0.5)},  # AU 4 + 15
    "open_mouth": {"jaw_open": 1.0},  # AU 26, 27
    "surprise": {
        **_both("brow_inner_up", 1.0),
        **_both("brow_outer_up", 1.0),
        **_both("eye_wide", 0.8),
        "jaw_open": 0.5,
    },  # 1 + 2 + 5 + 26
    "sadness": {**_both("brow_inner_up", 1.0), **_both("brow_down", 0.3), **_both("mouth_frown", 0.8)},  # AU 1 + 4 + 15
    "anger": {**_both("brow_down", 1.0), **_both("eye_squint", 0.5), **_both("mouth_press", 0.6)},  # AU 4 + 7 + 24
    "disgust": {**_both("nose_sneer", 1.0), **_both("mouth_upper_up", 0.5), **_both("brow_down", 0.4)},  # AU 4 + 9 + 10
    "blink": _both("eye_blink", 1.0),
    "squint": _both("eye_squint", 1.0),
    "wide_eyes": _both("eye_wide", 1.0),
    "brow_raise": {**_both("brow_inner_up", 1.0), **_both("brow_outer_up", 1.0)},
    "brow_lower": _both("brow_down", 1.0),
    "pucker": {"mouth_pucker": 1.0},
    "puff_cheeks": _both("cheek_puff", 1.0),
}

# Where ICT-FaceKit and ARKit call a blendshape otherwise than the shipped model, spelled as `canonical_name` spells it.
_SYNONYMS: tuple[tuple[str, str], ...] = (
    (r"cheek_raiser", "cheek_raise"),
    (r"eye_look_(up|down)", r"look_\1"),
    (r"mouth_(roll|shrug)_(upper|lower)", r"lip_\1_\2"),
)


def canonical_name(name: str) -> str:
    """A blendshape's name in the shipped model's spelling: `mouthSmile_L` and `mouthSmileLeft` are `mouth_smile_left`."""
    spelled = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", name.strip()).lower().replace("-", "_").replace(" ", "_")
    spelled = re.sub(r"_l$", "_left", re.sub(r"_r$", "_right", spelled))
    for pattern, replacement in _SYNONYMS:
        spelled = re.sub(rf"^{pattern}(?=_|$)", replacement, spelled)
    return spelled


def expression_controls(face_model: MorphableModel) -> dict[str, ExpressionControl]:
    """Every named expression of a face model: its blendshapes, as it calls them, then the composites all of whose blendshapes it has.

    A blendshape that has the name of a composite stands for itself.
    """
    index = {canonical_name(name): position for position, name in reversed([*enumerate(face_model.expression_names)])}
    controls = {
        name: ExpressionControl(name, ((position, 1.0),), is_composite=False)
        for position, name in enumerate(face_model.expression_names)
    }
    for name, parts in _COMPOSITES.items():
        if name not in index and all(part in index for part in parts):
            weights = tuple((index[part], weight) for part, weight in parts.items())
            controls[name] = ExpressionControl(name, weights, is_composite=True)
    return controls


def expression_control(face_model: MorphableModel, name: str) -> ExpressionControl:
    """The expression of a name: as in `expression_controls`, in another spelling of these (`canonical_name`), or `e12` for the
    coefficient of index 12, which every face model has.

    Raises:
        InputError: for an unknown name, with the nearest known ones.
    """
    controls = expression_controls(face_model)
    if name in controls:
        return controls[name]
    if re.fullmatch(r"e\d+", name):
        count = face_model.sizes.expression
        if int(name[1:]) >= count:
            raise InputError(
                f"expected an expression from e0 to e{count - 1} of this face model, got {name}; correct the number"
            )
        return ExpressionControl(name, ((int(name[1:]), 1.0),), is_composite=False)
    spelled = {canonical_name(known): control for known, control in reversed(controls.items())}
    if canonical_name(name) in spelled:
        return spelled[canonical_name(name)]
    raise InputError(f"expected an expression of this face model, got '{name}'; {nearest(name, controls)}")


def nearest(name: str, known: Iterable[str]) -> str:
    """The end of a message about an unknown name: what was probably meant, or what there is."""
    names = list(known)
    close = difflib.get_close_matches(name, names, n=3, cutoff=0.5)
    close += [other for other in names if name and name.lower() in other.lower() and other not in close][
        : 3 - len(close)
    ]
    if close:
        return f"did you mean {' or '.join(close)}?"
    shown = ", ".join(names[:12])
    return f"it has {shown}{f' and {len(names) - 12} more' if len(names) > 12 else ''}"
