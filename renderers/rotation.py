"""Euler angles and rotation matrices in the project's one convention.

Frames are right-handed: x right, y up, z towards the viewer. A rotation is three angles in radians, (pitch about x, yaw
about y, roll about z), and R = Rz Ry Rx takes object points to the camera's axes: column vectors p -> R p, hence row
vectors p -> p R^T. Positive yaw turns the nose to the image's right, positive pitch turns it down, positive roll turns
the head counter-clockwise in the image (its top towards the image's left). The public BFM tools (Deep3DFaceRecon)
agree.
"""

import torch
from jaxtyping import Float
from torch import Tensor

from renderers.errors import InputError


def euler_to_matrix(angles: Float[Tensor, "*batch axes"]) -> Float[Tensor, "*batch 3 3"]:
    """Rotation matrices R = Rz(roll) Ry(yaw) Rx(pitch).

    Args:
        angles: (..., 3) radians, ordered pitch, yaw, roll.

    Returns:
        (..., 3, 3) rotation matrices, applied to column vectors from the left.

    Raises:
        InputError: the last axis does not hold three angles.
    """
    if angles.shape[-1:] != (3,):
        raise InputError(f"expected Euler angles of shape (..., 3), got {tuple(angles.shape)}: pass pitch, yaw, roll")
    (sx, sy, sz), (cx, cy, cz) = angles.sin().unbind(-1), angles.cos().unbind(-1)
    entries = (
        (cz * cy, cz * sy * sx - sz * cx, cz * sy * cx + sz * sx),
        (sz * cy, sz * sy * sx + cz * cx, sz * sy * cx - cz * sx),
        (-sy, cy * sx, cy * cx),
    )
    return torch.stack([torch.stack(row, dim=-1) for row in entries], dim=-2)


def matrix_to_euler(matrices: Float[Tensor, "*batch 3 3"]) -> Float[Tensor, "*batch 3"]:
    """Angles of rotation matrices: the inverse of `euler_to_matrix`.

    Pitch and roll are in (-pi, pi], yaw in [-pi/2, pi/2]. At yaw = +-pi/2 only a combination of pitch and roll is
    determined; roll is then taken as zero. Gradients are finite away from that pose.

    Args:
        matrices: (..., 3, 3) rotation matrices.

    Returns:
        (..., 3) radians, ordered pitch, yaw, roll.
    """
    cos_yaw_squared = matrices[..., 0, 0] ** 2 + matrices[..., 1, 0] ** 2
    # Below this the entries that hold pitch and roll are rounding noise.
    locked = cos_yaw_squared < 16 * torch.finfo(matrices.dtype).eps ** 2
    # The untaken side of a `where` still runs backward, and atan2(0, 0) has no gradient: so it gets harmless arguments.
    one, zero = torch.ones_like(cos_yaw_squared), torch.zeros_like(cos_yaw_squared)

    def atan2(y: Tensor, x: Tensor, valid: Tensor) -> Tensor:
        return torch.atan2(torch.where(valid, y, zero), torch.where(valid, x, one))

    cos_yaw = torch.where(locked, one, cos_yaw_squared).sqrt()
    yaw = torch.where(
        locked,
        torch.asin(torch.where(locked, -matrices[..., 2, 0], zero).clamp(-1, 1)),
        torch.atan2(-matrices[..., 2, 0], cos_yaw),
    )
    pitch = torch.where(
        locked,
        atan2(-matrices[..., 1, 2], matrices[..., 1, 1], locked),
        atan2(matrices[..., 2, 1], matrices[..., 2, 2], ~locked),
    )
    roll = torch.where(locked, zero, atan2(matrices[..., 1, 0], matrices[..., 0, 0], ~locked))
    return torch.stack((pitch, yaw, roll), dim=-1)


def rotation_distance(first: Float[Tensor, "*batch 3"], second: Float[Tensor, "*batch 3"]) -> Float[Tensor, "*batch"]:
    """Geodesic distance between two rotations: the angle of the one rotation that takes the first to the second.

    From the chord ||R1 - R2||_F = 2 sqrt(2) sin(angle / 2), which keeps full precision at small angles, where the trace
    formula does not. Meant for measuring; the gradient is undefined at distance zero.

    Args:
        first, second: (..., 3) Euler angles in radians.

    Returns:
        (...) radians in [0, pi].
    """
    chord = torch.linalg.matrix_norm(euler_to_matrix(first) - euler_to_matrix(second))
    return 2 * torch.asin((chord / 8**0.5).clamp(max=1))
