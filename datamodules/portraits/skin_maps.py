"""Maps of what lies on a head's skin (brows, lips, beard, blush, ...), painted once from the mean head's landmarks.

The maps are functions of cylindrical coordinates around the vertical axis of the cranium: azimuth and height of the point
on the mean head, so they stick to the skin of every identity and expression.
"""

import math

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional

from datamodules.portraits.anatomy import HeadAnatomy
from datamodules.portraits.distributions import smoothstep
from datamodules.portraits.hair import hairline_elevation

_WIDTH, _HEIGHT = 512, 400
_BOTTOM, _TOP = -2.4, 1.6
# Azimuths become lengths at the face's mean distance from the axis, decimetres.
_FACE_RADIUS = 0.80
CHANNELS = (
    "brow",
    "beard",
    "goatee",
    "moustache",
    "hairline",
    "temple",
    "lips",
    "lashes",
    "blush",
    "under_eye",
    "shine",
    "lid",
)
# Upper edge of a beard (height below the eyes' midpoint, dm) by distance from the midline on the unrolled face (dm).
_BEARD_EDGE_X = (0.0, 0.10, 0.24, 0.36, 0.50, 0.64, 0.76, 0.86, 1.02)
_BEARD_EDGE_Y = (-0.50, -0.52, -0.58, -0.66, -0.68, -0.58, -0.38, -0.12, 0.15)


def _interpolate(x: Tensor, knots: tuple[float, ...], values: tuple[float, ...]) -> Tensor:
    at, value = x.new_tensor(knots), x.new_tensor(values)
    upper = torch.searchsorted(at, x.contiguous()).clamp(1, len(at) - 1)
    weight = ((x - at[upper - 1]) / (at[upper] - at[upper - 1])).clamp(0, 1)
    return value[upper - 1] * (1 - weight) + value[upper] * weight


def _stroke(points: Tensor, path: Tensor) -> tuple[Tensor, Tensor]:
    """Distance to a polyline and the position along it in [0, 1] of the nearest point."""
    best = torch.full(points.shape[:-1], torch.inf)
    where = torch.zeros_like(best)
    segments = len(path) - 1
    for index in range(segments):
        a, b = path[index], path[index + 1]
        t = (((points - a) @ (b - a)) / (b - a).square().sum()).clamp(0, 1)
        distance = (points - a - t[..., None] * (b - a)).norm(dim=-1)
        closer = distance < best
        best = torch.where(closer, distance, best)
        where = torch.where(closer, (index + t) / segments, where)
    return best, where


def _polygon(points: Tensor, corners: Tensor) -> Tensor:
    """Signed distance to a closed polygon, positive inside."""
    distance, _ = _stroke(points, torch.cat([corners, corners[:1]]))
    inside = torch.zeros(points.shape[:-1], dtype=torch.bool)
    for index in range(len(corners)):
        a, b = corners[index], corners[(index + 1) % len(corners)]
        spans = (a[1] > points[..., 1]) != (b[1] > points[..., 1])
        crossing = a[0] + (points[..., 1] - a[1]) / (b[1] - a[1] + 1e-9) * (b[0] - a[0])
        inside = inside ^ (spans & (points[..., 0] < crossing))
    return torch.where(inside, distance, -distance)


class SkinMaps(nn.Module):
    """The painted maps and the map coordinates of a head's vertices.

    `coordinates` holds per vertex (azimuth, height, paintable): paintable is 0 on ears and inside mouth and sockets.
    """

    maps: Tensor
    coordinates: Tensor

    def __init__(self, anatomy: HeadAnatomy) -> None:
        super().__init__()
        cranium = anatomy.cranium
        vertices = anatomy.canonical - cranium
        regions = anatomy.model.regions
        bare = torch.zeros(len(vertices), dtype=torch.bool)
        for name in ("ears", "mouth_interior", "eye_sockets"):
            if name in regions:
                bare = bare | regions[name]
        azimuth = torch.atan2(vertices[:, 0], vertices[:, 2])
        self.register_buffer(
            "coordinates", torch.stack([azimuth, anatomy.canonical[:, 1], (~bare).float()], dim=1), persistent=False
        )
        marks = anatomy.landmarks - cranium
        marks = torch.stack([torch.atan2(marks[:, 0], marks[:, 2]) * _FACE_RADIUS, anatomy.landmarks[:, 1]], dim=1)
        self.register_buffer("maps", _paint(marks, cranium), persistent=False)

    def sample(self, azimuth: Float[Tensor, "points"], height: Float[Tensor, "points"]) -> Float[Tensor, "points maps"]:
        """Values of the maps, in the order of `CHANNELS`."""
        x = azimuth / math.pi
        y = (height - _BOTTOM) / (_TOP - _BOTTOM) * 2 - 1
        grid = torch.stack([x, y], dim=1)[None, None]
        return functional.grid_sample(self.maps[None], grid, align_corners=False, padding_mode="border")[0, :, 0].T


