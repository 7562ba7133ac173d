"""Vertex normals, spherical-harmonic irradiance shading and directional Lambert shading.

Colours, albedo and light here are linear values in which 1 is white; nothing is clamped, so that a renderer can
interpolate first and clamp after, as the public BFM tools do. Normals and light directions are in the camera's axes: x
right, y up, z towards the viewer; a light's direction points from the surface to the light.
"""

import math

import torch
from jaxtyping import Float, Int64
from torch import Tensor

from renderers.errors import InputError

# Order and scale of the public BFM tools (Deep3DFaceRecon): a_l c_l of their bands 0 to 2.
_BAND_0 = math.pi / math.sqrt(4 * math.pi)
_BAND_1 = (2 * math.pi / math.sqrt(3)) * (math.sqrt(3) / math.sqrt(4 * math.pi))
_BAND_2 = (2 * math.pi / math.sqrt(8)) * (3 * math.sqrt(5) / math.sqrt(12 * math.pi))
# Those tools add this to the first coefficient of each channel, so that all-zero coefficients mean a soft white light.
_AMBIENT_OFFSET = 0.8
# Legendre coefficients of max(0, cos) for bands 0 to 2 (Ramamoorthi and Hanrahan 2001, eq. 8, over pi).
_COSINE_LOBE = (1 / 4, 1 / 2, 5 / 16)


def vertex_normals(
    vertices: Float[Tensor, "batch vertices 3"], faces: Int64[Tensor, "faces 3"]
) -> Float[Tensor, "batch vertices 3"]:
    """Unit vertex normals: the normalised sum of the area-weighted normals of the faces around each vertex.

    Args:
        vertices: (B, V, 3), x right, y up, z towards the viewer.
        faces: (F, 3) vertex indices, counter-clockwise seen from outside.

    Returns:
        (B, V, 3) unit normals; zero for a vertex without (non-degenerate) faces.
    """
    # Vertex-major rows and index_select, whose backward is an index_add: on the CPU twice as fast as indexing by faces.
    by_vertex = vertices.transpose(0, 1).flatten(1)
    corner_0, corner_1, corner_2 = (
        by_vertex.index_select(0, faces[:, corner]).unflatten(1, (-1, 3)) for corner in range(3)
    )
    face_normals = torch.cross(corner_1 - corner_0, corner_2 - corner_0, dim=-1).flatten(1)
    summed = torch.zeros_like(by_vertex)
    for corner in range(3):
        summed = summed.index_add(0, faces[:, corner], face_normals)
    normals = torch.nn.functional.normalize(summed.unflatten(1, (-1, 3)), dim=-1, eps=1e-20)
    return normals.transpose(0, 1)


def spherical_harmonics_basis(normals: Float[Tensor, "*batch 3"]) -> Float[Tensor, "*batch 9"]:
    """The nine basis functions of the public BFM tools, in their order, signs and scale.

    H = [a0 c0, -a1 c1 y, a1 c1 z, -a1 c1 x, a2 c2 xy, -a2 c2 yz, a2 c2 (3 z^2 - 1) / (2 sqrt 3), -a2 c2 xz,
    a2 c2 (x^2 - y^2) / 2] with a0 = pi, a1 = 2 pi / sqrt 3, a2 = 2 pi / sqrt 8, c0 = 1 / sqrt(4 pi),
    c1 = sqrt 3 / sqrt(4 pi), c2 = 3 sqrt 5 / sqrt(12 pi) (after Ramamoorthi and Hanrahan 2001; the scale is the
    tools').

    Args:
        normals: (..., 3) unit normals in the camera's axes.

    Returns:
        (..., 9).
    """
    x, y, z = normals.unbind(-1)
    terms = (
        torch.full_like(x, _BAND_0),
        -_BAND_1 * y,
        _BAND_1 * z,
        -_BAND_1 * x,
        _BAND_2 * x * y,
        -_BAND_2 * y * z,
        _BAND_2 / (2 * math.sqrt(3)) * (3 * z * z - 1),
        -_BAND_2 * x * z,
        _BAND_2 / 2 * (x * x - y * y),
    )
    return torch.stack(terms, dim=-1)


def _channels(illumination: Tensor) -> Tensor:
    if illumination.ndim != 2 or illumination.shape[1] != 27:
        raise InputError(
            f"expected illumination of shape (batch, 27), got {tuple(illumination.shape)}: "
            "pass 9 spherical-harmonic coefficients for each of red, green, blue"
        )
    return illumination.reshape(-1, 3, 9)


def irradiance(
    normals: Float[Tensor, "batch points 3"], illumination: Float[Tensor, "batch coefficients"]
) -> Float[Tensor, "batch points 3"]:
    """Light that reaches each surface point, per colour: H(n) . (gamma + 0.8 on the first coefficient of each channel).

    Args:
        normals: (B, N, 3) unit normals in the camera's axes.
        illumination: (B, 27), channel-major (3, 9).

    Returns:
        (B, N, 3); 1 leaves an albedo unchanged. May be negative where the band-limited light rings.

    Raises:
        InputError: illumination is not (B, 27).
    """
    first = torch.zeros(9, dtype=illumination.dtype, device=illumination.device)
    first[0] = _AMBIENT_OFFSET
    coefficients = _channels(illumination) + first
    return spherical_harmonics_basis(normals) @ coefficients.transpose(1, 2)


