"""Views and lights between the networks' normalised units, in the axes of LiftedGAN's authors, and the project's.

Theirs are x right, y down, z forward, with rotations about (0, 0, pivot); ours x right, y up, z towards the viewer, with the pivot as
origin. Pitch keeps its sign, yaw and roll change it; a translation (x, y, z) becomes (x, -y, -z); a light (lx, ly) becomes
(-lx, ly): positive lx lights from the image's left, positive ly from the top.
"""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from models.lifted_gan.settings import LiftedSettings
from renderers.errors import InputError

_ROTATION_SIGNS = (1.0, -1.0, -1.0)
_TRANSLATION_SIGNS = (1.0, -1.0, -1.0)


@dataclass(frozen=True)
class Pose:
    """A view in the project's convention.

    Attributes:
        rotation: (B, 3) pitch, yaw, roll in radians.
        translation: (B, 3) x right, y up, z towards the viewer, in the depth's unit.
    """

    rotation: Float[Tensor, "batch 3"]
    translation: Float[Tensor, "batch 3"]


@dataclass(frozen=True)
class Lighting:
    """A light in the project's convention.

    Attributes:
        ambient: (B,) strength of the even light; 1 leaves the albedo unchanged.
        diffuse: (B,) strength of the directional light on a surface that faces it.
        direction: (B, 3) unit vectors to the light; (0, 0, 1) is behind the viewer.
    """

    ambient: Float[Tensor, "batch"]
    diffuse: Float[Tensor, "batch"]
    direction: Float[Tensor, "batch 3"]


def pose_of_view(view: Float[Tensor, "batch 6"], settings: LiftedSettings) -> Pose:
    """The pose of views in normalised units (rotation 3, translation 3), of which 1 is the end of a range."""
    rotation = view[:, :3] * view.new_tensor(_ROTATION_SIGNS) * settings.rotation_range
    translation = view[:, 3:] * view.new_tensor(_TRANSLATION_SIGNS) * view.new_tensor(settings.translation_range)
    return Pose(rotation, translation)


def view_of_pose(pose: Pose, settings: LiftedSettings) -> Float[Tensor, "batch 6"]:
    """Inverse of `pose_of_view`; beyond [-1, 1] for poses that the networks cannot read from a code, which can be drawn all the same."""
    rotation = pose.rotation * pose.rotation.new_tensor(_ROTATION_SIGNS) / settings.rotation_range
    signs, ranges = (pose.translation.new_tensor(values) for values in (_TRANSLATION_SIGNS, settings.translation_range))
    return torch.cat([rotation, pose.translation * signs / ranges], dim=1)


def lighting_of(light: Float[Tensor, "batch 4"]) -> Lighting:
    """The light of normalised units (ambient, diffuse, lx, ly): strengths are l / 2 + 0.5, the direction (lx, ly, 1) normalised."""
    direction = torch.stack([-light[:, 2], light[:, 3], torch.ones_like(light[:, 2])], dim=1)
    direction = direction / direction.norm(dim=1, keepdim=True)
    return Lighting(light[:, 0] / 2 + 0.5, light[:, 1] / 2 + 0.5, direction)


def light_of(lighting: Lighting) -> Float[Tensor, "batch 4"]:
    """Inverse of `lighting_of`.

    Raises:
        InputError: for a light beside or behind the face, which has no such numbers.
    """
    x, y, z = lighting.direction.unbind(1)
    if bool((z <= 0).any()):
        raise InputError(
            "expected lights in front of the face, got a direction with z of 0 or less; turn it by less than 90 degrees"
        )
    return torch.stack([2 * lighting.ambient - 1, 2 * lighting.diffuse - 1, -x / z, y / z], dim=1)