def _paint(marks: Float[Tensor, "68 2"], cranium: Float[Tensor, "3"]) -> Float[Tensor, "maps height width"]:
    azimuth = ((torch.arange(_WIDTH) + 0.5) / _WIDTH * 2 - 1) * math.pi
    y = (torch.arange(_HEIGHT) + 0.5) / _HEIGHT * (_TOP - _BOTTOM) + _BOTTOM
    y, azimuth = torch.meshgrid(y, azimuth, indexing="ij")
    s = azimuth * _FACE_RADIUS
    points = torch.stack([s, y], dim=-1)
    layers: dict[str, Tensor] = {}

    brow = torch.zeros_like(s)
    for path in (marks[17:22], marks[22:27].flip(0)):
        distance, t = _stroke(points + s.new_tensor([0.0, 0.012]), path)
        half = 0.012 + 0.026 * smoothstep(0.0, 0.55, t) - 0.006 * smoothstep(0.8, 1.0, t)
        soft = 0.016 + 0.010 * smoothstep(0.7, 1.0, t)
        brow = brow.maximum(
            smoothstep(1.0, 0.0, (distance - half + soft) / (2 * soft)) * (0.8 + 0.2 * smoothstep(0.0, 0.3, t))
        )
    layers["brow"] = brow

    outer = _polygon(points, marks[48:60])
    lips = smoothstep(-0.012, 0.014, outer)
    edge = _interpolate(s.abs(), _BEARD_EDGE_X, _BEARD_EDGE_Y)
    below = smoothstep(-0.04, 0.09, edge - y) * smoothstep(-1.42, -1.12, y) * smoothstep(1.06, 0.96, s.abs())
    nose = smoothstep(-0.56, -0.50, y) * smoothstep(0.24, 0.16, s.abs())
    clear = (1 - smoothstep(-0.035, 0.0, outer)) * (1 - nose)
    layers["beard"] = below * clear
    mouth = marks[48:60].mean(0)
    chin = smoothstep(0.36, 0.24, s.abs()) * smoothstep(mouth[1].item() + 0.02, mouth[1].item() - 0.06, y)
    layers["moustache"] = below * clear * smoothstep(0.38, 0.30, s.abs()) * smoothstep(-0.78, -0.70, y)
    sides = smoothstep(0.36, 0.30, s.abs()) * smoothstep(0.20, 0.27, s.abs())
    layers["goatee"] = (
        below
        * clear
        * chin.maximum(sides * smoothstep(-0.9, -0.7, y)).maximum(
            smoothstep(0.36, 0.29, s.abs()) * smoothstep(-0.80, -0.70, y)
        )
    )
    layers["lips"] = lips

    # Height to elevation along a mean skull of that azimuth; exact enough for a soft line of hair.
    skull = torch.where(azimuth.abs() < 1.2, 0.84 - 0.06 * azimuth.abs(), torch.full_like(azimuth, 0.80))
    elevation = torch.rad2deg(torch.atan2(y - cranium[1], skull))
    layers["hairline"] = ((elevation - hairline_elevation(azimuth)) / 20).clamp(-1, 1)
    degrees = torch.rad2deg(azimuth.abs())
    forehead = smoothstep(62.0, 42.0, degrees)
    layers["temple"] = forehead * (0.4 + 0.6 * torch.exp(-(((degrees - 35) / 16) ** 2)))

    lashes = torch.zeros_like(s)
    lid = torch.zeros_like(s)
    under = torch.zeros_like(s)
    for start, flip in ((36, False), (42, True)):
        corners = marks[start : start + 6]
        upper = corners[:4] if not flip else corners[:4].flip(0)
        distance, t = _stroke(points, upper)
        lashes = lashes.maximum(smoothstep(0.026, 0.006, distance) * (1 - 0.6 * t))
        lid = lid.maximum(smoothstep(0.14, 0.03, distance) * smoothstep(-0.03, 0.02, y - corners[:, 1].mean()))
        lower = torch.cat([corners[3:6], corners[:1]])
        distance, _ = _stroke(points + s.new_tensor([0.0, 0.055]), lower)
        under = under.maximum(smoothstep(0.10, 0.0, distance))
        distance, _ = _stroke(points, lower)
        lashes = lashes.maximum(0.35 * smoothstep(0.018, 0.004, distance))
    layers["lashes"], layers["lid"], layers["under_eye"] = lashes, lid, under

    cheeks = torch.exp(-((((s.abs() - 0.42) / 0.20) ** 2) + ((y + 0.33) / 0.17) ** 2))
    tip = torch.exp(-(((s / 0.13) ** 2) + ((y + 0.34) / 0.12) ** 2))
    layers["blush"] = cheeks + 0.7 * tip
    shine = torch.exp(-(((s / 0.35) ** 2) + ((y - 0.55) / 0.22) ** 2)) + torch.exp(
        -(((s / 0.07) ** 2) + ((y + 0.2) / 0.25) ** 2)
    )
    shine = shine + 0.7 * torch.exp(-((((s.abs() - 0.40) / 0.13) ** 2) + ((y + 0.20) / 0.10) ** 2))
    layers["shine"] = shine
    return torch.stack([layers[name] for name in CHANNELS]).float()
