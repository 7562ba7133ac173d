"""Spherical-harmonic illumination as a photographer speaks of it: where the light comes from, how directed, bright and warm it is.

Second-order illumination is E(n) = e + v . n + n^T M n for unit normals n, per colour: an even part e, a vector v (band 1)
and a symmetric traceless matrix M (band 2). The five numbers of a `Light` are functions of e and v; what they leave open (M, and
how colours differ in direction) is carried along when one of them is changed.
"""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from renderers.errors import InputError
from renderers.rotation import euler_to_matrix
from renderers.shading import directional_light, irradiance

# A smaller share of directed light has no direction that could be seen or read.
_NO_DIRECTION = 1e-4
# Light below this is darkness: nothing can be said of its share or colour.
_DARK = 1e-6


@dataclass(frozen=True, eq=False)
class Light:
    """What can be said of the light of each sample, each (batch,).

    Attributes:
        azimuth: Of the dominant direction, the mean of v over the colours: radians, positive from the image's right, 0 in front.
        elevation: Of that direction: radians, positive from above. Both are 0 (frontal) for a light without direction.
        strength: Share of directed light, |mean v| / (2 mean e): 0 for a light that is even all around, 1 for one distant light
            alone, s / (s + 4 a) for one of strength s and even light a (`directional_light`). It is the length of the mean
            direction of all incoming light, so no real light exceeds 1; fitted ones may.
        brightness: Mean of e over the colours: what a surface gets on average over all directions, 1 leaves an albedo as it is.
            The light of zero coefficients has 0.709.
        warmth: log2 of red over blue in e: 0 is neutral, 1 twice as much red as blue, -1 twice as much blue.
    """

    azimuth: Float[Tensor, " batch"]
    elevation: Float[Tensor, " batch"]
    strength: Float[Tensor, " batch"]
    brightness: Float[Tensor, " batch"]
    warmth: Float[Tensor, " batch"]


def light_of(illumination: Float[Tensor, "batch 27"]) -> Light:
    """Read direction, strength, brightness and warmth of illumination coefficients, channel-major (3, 9).

    Exact for what `directional_light` makes. Defined for any coefficients: where the even part is zero or less, strength and
    warmth are those of a light of 1e-6.
    """
    even, linear = _even_and_linear(illumination)
    vector = linear.mean(dim=2)
    brightness = even.mean(dim=1)
    strength = torch.linalg.vector_norm(vector, dim=1) / (2 * brightness.clamp_min(_DARK))
    directed = (strength > _NO_DIRECTION)[:, None]
    x, y, z = torch.where(directed, vector, vector.new_tensor([0.0, 0.0, 1.0])).unbind(1)
    red, blue = even[:, 0].clamp_min(_DARK), even[:, 2].clamp_min(_DARK)
    return Light(torch.atan2(x, z), torch.atan2(y, torch.hypot(x, z)), strength, brightness, torch.log2(red / blue))


def with_light(
    illumination: Float[Tensor, "batch 27"],
    azimuth: float | Float[Tensor, " batch"] | None = None,
    elevation: float | Float[Tensor, " batch"] | None = None,
    strength: float | Float[Tensor, " batch"] | None = None,
    brightness: float | Float[Tensor, " batch"] | None = None,
    warmth: float | Float[Tensor, " batch"] | None = None,
) -> Float[Tensor, "batch 27"]:
    """Coefficients whose `light_of` is as asked, the numbers not asked for as they were.

    Direction: all bands are turned rigidly, in elevation and about the vertical axis, as a lamp on a boom is; turns compose,
    so it does not matter through which directions a light went. A light without direction is turned as though it were frontal.
    Strength: less of it scales bands 1 and 2 down together, so that 0 is even light; more of it adds a distant light of the
    even part's colour from the dominant direction, and leaves the even part, so that what little direction there was is not
    blown up. Brightness scales everything. Warmth scales red up and blue down by one factor, then all to the same brightness.

    Args:
        illumination: (B, 27), channel-major (3, 9).
        azimuth: Radians, positive from the image's right.
        elevation: Radians, positive from above; beyond a right angle the light goes over the top.
        strength: Share of directed light, 0 or more.
        brightness: 0 or more.
        warmth: log2 of red over blue.

    Raises:
        InputError: for a negative strength or brightness, or a light so dark that it cannot be scaled.
    """
    if all(value is None for value in (azimuth, elevation, strength, brightness, warmth)):
        return illumination
    own = light_of(illumination)

    def asked(value: float | Tensor | None, present: Tensor) -> Tensor:
        if value is None:
            return present
        return torch.as_tensor(value, dtype=present.dtype, device=present.device).expand_as(present)

    wanted = Light(
        asked(azimuth, own.azimuth),
        asked(elevation, own.elevation),
        asked(strength, own.strength),
        asked(brightness, own.brightness),
        asked(warmth, own.warmth),
    )
    even, _ = _even_and_linear(illumination)
    darkest = float((even if warmth is not None else even.mean(dim=1)).detach().min())
    if darkest <= _DARK:
        raise InputError(
            f"expected light to start from, got an even part of {darkest:.3g}; give the illumination of a lit face"
        )
    for name, values in (("strength", wanted.strength), ("brightness", wanted.brightness)):
        if bool((values < 0).any()):
            raise InputError(f"expected a light {name} of 0 or more, got {float(values.detach().min()):.3g}; raise it")
    if warmth is not None:
        factor = torch.exp2((wanted.warmth - own.warmth) / 2)
        gains = torch.stack((factor, torch.ones_like(factor), 1 / factor), dim=1)
        illumination = _scaled(illumination, gains * (own.brightness / (gains * even).mean(dim=1))[:, None])
        # Colours that come from different directions now count differently in their mean.
        own = light_of(illumination)
    turned = _boom(wanted.azimuth, wanted.elevation) @ _boom(own.azimuth, own.elevation).transpose(1, 2)
    illumination = _with_strength(rotate_illumination(illumination, turned), own.strength, wanted)
    return _scaled(illumination, (wanted.brightness / own.brightness)[:, None].expand(-1, 3))


