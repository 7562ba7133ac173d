"""Morphable face models and the parameters that drive them."""

from models.morphable.model import MorphableModel
from models.morphable.parameters import COMPONENTS, FaceParameters, ParameterSizes

__all__ = ["COMPONENTS", "FaceParameters", "MorphableModel", "ParameterSizes"]
