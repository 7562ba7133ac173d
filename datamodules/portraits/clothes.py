"""Neck base, shoulders and chest, dressed per pixel; a collar band for high necks."""

import math
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor, nn

from datamodules.portraits.distributions import gate, smoothstep, uniform
from datamodules.portraits.grids import grid_faces

_COLUMNS, _ROWS = 36, 16
_BAND_ROWS = 5
# Profiles (distance from the neck's axis, height above the neck's base), dm, from the neck to below the picture.
_SIDE = (
    (0.40, 0.45),
    (0.56, 0.12),
    (0.70, -0.08),
    (1.00, -0.27),
    (1.45, -0.42),
    (1.85, -0.62),
    (2.10, -1.0),
    (2.20, -3.0),
)
_FRONT = (
    (0.30, 0.30),
    (0.48, -0.05),
    (0.58, -0.22),
    (0.70, -0.55),
    (0.82, -0.95),
    (0.90, -1.35),
    (0.95, -1.9),
    (0.95, -3.0),
)
_BACK = (
    (0.40, 0.45),
    (0.58, 0.15),
    (0.72, -0.05),
    (0.85, -0.35),
    (0.95, -0.8),
    (1.00, -1.2),
    (1.00, -1.8),
    (1.0, -3.0),
)
# Base of the neck, dm from the midpoint of the eyes, and its mean radius.
NECK_BASE = (0.0, -1.42, -0.78)
_BAND_RADIUS = (0.66, 0.66)


@dataclass(frozen=True)
class ClothesControls:
    """Dress of a batch.

    Attributes:
        neckline: depth of a round neckline (dm of arc from the neck).
        v_depth: depth of a V neckline.
        band: height of a collar around the neck, 0 for none.
        jacket: 1 shows a shirt's V between lapels.
        stripes: amplitude of a striped pattern; direction and period beside it.
        primary, secondary: colours.
        lean: yaw of the body beside the head's (radians).
    """

    neckline: Float[Tensor, "batch"]
    v_depth: Float[Tensor, "batch"]
    band: Float[Tensor, "batch"]
    jacket: Float[Tensor, "batch"]
    stripes: Float[Tensor, "batch"]
    period: Float[Tensor, "batch"]
    primary: Float[Tensor, "batch 3"]
    secondary: Float[Tensor, "batch 3"]
    lean: Float[Tensor, "batch"]


def hue_colour(
    hue: Float[Tensor, "batch"], saturation: Float[Tensor, "batch"], value: Float[Tensor, "batch"]
) -> Float[Tensor, "batch 3"]:
    """A colour from smooth cosine hues; `hue` in radians."""
    phases = hue.new_tensor([0.0, 2 * math.pi / 3, 4 * math.pi / 3])
    tone = 0.5 + 0.5 * torch.cos(hue[:, None] - phases)
    return (value[:, None] * (1 - saturation[:, None] * (1 - tone))).clamp(0, 1)


def clothes_controls(latent: Float[Tensor, "batch 8"]) -> ClothesControls:
    """Crew neck, V neck, jacket over shirt, high neck or wide neckline, in colours that are dark more often than bright."""
    kind = uniform(latent[:, 0])
    value = 0.06 + 0.86 * uniform(latent[:, 1]) ** 1.5
    hue = 2.6 * latent[:, 2]
    saturation = uniform(latent[:, 3], 0.0, 0.85) * (1 - 0.4 * smoothstep(0.6, 0.9, value))
    jacket = smoothstep(0.34, 0.36, kind) * smoothstep(0.62, 0.60, kind)
    v_neck = smoothstep(0.62, 0.64, kind) * smoothstep(0.80, 0.78, kind)
    band = smoothstep(0.80, 0.82, kind) * smoothstep(0.90, 0.88, kind)
    wide = smoothstep(0.89, 0.91, kind)
    open_shirt = jacket * gate(latent[:, 6], 0.5)
    return ClothesControls(
        neckline=0.02 + 0.05 * torch.tanh(latent[:, 4]) + 0.35 * wide - 0.3 * band,
        v_depth=v_neck * (0.75 + 0.2 * torch.tanh(latent[:, 4])) + 0.35 * open_shirt,
        band=0.42 * band + 0.16 * jacket * (1 - 0.3 * open_shirt),
        jacket=jacket,
        stripes=gate(latent[:, 5], 0.2) * (1 - jacket) * 0.6,
        period=0.12 * torch.exp(0.4 * latent[:, 6]),
        primary=hue_colour(hue, saturation, value),
        secondary=hue_colour(hue + 1.5 * latent[:, 6], saturation * 0.35, 0.93 - 0.25 * value),
        lean=0.12 * latent[:, 7],
    )


