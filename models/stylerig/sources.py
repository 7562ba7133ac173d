"""Where the networks that a rig belongs to were read from: written beside its weights so that it opens by itself later."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any


@dataclass(frozen=True)
class RigSources:
    """Files that a training used: relative to the project where they lie in it, else absolute.

    These only say where to look first; what is found there is checked against the rig's `Provenance`.

    Attributes:
        generator: StyleGAN2 checkpoint.
        face_reconstruction: Weights of F, or of the face encoder in its place.
        face_model: What `models.morphable.loading.load_face_model` takes.
    """

    generator: str
    face_reconstruction: str
    face_model: str

    def to_config(self) -> dict[str, Any]:
        """Plain JSON values."""
        return asdict(self)

    @classmethod
    def from_config(cls, config: Mapping[str, Any]) -> "RigSources":
        """Inverse of `to_config`; raises KeyError or TypeError for anything else."""
        values = {name: config[name] for name in ("generator", "face_reconstruction", "face_model")}
        if not all(isinstance(value, str) for value in values.values()):
            raise TypeError(f"sources must be text, got {values}")
        return cls(**values)
