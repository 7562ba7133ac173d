"""The procedural head: a licence-free morphable model computed from published face proportions."""

from models.morphable.procedural.build import procedural_model
from models.morphable.procedural.densities import Density

__all__ = ["Density", "procedural_model"]
