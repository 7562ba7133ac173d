"""Eyeballs: front hemispheres, coloured per pixel by the angle to the line of sight."""

import torch
from jaxtyping import Float
from torch import Tensor, nn

from datamodules.portraits.anatomy import EYE_RADIUS, HeadPose
from datamodules.portraits.distributions import smoothstep

_RINGS, _SECTORS = 9, 20
_EXTENT = 1.9  # radians from the front pole that the mesh covers
# Angles at the eyeball's centre: iris radius 5.9 mm and pupil about 2 mm on a ball of 12 mm.
_IRIS_ANGLE = 0.49
_SCLERA = (0.93, 0.90, 0.87)


class Eyes(nn.Module):
    """Two eyeballs behind the lids. Their local coordinate is the unit direction from the ball's centre, head frame."""

    directions: Tensor
    faces: Tensor

    def __init__(self) -> None:
        super().__init__()
        angle = torch.linspace(0, _EXTENT, _RINGS)[:, None].expand(-1, _SECTORS)
        around = (torch.arange(_SECTORS) / _SECTORS * 2 * torch.pi).expand(_RINGS, -1)
        ball = torch.stack([angle.sin() * around.cos(), angle.sin() * around.sin(), angle.cos()], dim=-1).reshape(-1, 3)
        ring, sector = torch.meshgrid(torch.arange(_RINGS - 1), torch.arange(_SECTORS), indexing="ij")
        first = (ring * _SECTORS + sector).flatten()
        second = (ring * _SECTORS + (sector + 1) % _SECTORS).flatten()
        quads = torch.cat(
            [
                torch.stack([first, first + _SECTORS, second], 1),
                torch.stack([second, first + _SECTORS, second + _SECTORS], 1),
            ]
        )
        self.register_buffer("directions", torch.cat([ball, ball]), persistent=False)
        self.register_buffer("faces", torch.cat([quads, quads + len(ball)]), persistent=False)

    def vertices(self, head: HeadPose) -> Float[Tensor, "batch vertices 3"]:
        """Positions in the object frame."""
        contours = head.neutral_landmarks[:, 36:48].unflatten(1, (2, 6))
        # The lids' contour bulges; the ball's front is level with the middle of its upper and lower points.
        centre = contours.mean(2)
        front = contours[:, :, [1, 2, 4, 5], 2].mean(2)
        centre = torch.cat([centre[..., :2], (front - EYE_RADIUS - 0.012)[..., None]], dim=-1)
        ball = self.directions.unflatten(0, (2, -1)) * EYE_RADIUS
        return (centre[:, :, None] + ball).flatten(1, 2)


def gaze_axis(gaze: Float[Tensor, "batch 2"], yaw: Float[Tensor, "batch"]) -> Float[Tensor, "batch 3"]:
    """Line of sight in the head frame: eyes half follow the camera as the head turns.

    Args:
        gaze: (up, right) latents.
        yaw: of the head, radians.
    """
    right = (-0.55 * yaw).clamp(-0.45, 0.45) + 0.11 * gaze[:, 1]
    up = 0.06 * gaze[:, 0] - 0.02
    return torch.stack([right.sin() * up.cos(), up.sin(), right.cos() * up.cos()], dim=1)


def eye_colour(
    direction: Float[Tensor, "points 3"],
    axis: Float[Tensor, "points 3"],
    iris: Float[Tensor, "points 3"],
    noise: Float[Tensor, "points"],
) -> tuple[Float[Tensor, "points 3"], Float[Tensor, "points"]]:
    """Albedo and ambient occlusion by the lids at points of an eyeball.

    Args:
        direction: unit, from the ball's centre, head frame.
        axis: line of sight there.
        iris: pigment.
        noise: unit-variance texture for the iris' fibres.
    """
    direction = nn.functional.normalize(direction, dim=1)
    angle = torch.arccos((direction * axis).sum(1).clamp(-1, 1)) / _IRIS_ANGLE
    sclera = direction.new_tensor(_SCLERA) * (1 - 0.10 * smoothstep(0.5, 0.9, direction[:, :1].abs()))
    sclera = sclera - direction.new_tensor([-0.02, 0.06, 0.06]) * smoothstep(0.35, 0.8, direction[:, :1].abs())
    ring = smoothstep(0.72, 1.0, angle)[:, None]
    inner = smoothstep(0.75, 0.35, angle)[:, None]
    fibres = 1 + 0.16 * noise[:, None]
    colour = iris * (1.05 + 0.3 * inner) * fibres * (1 - 0.62 * ring)
    colour = colour * (1 - 0.94 * smoothstep(0.40, 0.30, angle)[:, None])
    white = smoothstep(0.94, 1.08, angle)[:, None]
    colour = colour * (1 - white) + sclera * white
    lid = 1.08 - 0.40 * smoothstep(0.10, 0.46, direction[:, 1]) - 0.08 * smoothstep(-0.2, -0.45, direction[:, 1])
    corner = 1 - 0.25 * smoothstep(0.6, 0.95, direction[:, 0].abs())
    return colour, lid * corner
