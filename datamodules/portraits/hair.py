"""Hair as one shell whose parameters make the styles: a cap on the skull, a curtain below it and a bun."""

import math
from dataclasses import dataclass, fields

import torch
from jaxtyping import Float
from torch import Tensor, nn

from datamodules.portraits.anatomy import HeadAnatomy, HeadPose
from datamodules.portraits.distributions import excess, plateaus, smoothstep, uniform
from datamodules.portraits.grids import grid_faces

_SKULL_ROWS, _CURTAIN_ROWS = 18, 14
_BUN_COLUMNS, _BUN_ROWS = 12, 8
# Elevation of the hairline seen from the cranium's centre, degrees, by azimuth from the front: forehead, receding
# temple, sideburn before the ear, over the ear, nape.
_HAIRLINE_AZIMUTH = (0.0, 22.0, 42.0, 56.0, 68.0, 78.0, 86.0, 96.0, 110.0, 125.0, 150.0, 180.0)
_HAIRLINE_ELEVATION = (29.0, 30.0, 27.0, 17.0, 3.0, -15.0, -20.0, 0.0, -8.0, -30.0, -46.0, -50.0)


# One number for a named style, a number per sample for a batch.
Amount = float | Tensor


@dataclass(frozen=True)
class HairStyle:
    """Parameters of the shell, one number or (batch,) tensor each; lengths in decimetres.

    Attributes:
        share: how common the style is.
        opacity: of the shell; 0 hides it.
        stubble: hair painted on the scalp, 0 to 1.
        top, side, back, front: thickness of the cap over those parts of the skull.
        drape: 0 follows the skull, 1 hangs straight from its widest level.
        length: of the curtain below the hairline.
        start: azimuth (degrees) from which the curtain hangs, the face being open before it.
        flare: outward distance gained over the curtain.
        curl_in: inward turn at the tips.
        wave: amplitude of waves.
        rough: relative bumps of the surface.
        fringe: 0 bare forehead, 1 hair down to the brows.
        parting: 0 combed from the crown, 1 from a parting.
        curly: 0 straight strands, 1 small curls in texture.
        bun: radius of the knot above the crown.
    """

    share: Amount
    opacity: Amount = 1.0
    stubble: Amount = 1.0
    top: Amount = 0.1
    side: Amount = 0.06
    back: Amount = 0.08
    front: Amount = 0.08
    drape: Amount = 0.0
    length: Amount = 0.0
    start: Amount = 66.0
    flare: Amount = 0.0
    curl_in: Amount = 0.0
    wave: Amount = 0.0
    rough: Amount = 0.06
    fringe: Amount = 0.0
    parting: Amount = 0.0
    curly: Amount = 0.0
    bun: Amount = 0.0


BALD = HairStyle(0.05, opacity=0.0, stubble=0.06, top=0.01, side=0.01, back=0.01, front=0.01)
BUZZ = HairStyle(0.07, opacity=0.0, stubble=0.72, top=0.02, side=0.02, back=0.02, front=0.02)
CROP = HairStyle(0.11, top=0.13, side=0.045, back=0.07, front=0.07, rough=0.10, curly=0.15)
SIDE_PART = HairStyle(0.12, top=0.20, side=0.07, back=0.08, front=0.13, parting=1.0, rough=0.06)
QUIFF = HairStyle(0.09, top=0.30, side=0.05, back=0.07, front=0.26, rough=0.12)
CURLY = HairStyle(0.07, top=0.32, side=0.17, back=0.2, front=0.22, rough=0.22, curly=0.9, fringe=0.15)
AFRO = HairStyle(0.05, top=0.48, side=0.36, back=0.45, front=0.30, rough=0.08, curly=1.0)
SHAG = HairStyle(
    0.07,
    top=0.20,
    side=0.15,
    back=0.16,
    front=0.14,
    drape=0.8,
    length=0.42,
    start=66.0,
    wave=0.04,
    rough=0.12,
    parting=0.6,
    fringe=0.25,
)
BOB = HairStyle(
    0.09,
    top=0.15,
    side=0.16,
    back=0.18,
    front=0.10,
    drape=1.0,
    length=0.62,
    start=54.0,
    flare=0.06,
    curl_in=0.14,
    parting=1.0,
    rough=0.04,
)
FRINGE_BOB = HairStyle(
    0.05,
    top=0.15,
    side=0.16,
    back=0.18,
    front=0.12,
    drape=1.0,
    length=0.55,
    start=54.0,
    flare=0.05,
    curl_in=0.12,
    fringe=1.0,
    rough=0.04,
)
LONG = HairStyle(
    0.12,
    top=0.13,
    side=0.13,
    back=0.15,
    front=0.09,
    drape=1.0,
    length=1.7,
    start=50.0,
    flare=0.12,
    parting=1.0,
    rough=0.05,
    wave=0.01,
)
WAVY = HairStyle(
    0.10,
    top=0.16,
    side=0.18,
    back=0.2,
    front=0.12,
    drape=1.0,
    length=1.6,
    start=49.0,
    flare=0.22,
    parting=0.9,
    rough=0.10,
    wave=0.075,
    curly=0.25,
)
BUN = HairStyle(0.06, top=0.07, side=0.05, back=0.07, front=0.05, rough=0.03, bun=0.34)
SLEEK = HairStyle(0.05, top=0.06, side=0.045, back=0.07, front=0.045, rough=0.03)
# In this order neighbouring styles resemble each other, so that the latent moves smoothly through them. Styles before
# SHAG are those of people who may wear beards.
STYLES = (BALD, BUZZ, CROP, SIDE_PART, QUIFF, CURLY, AFRO, SHAG, BOB, FRINGE_BOB, LONG, WAVY, BUN, SLEEK)
_FIRST_BEARDLESS = STYLES.index(SHAG)


