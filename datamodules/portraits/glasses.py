"""Spectacles: two rims, a bridge and temples, as tubes in front of the eyes."""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor, nn

from datamodules.portraits.anatomy import HeadPose
from datamodules.portraits.distributions import gate, palette, uniform
from datamodules.portraits.grids import grid_faces, tube

_RIM, _BRIDGE, _TEMPLE, _SIDES = 22, 5, 4, 5
_COLOURS = ((0.02, 0.02, 0.025), (0.16, 0.08, 0.05), (0.35, 0.20, 0.10), (0.45, 0.44, 0.43), (0.60, 0.48, 0.22))
_STOPS = (0.0, 0.45, 0.65, 0.80, 1.0)
# Where parts that are not worn are put: behind the camera, where the rasterizer drops faces.
_HIDDEN = 1000.0


@dataclass(frozen=True)
class GlassesControls:
    """Whether worn (0 or 1 but for a thin band between), squareness of the rims, their thickness (dm) and colour."""

    worn: Float[Tensor, "batch"]
    square: Float[Tensor, "batch"]
    radius: Float[Tensor, "batch"]
    colour: Float[Tensor, "batch 3"]


def glasses_controls(latent: Float[Tensor, "batch 3"]) -> GlassesControls:
    """One portrait in eight wears spectacles, from thin metal to thick dark rims."""
    heavy = uniform(latent[:, 1])
    colour = palette(1 - heavy, latent.new_tensor(_STOPS), latent.new_tensor(_COLOURS))
    return GlassesControls(
        worn=gate(latent[:, 0], 0.13, 0.05), square=uniform(latent[:, 2]), radius=0.011 + 0.014 * heavy, colour=colour
    )


class Glasses(nn.Module):
    """The spectacles' mesh."""

    faces: Tensor

    def __init__(self) -> None:
        super().__init__()
        parts, start = [], 0
        for points, closed in ((_RIM, True), (_RIM, True), (_BRIDGE, False), (_TEMPLE, False), (_TEMPLE, False)):
            parts.append(grid_faces(points, _SIDES + 1, closed) + start)
            start += points * (_SIDES + 1)
        self.register_buffer("faces", torch.cat(parts), persistent=False)

    def vertices(self, head: HeadPose, controls: GlassesControls) -> Float[Tensor, "batch vertices 3"]:
        """Positions in the object frame; behind the camera where not worn."""
        landmarks = head.neutral_landmarks
        eyes = landmarks[:, 36:48].unflatten(1, (2, 6)).mean(2)
        nose = landmarks[:, 27]
        angle = torch.arange(_RIM, device=landmarks.device) / _RIM * 2 * torch.pi
        # A superellipse: exponent 1 is an ellipse, smaller is boxier.
        power = (1.0 - 0.5 * controls.square)[:, None]
        x = angle.cos().sign() * angle.cos().abs() ** power * (0.255 + 0.02 * controls.square)[:, None]
        y = angle.sin().sign() * angle.sin().abs() ** power * (0.205 - 0.03 * controls.square)[:, None]
        wrap = -0.30 * x.abs() ** 2
        rims, paths = [], []
        for index, outward in ((0, -1.0), (1, 1.0)):
            centre = eyes[:, index] + landmarks.new_tensor([0.012 * outward, -0.03, 0.13])
            # Lenses turn slightly with the face's curve: outer edges lie further back.
            depth = wrap - 0.22 * outward * x
            rims.append(centre[:, None] + torch.stack([x, y, depth], dim=-1))
        inner = [rims[0][:, 0], rims[1][:, _RIM // 2]]
        step = torch.linspace(0, 1, _BRIDGE, device=landmarks.device)[:, None]
        bridge = inner[0][:, None] * (1 - step) + inner[1][:, None] * step
        top = torch.stack([nose[:, 0] * 0, 0 * nose[:, 0], (nose[:, 2] + 0.05 - bridge[:, 0, 2]).clamp(min=0.02)], 1)
        paths.append(
            bridge
            + top[:, None] * (4 * step * (1 - step))
            + landmarks.new_tensor([0, 0.03, 0]) * (4 * step * (1 - step))
        )
        step = torch.linspace(0, 1, _TEMPLE, device=landmarks.device)[:, None]
        for index, outward, corner in ((0, -1.0, _RIM // 2), (1, 1.0, 0)):
            ear = landmarks[:, 0 if index == 0 else 16] + landmarks.new_tensor([0.05 * outward, 0.10, -0.35])
            hinge = rims[index][:, corner] + landmarks.new_tensor([0.02 * outward, 0.05, -0.02])
            bow = landmarks.new_tensor([0.10 * outward, 0.02, 0.0]) * (4 * step * (1 - step))
            paths.append(hinge[:, None] * (1 - step) + ear[:, None] * step + bow)
        tubes = [tube(rim, controls.radius, True, _SIDES) for rim in rims]
        tubes += [tube(path, controls.radius, False, _SIDES) for path in paths]
        worn = (controls.worn > 0.5)[:, None, None]
        points = torch.cat(tubes, dim=1)
        return torch.where(worn, points, points.new_tensor([0.0, 0.0, _HIDDEN]).expand_as(points))