def shade_spherical_harmonics(
    albedo: Float[Tensor, "batch points 3"],
    normals: Float[Tensor, "batch points 3"],
    illumination: Float[Tensor, "batch coefficients"],
) -> Float[Tensor, "batch points 3"]:
    """Lambertian colour under spherical-harmonic light: albedo times `irradiance`, unclamped.

    Args:
        albedo: (B, N, 3) in [0, 1].
        normals: (B, N, 3) unit normals in the camera's axes.
        illumination: (B, 27), channel-major (3, 9), in the public BFM tools' scale.

    Returns:
        (B, N, 3) colours, not clamped.
    """
    return albedo * irradiance(normals, illumination)


def shade_lambert(
    albedo: Float[Tensor, "batch points 3"],
    normals: Float[Tensor, "batch points 3"],
    ambient: Float[Tensor, "batch"],
    diffuse: Float[Tensor, "batch"],
    direction: Float[Tensor, "batch 3"],
) -> Float[Tensor, "batch points 3"]:
    """Colour under one directional light and an even one: albedo (ambient + diffuse max(0, n . l)), unclamped.

    Args:
        albedo: (B, N, 3) in [0, 1].
        normals: (B, N, 3) unit normals.
        ambient: (B,) strength of the even light.
        diffuse: (B,) strength of the directional light.
        direction: (B, 3) unit vectors l from the surface to the light.

    Returns:
        (B, N, 3) colours, not clamped.
    """
    cosine = (normals @ direction.unsqueeze(-1)).clamp(min=0)
    return albedo * (ambient[:, None, None] + diffuse[:, None, None] * cosine)


def direction_from_angles(
    azimuth: Float[Tensor, "batch"], elevation: Float[Tensor, "batch"]
) -> Float[Tensor, "batch 3"]:
    """Unit vectors to a light: azimuth in radians, positive from the image's right; elevation positive from above.

    (0, 0) is a light behind the viewer: (0, 0, 1).
    """
    return torch.stack(
        (elevation.cos() * azimuth.sin(), elevation.sin(), elevation.cos() * azimuth.cos()),
        dim=-1,
    )


def directional_light(
    azimuth: Float[Tensor, "batch"],
    elevation: Float[Tensor, "batch"],
    strength: Float[Tensor, "batch"] | Float[Tensor, "batch 3"],
    ambient: Float[Tensor, "batch"] | Float[Tensor, "batch 3"],
) -> Float[Tensor, "batch 27"]:
    """Illumination coefficients of one distant light and an even one.

    They make `irradiance` the second-order spherical-harmonic fit of ambient + strength max(0, n . l), by the addition
    theorem with the Legendre coefficients 1/4, 1/2, 5/16 of the clamped cosine (Ramamoorthi and Hanrahan 2001). The fit
    is within 3/32 strength of the clamped cosine, and furthest from it where the light grazes the surface.

    Args:
        azimuth: (B,) radians, positive from the image's right.
        elevation: (B,) radians, positive from above.
        strength: (B,) white or (B, 3) coloured light on a surface that faces it, 1 leaves the albedo unchanged.
        ambient: (B,) or (B, 3) light from everywhere.

    Returns:
        (B, 27), channel-major (3, 9).
    """
    strength, ambient = (value.reshape(value.shape[0], -1).expand(-1, 3) for value in (strength, ambient))
    basis = spherical_harmonics_basis(direction_from_angles(azimuth, elevation))
    # P_l(n . l) = factor_l H_l(n) . H_l(l), where H_l are the basis functions of band l.
    factors = basis.new_tensor(
        [_COSINE_LOBE[0] / _BAND_0**2] + [_COSINE_LOBE[1] / _BAND_1**2] * 3 + [_COSINE_LOBE[2] * 3 / _BAND_2**2] * 5
    )
    coefficients = strength[:, :, None] * (basis * factors)[:, None, :]
    even = ambient / _BAND_0 - _AMBIENT_OFFSET
    return torch.cat((coefficients[:, :, :1] + even[:, :, None], coefficients[:, :, 1:]), dim=2).flatten(1)


def light_direction(illumination: Float[Tensor, "batch coefficients"]) -> Float[Tensor, "batch 3"]:
    """Dominant direction of the light, from the three linear coefficients averaged over the colours.

    Args:
        illumination: (B, 27), channel-major (3, 9).

    Returns:
        (B, 3) unit vectors to the light; zero for a light without direction. Exact for `directional_light` of positive
        strength.

    Raises:
        InputError: illumination is not (B, 27).
    """
    linear = _channels(illumination)[:, :, 1:4].mean(dim=1)
    direction = torch.stack((-linear[:, 2], -linear[:, 0], linear[:, 1]), dim=-1)
    return torch.nn.functional.normalize(direction, dim=-1)


def light_angles(illumination: Float[Tensor, "batch coefficients"]) -> Float[Tensor, "batch 2"]:
    """Azimuth (positive from the image's right) and elevation (positive from above) of `light_direction`, radians."""
    x, y, z = light_direction(illumination).unbind(-1)
    return torch.stack((torch.atan2(x, z), torch.asin(y.clamp(-1, 1))), dim=-1)
