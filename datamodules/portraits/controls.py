"""What a portrait latent means: the stated distributions of everything that a picture shows."""

import math
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from datamodules.portraits.distributions import excess, gate, heavy_tailed, palette, smoothstep, uniform
from renderers.shading import direction_from_angles, directional_light

_DEGREE = math.pi / 180
# Hair pigment from eumelanin-rich to poor, display colours under unit light.
_HAIR_STOPS = (0.0, 0.28, 0.52, 0.70, 0.86, 1.0)
_HAIR_COLOURS = (
    (0.045, 0.038, 0.036),
    (0.115, 0.075, 0.055),
    (0.230, 0.145, 0.090),
    (0.370, 0.245, 0.145),
    (0.560, 0.415, 0.250),
    (0.780, 0.640, 0.420),
)
_RED_HAIR = (0.480, 0.190, 0.075)
_GREY_HAIR = (0.620, 0.610, 0.600)
_IRIS_STOPS = (0.0, 0.45, 0.62, 0.75, 0.88, 1.0)
_IRIS_COLOURS = (
    (0.16, 0.09, 0.05),
    (0.32, 0.19, 0.10),
    (0.32, 0.25, 0.15),
    (0.33, 0.38, 0.24),
    (0.36, 0.44, 0.50),
    (0.30, 0.46, 0.66),
)


@dataclass(frozen=True)
class LightControls:
    """Key light direction (unit, camera frame), its colour, and all light as 27 harmonics."""

    key_direction: Float[Tensor, "batch 3"]
    key_colour: Float[Tensor, "batch 3"]
    illumination: Float[Tensor, "batch 27"]


def rotation(latent: Float[Tensor, "batch 3"]) -> Float[Tensor, "batch 3"]:
    """Pitch, yaw, roll: deviations about 7, 19 and 3 degrees, tails to 22, 55 and 12 (as in aligned portrait photos)."""
    pitch = heavy_tailed(latent[:, 0], 7.0, 22.0)
    yaw = heavy_tailed(latent[:, 1], 20.0, 58.0)
    roll = heavy_tailed(latent[:, 2], 3.0, 12.0)
    return torch.stack([pitch, yaw, roll], dim=1) * _DEGREE


def anchor_position(latent: Float[Tensor, "batch 3"]) -> Float[Tensor, "batch 3"]:
    """Where the point between eyes and mouth lands (dm): small jitter of an alignment, and distance as its scale."""
    return torch.stack([0.035 * latent[:, 0], 0.04 * latent[:, 1] - 0.01, -0.95 + 0.32 * latent[:, 2]], dim=1)


def light(latent: Float[Tensor, "batch 12"]) -> LightControls:
    """A key light in front, a weaker fill, an ambient, each with a colour temperature; exposure held near constant."""
    azimuth = heavy_tailed(latent[:, 0], 40.0, 85.0) * _DEGREE
    elevation = (22 + heavy_tailed(latent[:, 1], 20.0, 50.0)) * _DEGREE
    hardness = uniform(latent[:, 2], 0.2, 0.75)
    fill_azimuth = -azimuth + heavy_tailed(latent[:, 3], 35.0, 80.0) * _DEGREE
    fill_share = uniform(latent[:, 4], 0.1, 0.45)
    warmth = 0.09 * latent[:, 5]
    ambient_warmth = 0.07 * latent[:, 6] - 0.4 * warmth
    tint = 0.018 * latent[:, 7]
    exposure = torch.exp(0.13 * latent[:, 8])
    sky = 0.12 * latent[:, 9]
    coloured = gate(latent[:, 10], 0.08) * 0.35
    hue = latent[:, 11]

    def temperature(value: Tensor) -> Tensor:
        return torch.stack([1 + value, 1 - tint, 1 - 1.3 * value], dim=1)

    direction = direction_from_angles(azimuth, elevation)
    # What a surface turned to the camera receives of each light: keeps exposure near the photographer's choice.
    facing = hardness * direction[:, 2].clamp(min=0) + fill_share * 0.6 + (1 - hardness) * 0.75 + 0.12
    scale = 1.06 * exposure / facing.clamp(min=0.45)
    key = (hardness * scale)[:, None] * temperature(warmth)
    stage = torch.stack([torch.cos(hue), torch.cos(hue - 2.1), torch.cos(hue + 2.1)], dim=1)
    fill = (fill_share * scale)[:, None] * temperature(-0.6 * warmth) * (1 + coloured[:, None] * stage)
    ambient = (((1 - hardness) * 0.75 + 0.12) * scale)[:, None] * temperature(ambient_warmth)
    zero = torch.zeros_like(ambient)
    total = directional_light(azimuth, elevation, key, ambient)
    # Each set of coefficients stands for light minus the tools' constant ambient: zero light carries that constant.
    none = directional_light(azimuth, elevation, zero, zero)
    second = directional_light(fill_azimuth, 0.1 * torch.ones_like(azimuth), fill, zero) - none
    above = (
        directional_light(
            torch.zeros_like(azimuth), math.pi / 2 * torch.ones_like(azimuth), zero + (sky * scale)[:, None], zero
        )
        - none
    )
    return LightControls(direction, key, total + second + above)


