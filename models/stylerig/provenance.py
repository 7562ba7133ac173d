"""What a network was trained for: its generator, face model and camera, written into its weights and checked before use."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import torch

from models.morphable import MorphableModel
from models.stylegan2 import Generator
from models.stylegan2.digest import generator_digest
from renderers.camera import PerspectiveCamera
from renderers.errors import InputError

# Face models are built by linear algebra whose last digits differ between machines; another model differs by far more than this.
_TOLERANCE = 0.01


@dataclass(frozen=True)
class Provenance:
    """What the parameters that a network reads or writes refer to.

    Attributes:
        generator: `generator_digest` of the generator whose codes it takes; None for a network that takes pictures, whoever made them.
        face_model: `face_model_signature` of the morphable model that its parameters drive.
        focal_length: Of the camera under which pose and size were fitted, in image sizes.
        camera_distance: Of that camera, in the face model's unit.
        principal_point: Of that camera, (x right, y up) from the image's centre in image heights.
    """

    generator: str | None
    face_model: tuple[float, ...]
    focal_length: float
    camera_distance: float
    principal_point: tuple[float, float]

    @classmethod
    def of(cls, generator: Generator | None, face_model: MorphableModel, camera: PerspectiveCamera) -> "Provenance":
        """The provenance of a network trained with these."""
        return cls(
            None if generator is None else generator_digest(generator),
            face_model_signature(face_model),
            camera.focal_length,
            camera.distance,
            camera.principal_point,
        )

    def to_config(self) -> dict[str, Any]:
        """Plain JSON values."""
        return {**asdict(self), "face_model": list(self.face_model), "principal_point": list(self.principal_point)}

    @classmethod
    def from_config(cls, config: Mapping[str, Any]) -> "Provenance":
        """Inverse of `to_config`; raises KeyError, TypeError or ValueError for anything else."""
        horizontal, vertical = config["principal_point"]
        face_model = tuple(float(value) for value in config["face_model"])
        return cls(**{**config, "face_model": face_model, "principal_point": (float(horizontal), float(vertical))})

    def check(self, present: "Provenance", what: str) -> None:
        """Refuse to use a network with other things than it was trained for.

        Args:
            present: What it is about to be used with.
            what: Name of the network's file, for the message.

        Raises:
            InputError: at the first difference.
        """
        if self.generator is not None and self.generator != present.generator:
            raise InputError(
                f"expected the generator that {what} was trained for (weights {self.generator[:12]}), got one with weights "
                f"{(present.generator or 'none')[:12]}; name that generator or train anew for this one"
            )
        same_length = len(self.face_model) == len(present.face_model)
        pairs = zip(self.face_model, present.face_model, strict=False)
        if not same_length or max(abs(mine - other) for mine, other in pairs) > _TOLERANCE:
            raise InputError(
                f"expected the face model that {what} was trained for, got one of other shape or bases; "
                "name that face model or train anew for this one"
            )
        mine, others = ((each.focal_length, each.camera_distance, *each.principal_point) for each in (self, present))
        if mine != others:
            raise InputError(
                f"expected the camera that {what} was trained for, (focal length, distance, principal point) = {mine}, got {others}; "
                "set these or train anew"
            )


def face_model_signature(model: MorphableModel) -> tuple[float, ...]:
    """Numbers that tell face models apart: positions (decimetres) and albedo of some landmarks under a fixed set of coefficients.

    Landmarks are named points of a face, so that the densities of one model have nearly the same signature while another
    model, or other bases, differ.
    """
    sizes = model.sizes
    # Square roots of integers: fixed numbers without pattern, of about one standard deviation.
    identity, expression, reflectance = (
        torch.arange(1, 1 + size, dtype=torch.float32, device=model.mean_shape.device).sqrt().mul(7).sin()[None]
        for size in (sizes.identity, sizes.expression, sizes.reflectance)
    )
    index = model.landmark_indices[model.landmark_indices >= 0][::6]
    shape = model.vertices(identity, 0.3 * expression)[0, index]
    colour = model.albedo(reflectance)[0, index]
    return tuple(round(value, 4) for value in torch.cat([shape, colour]).flatten().tolist())
