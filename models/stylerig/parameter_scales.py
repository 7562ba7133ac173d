"""How far an output of one of a face reconstruction moves each parameter."""

import torch
from jaxtyping import Float
from torch import Tensor

from models.morphable import COMPONENTS, ParameterSizes

# About the standard deviation of each component over portrait photos, in radians, spherical-harmonic coefficients and decimetres
# (expression: between blendshapes and coefficients in deviations). Our choice: the papers give none.
_SCALES = {
    "identity": 1.0,
    "expression": 0.5,
    "reflectance": 1.0,
    "rotation": 0.3,
    "illumination": 0.1,
    "translation": 0.3,
}


def parameter_scales(sizes: ParameterSizes) -> Float[Tensor, " total"]:
    """Scale of each packed parameter, by which networks multiply their outputs so that one learning rate fits all."""
    return torch.cat([torch.full((getattr(sizes, name),), _SCALES[name]) for name in COMPONENTS])
