"""What a network was trained for: its generator, face model and camera, written into its weights and checked before use."""

import hashlib
import inspect
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import Tensor

from models.morphable import MorphableModel
from models.stylegan2 import Generator
from renderers.camera import PerspectiveCamera
from renderers.errors import InputError

# Face models are built by linear algebra whose last digits differ between machines; another model differs by far more than this.
_TOLERANCE = 0.01


@dataclass(frozen=True)
class Provenance:
    """What the parameters that a network reads or writes refer to.

    Attributes:
        generator: `weights_digest` of the generator whose codes it takes.
        face_model: `face_model_signature` of the morphable model that its parameters drive.
        focal_length: Of the camera under which pose and size were fitted, in image sizes.
        camera_distance: Of that camera, in the face model's unit.
        principal_point: Of that camera, (x right, y up) from the image's centre in image heights.
    """

    generator: str
    face_model: tuple[float, ...]
    focal_length: float
    camera_distance: float
    principal_point: tuple[float, float]

    @classmethod
    def of(cls, generator: Generator, face_model: MorphableModel, camera: PerspectiveCamera) -> "Provenance":
        """The provenance of a network trained with these."""
        return cls(
            weights_digest(generator),
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
        if self.generator != present.generator:
            raise InputError(
                f"expected the generator that {what} was trained for (weights {self.generator[:12]}), got one with weights "
                f"{present.generator[:12]}; name that generator or train anew for this one"
            )
        same_length = len(self.face_model) == len(present.face_model)
        pairs = zip(self.face_model, present.face_model, strict=False)
        if not same_length or max(abs(mine - other) for mine, other in pairs) > _TOLERANCE:
            raise InputError(
                f"expected the face model that {what} was trained for, got one of other shape or bases; "
                "name that face model or train anew for this one"
            )
        mine, others = (
            (each.focal_length, each.camera_distance, *each.principal_point) for each in (self, present)
        )
        if mine != others:
            raise InputError(
                f"expected the camera that {what} was trained for, (focal length, distance, principal point) = {mine}, got {others}; "
                "set these or train anew"
            )


def weights_digest(generator: Generator) -> str:
    """SHA-256 (hexadecimal) of all that makes a generator's images of codes: shapes and float32 values of its parameters and
    fixed noise, on any device, and its options (blur kernel and clamp among them) where they differ from the defaults.

    No name enters, nor an option at its default: the digest of a trained generator stays when its code is renamed or learns more.
    """
    defaults = {name: option.default for name, option in inspect.signature(Generator).parameters.items()}
    given = [_json(value) for name, value in generator.config.items() if _json(value) != _json(defaults[name])]
    tensors = {**dict(generator.named_parameters()), **dict(generator.named_buffers())}
    # Statistics of W enter no image of a code, and files without them get estimates, which differ in the last digits between
    # machines; filters follow from the options.
    kept = [tensor for name, tensor in tensors.items() if name.rpartition(".")[2] not in ("mean_w", "std_w", "kernel")]
    parts = [text.encode() for text in sorted(given)] + sorted(_tensor_digest(tensor) for tensor in kept)
    return hashlib.sha256(b"\n".join(parts)).hexdigest()


def _json(value: object) -> str:
    # A parameter without default has none that a value could equal.
    return "" if value is inspect.Parameter.empty else json.dumps(value)


def _tensor_digest(tensor: Tensor) -> bytes:
    values = tensor.detach().to("cpu", torch.float32).contiguous().numpy().tobytes()
    return hashlib.sha256(str(tuple(tensor.shape)).encode() + values).hexdigest().encode()


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