def rotate_illumination(
    illumination: Float[Tensor, "batch 27"], rotation: Float[Tensor, "batch 3 3"]
) -> Float[Tensor, "batch 27"]:
    """Turn the light: a surface of normal R n then gets exactly what one of normal n got before.

    Band 1 turns as the vector v, band 2 as the matrix M of n^T M n; the coefficients of a band share one factor, so none is
    needed here (order and signs of `spherical_harmonics_basis`).

    Args:
        illumination: (B, 27), channel-major (3, 9).
        rotation: (B, 3, 3) matrices R, in the camera's axes.
    """
    even, *bands = illumination.reshape(-1, 3, 9).split([1, 3, 5], dim=2)
    (linear_y, linear_z, linear_x), (xy, yz, zz, xz, xx_yy) = (band.unbind(2) for band in bands)
    vector = torch.stack((-linear_x, -linear_y, linear_z), dim=2)
    third = 3**-0.5
    rows = (
        ((xx_yy - third * zz) / 2, xy / 2, -xz / 2),
        (xy / 2, (-xx_yy - third * zz) / 2, -yz / 2),
        (-xz / 2, -yz / 2, third * zz),
    )
    matrix = torch.stack([torch.stack(row, dim=2) for row in rows], dim=2)
    turn = rotation[:, None]
    x, y, z = (turn @ vector[..., None])[..., 0].unbind(2)
    m = turn @ matrix @ turn.transpose(2, 3)
    linear = torch.stack((-y, z, -x), dim=2)
    quadratic = torch.stack(
        (2 * m[..., 0, 1], -2 * m[..., 1, 2], m[..., 2, 2] / third, -2 * m[..., 0, 2], m[..., 0, 0] - m[..., 1, 1]),
        dim=2,
    )
    return torch.cat((even, linear, quadratic), dim=2).flatten(1)


def _even_and_linear(
    illumination: Float[Tensor, "batch 27"],
) -> tuple[Float[Tensor, "batch 3"], Float[Tensor, "batch axes 3"]]:
    """e (batch, colours) and v (batch, axes, colours), from the light along the six half axes, over which band 2 averages to zero."""
    axes = torch.eye(3, dtype=illumination.dtype, device=illumination.device)
    light = irradiance(torch.cat((axes, -axes)).expand(len(illumination), 6, 3), illumination)
    return light.mean(dim=1), (light[:, :3] - light[:, 3:]) / 2


def _boom(azimuth: Float[Tensor, " batch"], elevation: Float[Tensor, " batch"]) -> Float[Tensor, "batch 3 3"]:
    """The rotation that takes a frontal light to a direction: up by the elevation, then about the vertical."""
    return euler_to_matrix(torch.stack((-elevation, azimuth, torch.zeros_like(azimuth)), dim=1))


def _with_strength(
    illumination: Float[Tensor, "batch 27"], present: Float[Tensor, " batch"], wanted: Light
) -> Float[Tensor, "batch 27"]:
    kept = torch.where(wanted.strength < present, wanted.strength / present.clamp_min(_DARK), torch.ones_like(present))
    coefficients = illumination.reshape(-1, 3, 9)
    lessened = torch.cat((coefficients[:, :, :1], coefficients[:, :, 1:] * kept[:, None, None]), dim=2).flatten(1)
    even, _ = _even_and_linear(illumination)
    added = (wanted.strength - present).clamp_min(0)[:, None] * even
    # A quarter of a distant light is even (`directional_light`): taken off, so that the even part stays.
    distant = directional_light(wanted.azimuth, wanted.elevation, 4 * added, -added)
    return lessened + distant - _darkness(illumination)


def _darkness(illumination: Float[Tensor, "batch 27"]) -> Float[Tensor, "batch 27"]:
    """Coefficients of no light at all: not zero, by the convention's offset."""
    none = illumination.new_zeros(len(illumination))
    return directional_light(none, none, none, none)


def _scaled(illumination: Float[Tensor, "batch 27"], gains: Float[Tensor, "batch 3"]) -> Float[Tensor, "batch 27"]:
    """The same light with each colour multiplied."""
    darkness = _darkness(illumination)
    return darkness + (illumination - darkness) * gains.repeat_interleave(9, dim=1)