@dataclass(frozen=True)
class HairControls:
    """A batch of hair: the style's parameters, each (batch,), those that colour skin and strands, and the wearer's own."""

    style: HairStyle
    opacity: Float[Tensor, "batch"]
    stubble: Float[Tensor, "batch"]
    curly: Float[Tensor, "batch"]
    recede: Float[Tensor, "batch"]
    side: Float[Tensor, "batch"]
    phase: Float[Tensor, "batch"]
    beardless: Float[Tensor, "batch"]


def hair_controls(latent: Float[Tensor, "batch 12"]) -> HairControls:
    """Style, length, volume and so on from the hair latent (numbers 4 to 6 are its colour)."""
    shares = torch.tensor([style.share for style in STYLES], device=latent.device)
    edges = (shares.cumsum(0) / shares.sum())[:-1]
    names = [field.name for field in fields(HairStyle)]
    rows = torch.tensor([[getattr(style, name) for name in names] for style in STYLES], device=latent.device)
    position = uniform(latent[:, 0])
    values = dict(zip(names, plateaus(position, edges, rows, width=0.02).unbind(1), strict=True))
    volume = torch.exp(0.22 * latent[:, 2])
    for name in ("top", "side", "back", "front"):
        values[name] = values[name] * volume
    values["length"] = values["length"] * torch.exp(0.2 * latent[:, 1])
    values["top"] = values["top"] * torch.exp(0.15 * latent[:, 1])
    values["wave"] = values["wave"] * torch.exp(0.35 * latent[:, 8])
    values["fringe"] = (values["fringe"] + 0.5 * excess(latent[:, 9], 0.15, 1.0) * (values["opacity"] > 0.5)).clamp(
        0, 1
    )
    values["start"] = values["start"] + 3.0 * latent[:, 10]
    beardless = smoothstep(-0.01, 0.01, position - edges[_FIRST_BEARDLESS - 1])
    recede = 2.5 * latent[:, 3] + 14 * excess(latent[:, 3], 0.15, 1.0) * (1 - beardless)
    return HairControls(
        style=HairStyle(**values),
        opacity=values["opacity"],
        stubble=values["stubble"],
        curly=values["curly"],
        recede=recede,
        side=torch.tanh(2 * latent[:, 7]),
        phase=latent[:, 11],
        beardless=beardless,
    )


