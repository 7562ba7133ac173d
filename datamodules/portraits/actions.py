"""Facial actions of the portraits as blendshapes of a face model."""

from collections.abc import Mapping

import torch
from jaxtyping import Float
from torch import Tensor

from renderers.errors import InputError

# Action: blendshapes it is made of, with weights.
ACTIONS: Mapping[str, Mapping[str, float]] = {
    "smile_left": {"mouth_smile_left": 1.0},
    "smile_right": {"mouth_smile_right": 1.0},
    "jaw_open": {"jaw_open": 1.0},
    "blink": {"eye_blink_left": 1.0, "eye_blink_right": 1.0},
    "brow_up": {
        "brow_outer_up_left": 1.0,
        "brow_outer_up_right": 1.0,
        "brow_inner_up_left": 0.8,
        "brow_inner_up_right": 0.8,
    },
    "brow_down": {"brow_down_left": 1.0, "brow_down_right": 1.0},
    "brow_inner": {"brow_inner_up_left": 1.0, "brow_inner_up_right": 1.0},
    "pucker": {"mouth_pucker": 1.0},
    "frown": {"mouth_frown_left": 1.0, "mouth_frown_right": 1.0},
    "squint": {"eye_squint_left": 1.0, "eye_squint_right": 1.0},
    "eye_wide": {"eye_wide_left": 1.0, "eye_wide_right": 1.0},
    "upper_lip_up": {
        "mouth_upper_up_left": 1.0,
        "mouth_upper_up_right": 1.0,
        "mouth_lower_down_left": 0.6,
        "mouth_lower_down_right": 0.6,
    },
    "stretch": {"mouth_stretch_left": 1.0, "mouth_stretch_right": 1.0},
    "jaw_side": {"jaw_left": 1.0},
    "cheek": {"cheek_raise_left": 1.0, "cheek_raise_right": 1.0},
    "press": {"mouth_press_left": 1.0, "mouth_press_right": 1.0},
    "sneer": {"nose_sneer_left": 1.0, "nose_sneer_right": 1.0},
}


def action_matrix(expression_names: tuple[str, ...]) -> Float[Tensor, "actions expressions"]:
    """Blendshape coefficients of each action, in the order of `ACTIONS`.

    Raises:
        InputError: the face model lacks a blendshape.
    """
    matrix = torch.zeros(len(ACTIONS), len(expression_names))
    for row, (action, shapes) in enumerate(ACTIONS.items()):
        for name, weight in shapes.items():
            if name not in expression_names:
                raise InputError(
                    f"portraits need a face model with blendshape '{name}' (for '{action}'): use the procedural head"
                )
            matrix[row, expression_names.index(name)] = weight
    return matrix