class Clothes(nn.Module):
    """Torso and collar meshes around the neck's base (body frame: x right, y up, z to the front)."""

    torso: Tensor
    faces: Tensor
    is_band: Tensor

    def __init__(self) -> None:
        super().__init__()
        turn = torch.arange(_COLUMNS) / _COLUMNS * 2 * math.pi
        steps = torch.linspace(0, 1, _ROWS)
        profiles = torch.tensor([_SIDE, _FRONT, _BACK])
        position = steps * (profiles.shape[1] - 1)
        low = position.floor().clamp(max=profiles.shape[1] - 2).long()
        weight = (position - low)[:, None]
        side, front, back = profiles[:, low] * (1 - weight) + profiles[:, low + 1] * weight
        sine, cosine = turn.sin()[:, None], turn.cos()[:, None]
        ahead = torch.where(cosine[..., None] > 0, front, back)
        distance_x, distance_z = side[:, 0] * sine, ahead[..., 0] * cosine
        share = sine**2
        height = side[:, 1] * share + ahead[..., 1] * (1 - share)
        torso = torch.stack([distance_x, height, distance_z], dim=-1).reshape(-1, 3)
        faces = grid_faces(_COLUMNS, _ROWS, closed=True)
        band = grid_faces(_COLUMNS, _BAND_ROWS, closed=True) + len(torso)
        self.register_buffer("torso", torso, persistent=False)
        self.register_buffer("faces", torch.cat([faces, band]), persistent=False)
        count = len(torso) + _COLUMNS * _BAND_ROWS
        self.register_buffer("is_band", torch.arange(count) >= len(torso), persistent=False)

    def vertices(self, controls: ClothesControls) -> Float[Tensor, "batch vertices 3"]:
        """Positions in the body frame, relative to the neck's base."""
        batch = len(controls.band)
        turn = torch.arange(_COLUMNS, device=self.torso.device) / _COLUMNS * 2 * math.pi
        step = torch.linspace(0, 1, _BAND_ROWS, device=self.torso.device)
        height = 0.10 + controls.band[:, None, None] - (0.75 + controls.band[:, None, None]) * step
        height = height - 0.30 * smoothstep(-0.2, 1.0, turn.cos())[:, None] * (1 - 0.3 * step)
        # A missing collar shrinks inside the neck.
        scale = smoothstep(0.02, 0.08, controls.band)[:, None, None] * 0.85 + 0.15
        radius = scale * (1 + 0.06 * step)
        x = _BAND_RADIUS[0] * radius * turn.sin()[:, None]
        z = _BAND_RADIUS[1] * radius * turn.cos()[:, None]
        band = torch.stack([x.expand_as(height), height, z.expand_as(height)], dim=-1).flatten(1, 2)
        return torch.cat([self.torso.expand(batch, -1, -1), band], dim=1)


def clothes_colour(
    local: Float[Tensor, "points 3"],
    band: Float[Tensor, "points"],
    skin: Float[Tensor, "points 3"],
    controls: ClothesControls,
    noise: Float[Tensor, "points"],
) -> tuple[Float[Tensor, "points 3"], Float[Tensor, "points"], Float[Tensor, "points"]]:
    """Albedo, occlusion and share of cloth at points of the torso and collar.

    Args:
        local: positions in the body frame.
        band: 1 on the collar.
        skin: the wearer's skin there.
        controls: indexed per point.
        noise: unit variance, for folds.
    """
    x, y, z = local.unbind(1)
    reach = torch.hypot(x, 1.1 * z) - 0.56
    crew = reach - controls.neckline
    v_line = -(y + 0.10) - controls.v_depth + 1.15 * x.abs()
    v_line = torch.where(z > 0, v_line, torch.ones_like(v_line))
    inside = torch.where(controls.v_depth > 0.05, crew.minimum(v_line), crew)
    cloth = torch.where(band > 0.5, torch.ones_like(inside), smoothstep(-0.012, 0.012, inside))
    seam = 1 - 0.35 * torch.exp(-((inside / 0.05) ** 2)) * (1 - band)
    wave = torch.sin(2 * math.pi / controls.period * torch.where(controls.period > 0.12, y, x + 0.3 * z))
    stripe = controls.stripes * smoothstep(-0.3, 0.3, wave)
    shirt = controls.jacket * torch.where(z > 0, smoothstep(0.03, -0.03, x.abs() - 0.34 - 0.20 * (y + 0.3)), 0 * z)
    shirt = torch.maximum(shirt, controls.jacket * band)
    colour = controls.primary + (controls.secondary - controls.primary) * torch.maximum(stripe, shirt)[:, None]
    folds = 1 + 0.10 * noise
    colour = skin * (1 - cloth[:, None]) + colour * folds[:, None] * cloth[:, None]
    return colour, seam, cloth