def hairline_elevation(azimuth: Float[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
    """Elevation (degrees) of the mean hairline at azimuths in radians, piecewise linear, smooth enough at pixel size."""
    x = azimuth.new_tensor(_HAIRLINE_AZIMUTH)
    y = azimuth.new_tensor(_HAIRLINE_ELEVATION)
    degrees = torch.rad2deg(azimuth.abs()).clamp(0, 179.9).contiguous()
    upper = torch.searchsorted(x, degrees, right=True).clamp(1, len(x) - 1)
    weight = (degrees - x[upper - 1]) / (x[upper] - x[upper - 1])
    return y[upper - 1] * (1 - weight) + y[upper] * weight


@dataclass(frozen=True)
class HairShell:
    """Vertices in the object frame and, per vertex, (across, along, distance to the strand's end, looseness)."""

    vertices: Float[Tensor, "batch vertices 3"]
    local: Float[Tensor, "batch vertices 4"]


class Hair(nn.Module):
    """The hair mesh of a head. Faces are the same for every style."""

    faces: Tensor
    noise: Tensor

    def __init__(self, anatomy: HeadAnatomy) -> None:
        super().__init__()
        columns = len(anatomy.azimuths)
        rows = _SKULL_ROWS + _CURTAIN_ROWS
        cap = grid_faces(columns, rows, closed=True)
        bun = grid_faces(_BUN_COLUMNS, _BUN_ROWS, closed=True) + columns * rows
        self.register_buffer("faces", torch.cat([cap, bun]), persistent=False)
        # Smooth bumps over (azimuth, row): a few plane waves with fixed phases.
        azimuth = anatomy.azimuths[:, None]
        row = torch.linspace(0, 1, _SKULL_ROWS)[None]
        generator = torch.Generator().manual_seed(7)
        noise = torch.zeros(columns, _SKULL_ROWS)
        for _ in range(14):
            turns = int(torch.randint(1, 12, (1,), generator=generator))
            pitch, phase = (12 * torch.rand(2, generator=generator)).tolist()
            noise = noise + torch.sin(turns * azimuth + pitch * row + phase) * row
        self.register_buffer("noise", noise / noise.std(), persistent=False)

    def forward(self, anatomy: HeadAnatomy, head: HeadPose, controls: HairControls) -> HairShell:
        """The shell over the given heads."""
        style = HairStyle(**{f.name: getattr(controls.style, f.name)[:, None, None] for f in fields(HairStyle)})
        side, phase = controls.side[:, None, None], controls.phase[:, None, None]
        azimuth = anatomy.azimuths[None, :, None]
        degrees = torch.rad2deg(azimuth)
        forehead = smoothstep(62.0, 42.0, degrees.abs())
        hairline = hairline_elevation(azimuth)
        temple = torch.exp(-(((degrees.abs() - 35) / 16) ** 2))
        hairline = hairline + controls.recede[:, None, None] * forehead * (0.4 + 0.6 * temple)
        # The fringe ends just above the brows, sweeping to one side.
        swept = 8.5 + 5.0 * side * azimuth.sin() * 1.2
        lowered = hairline * (1 - forehead) + swept * forehead
        hairline = hairline + style.fringe * (lowered.minimum(hairline) - hairline)
        t = torch.linspace(0, 1, _SKULL_ROWS, device=azimuth.device)
        elevation = torch.deg2rad(90 - t * (90 - hairline))
        radius = anatomy.surface_radius(head, torch.arange(len(anatomy.azimuths), device=t.device), elevation)

        length = style.length * smoothstep(-8.0, 10.0, degrees.abs() - style.start)
        # The back hangs lower than the sides where it starts lower; equal ends look combed.
        end_height = anatomy.cranium[1] + radius[..., -1:] * elevation[..., -1:].sin()
        length = (length + 0.7 * smoothstep(0.05, 0.3, length) * (end_height - (anatomy.cranium[1] - 0.3))).clamp(min=0)
        hanging = smoothstep(0.02, 0.25, length)

        top = smoothstep(0.45, 1.2, elevation)
        front = smoothstep(0.15, 0.8, azimuth.cos())
        back = smoothstep(0.0, 0.7, -azimuth.cos())
        around = style.front * front + style.back * back + style.side * (1 - front - back)
        thickness = style.top * top + around * (1 - top)
        thickness = thickness * (1 + 0.28 * side * azimuth.sin() * style.parting)
        edge = smoothstep(1.02, 0.80, t)
        edge = edge + (1 - edge) * hanging.maximum(style.fringe * forehead * 0.6)
        # Roots at the hairline start just under the skin, so that no gap shows between shell and head.
        thickness = thickness * edge * (1 + style.rough * self.noise) - 0.012 * (1 - edge)
        direction = anatomy.directions(azimuth.expand_as(elevation), elevation)
        horizontal = direction[..., [0, 2]].norm(dim=-1) * (radius + thickness)
        height = direction[..., 1] * (radius + thickness)
        lateral = horizontal * azimuth.sin()
        groove = (
            torch.exp(-(((lateral - 0.28 * side) / 0.05) ** 2))
            * top
            * style.parting
            * smoothstep(0.0, 0.4, azimuth.cos())
        )
        height = height - 0.35 * groove * thickness
        widest = horizontal.cummax(dim=2).values
        horizontal = horizontal + style.drape * hanging * (widest - horizontal)

        q = torch.linspace(0, 1, _CURTAIN_ROWS + 1, device=t.device)[1:]
        fall = length * q
        turn = 7.5 * fall + 2.6 * (3 * azimuth + phase).sin() + 4 * azimuth.sign() * 0.2
        wave = style.wave * smoothstep(0.0, 0.4, fall)
        out = style.flare * (fall / 1.2).clamp(max=1.4) ** 1.3 + wave * turn.sin() * (1 + 0.4 * (9 * azimuth).sin())
        out = out - style.curl_in * smoothstep(0.55, 1.0, q) * (length > 0)
        strands = 0.02 * style.rough * 10 * (13 * azimuth + 2 * phase).sin() * q
        curtain_horizontal = horizontal[..., -1:] + out + strands * smoothstep(0.0, 0.3, length)
        curtain_height = (
            height[..., -1:] - fall + 0.05 * (17 * azimuth + phase).sin() * q * smoothstep(0.2, 0.6, length)
        )
        shift = wave * 0.8 * turn.cos()

        horizontal = torch.cat([horizontal, curtain_horizontal], dim=2)
        height = torch.cat([height, curtain_height], dim=2)
        swing = torch.cat([torch.zeros_like(thickness), shift.expand_as(curtain_height)], dim=2)
        points = torch.stack(
            [
                horizontal * azimuth.sin() + swing * azimuth.cos(),
                height,
                horizontal * azimuth.cos() - swing * azimuth.sin(),
            ],
            dim=-1,
        )
        skull_arc = (math.pi / 2 - elevation) * 0.95
        along = torch.cat([skull_arc, skull_arc[..., -1:] + fall], dim=2)
        remaining = along[..., -1:] - along
        # Combed sideways from the parting over the top of the head, falling from the crown elsewhere.
        above = torch.cat([smoothstep(0.35, 0.9, elevation), torch.zeros_like(curtain_height)], dim=2)
        combed = style.parting * smoothstep(1.4, 0.9, azimuth.abs()) * above
        across = azimuth * 0.9 * (1 - combed) + points[..., 2] * 1.1 * combed
        # Behind the front strands hangs the hair of the back; behind the tips of that, nothing.
        loose = smoothstep(1.2, 1.7, azimuth.abs()) * q * smoothstep(0.1, 0.4, length)
        looseness = torch.cat([torch.zeros_like(thickness), loose], dim=2)
        local = torch.stack([across + 0 * along, along, remaining, looseness], dim=-1)
        bun_points, bun_local = self._bun(anatomy, head, torch.as_tensor(controls.style.bun))
        vertices = torch.cat([points.flatten(1, 2), bun_points], dim=1) + anatomy.cranium + anatomy.origin
        return HairShell(vertices, torch.cat([local.flatten(1, 2), bun_local], dim=1))

    def _bun(
        self, anatomy: HeadAnatomy, head: HeadPose, size: Float[Tensor, "batch"]
    ) -> tuple[Float[Tensor, "batch vertices 3"], Float[Tensor, "batch vertices 4"]]:
        turn = torch.arange(_BUN_COLUMNS, device=size.device) / _BUN_COLUMNS * 2 * math.pi
        down = torch.linspace(0.02, math.pi - 0.02, _BUN_ROWS, device=size.device)
        unit = anatomy.directions(turn[:, None].expand(-1, _BUN_ROWS), (math.pi / 2 - down).expand(_BUN_COLUMNS, -1))
        crown = head.radius[..., -1].mean(1)
        # A missing bun shrinks to a point inside the skull.
        rise = torch.where(size > 0.02, crown + 0.55 * size, 0.3 * crown)
        centre = torch.stack([torch.zeros_like(rise), rise, -0.25 * torch.ones_like(rise)], dim=1)
        scale = size.new_tensor([1.15, 0.9, 1.15]) * size[:, None]
        points = centre[:, None] + unit.reshape(-1, 3) * scale[:, None]
        spiral = (turn[:, None] * 0.25 + down * 0.35).flatten().expand(len(size), -1)
        along = (turn[:, None] * 0.35 - down * 0.2).flatten().expand(len(size), -1)
        one = torch.ones_like(along)
        return points, torch.stack([spiral, along, one, 0 * one], dim=-1)
