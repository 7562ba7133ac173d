"""Where the networks that a UV generator is used with were read from: written beside its weights so that it opens by itself later."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

_ENTRY = "sources"


@dataclass(frozen=True)
class FaceSources:
    """Files that a training used: relative to the project where they lie in it, else absolute.

    These only say where to look; what is found there is checked against the UV generator's `Provenance`.

    Attributes:
        generator: The 2D generator.
        coefficients: F3D, or what stood in for it.
        face_model: What `models.morphable.loading.load_face_model` takes.
    """

    generator: str
    coefficients: str
    face_model: str

    def to_config(self) -> dict[str, Any]:
        """An entry of a configuration, plain JSON values."""
        return {_ENTRY: asdict(self)}

    @classmethod
    def from_config(cls, config: Mapping[str, Any]) -> "FaceSources":
        """Inverse of `to_config`; raises KeyError or TypeError for anything else."""
        sources = cls(**config[_ENTRY])
        if not all(isinstance(value, str) for value in asdict(sources).values()):
            raise TypeError(f"sources must be text, got {sources}")
        return sources