def hair_pigment(
    hair: Float[Tensor, "batch 12"], skin_luminance: Float[Tensor, "batch"]
) -> tuple[Float[Tensor, "batch 3"], Float[Tensor, "batch 3"]]:
    """Hair and brow colour; fair hair is for fair skin, grey for some.

    Args:
        skin_luminance: mean luminance of the face's albedo.
    """
    stops, colours = hair.new_tensor(_HAIR_STOPS), hair.new_tensor(_HAIR_COLOURS)
    fair = smoothstep(0.36, 0.60, skin_luminance)
    tone = uniform(hair[:, 4]) * (0.25 + 0.75 * fair)
    pigment = palette(tone, stops, colours)
    red = (gate(hair[:, 5], 0.08, 0.4) * fair)[:, None]
    pigment = pigment * (1 - red) + hair.new_tensor(_RED_HAIR) * red
    brow = (
        palette((tone * 0.75).clamp(max=0.62), stops, colours) * (1 - 0.5 * red)
        + hair.new_tensor(_RED_HAIR) * 0.25 * red
    )
    grey = (excess(hair[:, 6], 0.13, 0.5) * 0.95)[:, None]
    pigment = pigment * (1 - grey) + hair.new_tensor(_GREY_HAIR) * grey
    brow = brow * (1 - 0.6 * grey) + 0.45 * 0.6 * grey
    return pigment, brow


def iris_pigment(iris: Float[Tensor, "batch 2"], skin_luminance: Float[Tensor, "batch"]) -> Float[Tensor, "batch 3"]:
    """Iris colour: brown for most, green, grey and blue for some fair-skinned people."""
    fair = smoothstep(0.40, 0.60, skin_luminance)
    tone = uniform(iris[:, 0]) * (0.45 + 0.55 * fair)
    colour = palette(tone, iris.new_tensor(_IRIS_STOPS), iris.new_tensor(_IRIS_COLOURS))
    return colour * torch.exp(0.12 * iris[:, 1])[:, None]


# What the numbers of the expression latent do, as weights of blendshapes of both sides at strength one.
def expression_strengths(
    latent: Float[Tensor, "batch 16"],
) -> dict[str, Float[Tensor, "batch"]]:
    """Strengths in about [0, 1] of facial actions; most faces are neutral to smiling.

    The names are actions (smile, jaw_open, ...), which `sampler` translates to the face model's blendshapes.
    """
    smile = 1.15 * excess(latent[:, 0], 0.62, 0.9)
    jaw = excess(latent[:, 1], 0.22, 0.9) * 0.75 + 0.16 * smile * smoothstep(-0.3, 0.8, latent[:, 1])
    one_sided = 0.18 * torch.tanh(latent[:, 5])
    brow = latent[:, 3]
    serious = (1 - smile).clamp(min=0)
    sad = excess(latent[:, 7], 0.15) * serious
    return {
        "smile_left": smile * (1 + one_sided),
        "smile_right": smile * (1 - one_sided),
        "jaw_open": jaw,
        "blink": excess(latent[:, 2], 0.06, 0.35) * 0.95 + 0.10 * smoothstep(-0.5, 1.5, latent[:, 2]),
        "brow_up": excess(brow, 0.22, 0.7) * 0.8,
        "brow_down": excess(-brow, 0.20, 0.7) * 0.7,
        "brow_inner": excess(latent[:, 4], 0.12, 0.8) * 0.6,
        "pucker": excess(latent[:, 6], 0.08, 0.8) * 0.7 * serious,
        "frown": sad,
        "squint": (0.45 * smile + excess(latent[:, 8], 0.15) * 0.5),
        "eye_wide": 0.14 + 0.10 * torch.tanh(latent[:, 9]) + excess(latent[:, 9], 0.12) * 0.6,
        "upper_lip_up": excess(latent[:, 10], 0.12) * 0.5 + 0.48 * smile * smoothstep(-1.2, 0.6, latent[:, 10]),
        "stretch": excess(latent[:, 11], 0.10) * 0.5,
        "jaw_side": 0.25 * torch.tanh(latent[:, 12]) * smoothstep(0.5, 2.0, latent[:, 12].abs()),
        "cheek": 0.4 * smile + excess(latent[:, 13], 0.08) * 0.4,
        "press": excess(latent[:, 14], 0.12) * 0.6 * serious,
        "sneer": excess(latent[:, 15], 0.06) * 0.6,
    }
