"""Colours of visible surface points: skin, eyes, teeth, spectacles, cloth and hair (deferred, per pixel)."""

from dataclasses import dataclass

import torch
from jaxtyping import Float, Int64
from torch import Tensor

from datamodules.portraits.clothes import ClothesControls, clothes_colour
from datamodules.portraits.controls import LightControls
from datamodules.portraits.distributions import smoothstep
from datamodules.portraits.eyes import eye_colour
from datamodules.portraits.noise import sample_tiled
from datamodules.portraits.scene import CLOTHES, EYES, GLASSES, HEAD, TEETH
from datamodules.portraits.skin_maps import CHANNELS, SkinMaps
from datamodules.portraits.teeth import tooth_colour
from renderers.shading import spherical_harmonics_basis

# Size of a noise tile on surfaces, decimetres.
TILE = 1.28


@dataclass(frozen=True)
class Appearance:
    """What colours depend on beside geometry, each per sample of the batch."""

    hair: Float[Tensor, "batch 3"]
    brow: Float[Tensor, "batch 3"]
    iris: Float[Tensor, "batch 3"]
    gaze: Float[Tensor, "batch 3"]
    skin: Float[Tensor, "batch 3"]
    beard: Float[Tensor, "batch"]
    goatee: Float[Tensor, "batch"]
    moustache: Float[Tensor, "batch"]
    brow_strength: Float[Tensor, "batch"]
    stubble: Float[Tensor, "batch"]
    recede: Float[Tensor, "batch"]
    makeup: Float[Tensor, "batch"]
    freckles: Float[Tensor, "batch"]
    blush: Float[Tensor, "batch"]
    gloss: Float[Tensor, "batch"]
    hair_opacity: Float[Tensor, "batch"]
    curly: Float[Tensor, "batch"]
    glasses: Float[Tensor, "batch 3"]
    clothes: ClothesControls


def irradiance(normals: Float[Tensor, "points 3"], harmonics: Float[Tensor, "points 3 9"]) -> Float[Tensor, "points 3"]:
    """Light per channel on points with the given normals; harmonics include the tools' constant."""
    return torch.einsum("pk,pck->pc", spherical_harmonics_basis(normals), harmonics).clamp(min=0.02)


def _mix(colour: Tensor, other: Tensor, share: Tensor) -> Tensor:
    return colour + (other - colour) * share[:, None]


def skin_colour(
    local: Float[Tensor, "points 3"],
    albedo: Float[Tensor, "points 3"],
    sample: Int64[Tensor, "points"],
    maps: SkinMaps,
    noise: Float[Tensor, "3 size size"],
    look: Appearance,
) -> tuple[Float[Tensor, "points 3"], Float[Tensor, "points"]]:
    """Albedo with brows, beard, lips and blemishes, and its shininess."""
    painted = dict(zip(CHANNELS, maps.sample(local[:, 0], local[:, 1]).unbind(1), strict=True))
    paintable = smoothstep(0.4, 0.9, local[:, 2])
    place = torch.stack([local[:, 0] * 0.8, local[:, 1]], dim=1) / TILE
    strands = sample_tiled(noise[:2], place)
    mottle = sample_tiled(noise[2:], place * 0.9)[:, 0]
    hair, brow_colour = look.hair[sample], look.brow[sample]

    colour = albedo * (1 + 0.014 * mottle)[:, None]
    colour = colour * (1 - albedo.new_tensor([0.02, 0.05, 0.06]) * painted["under_eye"][:, None])
    blush = painted["blush"] * paintable * look.blush[sample]
    colour = colour * (1 + albedo.new_tensor([0.04, -0.13, -0.10]) * blush[:, None])
    freckles = look.freckles[sample] * smoothstep(0.9, 1.7, strands[:, 1]) * smoothstep(0.15, 0.6, painted["blush"])
    colour = colour * (1 - albedo.new_tensor([0.10, 0.22, 0.28]) * freckles[:, None])
    lips = painted["lips"] * paintable
    rouge = look.makeup[sample]
    colour = colour * (1 - albedo.new_tensor([0.04, 0.24, 0.20]) * (lips * rouge)[:, None])
    shadow = painted["lid"] * rouge.clamp(min=0.15)
    colour = colour * (1 - albedo.new_tensor([0.28, 0.34, 0.32]) * shadow[:, None])

    thick = (1 + 0.22 * strands[:, 0]).clamp(0.2, 1.5)
    beard = look.beard[sample] * painted["beard"]
    beard = beard.maximum(look.goatee[sample] * painted["goatee"]).maximum(
        look.moustache[sample] * painted["moustache"]
    )
    beard = (beard * thick * paintable).clamp(0, 0.92)
    beard_colour = 0.85 * hair + 0.02
    colour = _mix(colour, beard_colour, beard)
    line = painted["hairline"] - look.recede[sample] / 20 * painted["temple"]
    scalp = smoothstep(-0.05, 0.16, line + 0.05 * strands[:, 0]) * look.stubble[sample] * paintable
    colour = _mix(colour, hair * 0.9 + 0.08 * albedo, (scalp * (0.92 + 0.08 * strands[:, 0])).clamp(0, 0.95))
    brow = (painted["brow"] * thick * look.brow_strength[sample] * paintable).clamp(0, 0.95)
    colour = _mix(colour, brow_colour, brow)
    lashes = (painted["lashes"] * (0.62 + 0.38 * rouge) * paintable).clamp(0, 0.95)
    colour = _mix(colour, 0.35 * brow_colour + 0.01, lashes)
    shine = (0.35 + 0.65 * painted["shine"]) * (1 - 0.8 * beard.maximum(scalp)) + 0.7 * lips
    return colour.clamp(0.01, 1.0), shine * paintable


def shade_solid(
    part: Int64[Tensor, "points"],
    attributes: Float[Tensor, "points 10"],
    sample: Int64[Tensor, "points"],
    light: LightControls,
    harmonics: Float[Tensor, "batch 3 9"],
    maps: SkinMaps,
    noise: Float[Tensor, "3 size size"],
    look: Appearance,
) -> Float[Tensor, "points 3"]:
    """Colours of points of the solid layer."""
    normal = torch.nn.functional.normalize(attributes[:, :3], dim=1)
    local, albedo, occlusion = attributes[:, 3:6], attributes[:, 6:9], attributes[:, 9]
    colour = torch.empty_like(albedo)
    shine = torch.zeros_like(occlusion)
    blend = torch.zeros_like(occlusion)

    at = (part == HEAD).nonzero()[:, 0]
    colour[at], shine[at] = skin_colour(local[at], albedo[at], sample[at], maps, noise, look)
    blend[at] = 1
    at = (part == EYES).nonzero()[:, 0]
    if len(at):
        fibres = sample_tiled(noise[1:2], local[at, :2] * 1.3)[:, 0]
        colour[at], shade = eye_colour(local[at], look.gaze[sample[at]], look.iris[sample[at]], fibres)
        occlusion = occlusion.index_put((at,), shade)
    at = (part == TEETH).nonzero()[:, 0]
    if len(at):
        colour[at], shade = tooth_colour(local[at])
        occlusion = occlusion.index_put((at,), shade)
        shine[at] = 0.8
    at = (part == GLASSES).nonzero()[:, 0]
    if len(at):
        colour[at] = look.glasses[sample[at]]
        shine[at] = 2.0
    at = (part == CLOTHES).nonzero()[:, 0]
    if len(at):
        own = sample[at]
        folds = sample_tiled(noise[2:], local[at][:, [0, 1]] * local.new_tensor([0.8, 0.35]))[:, 0]
        dress = ClothesControls(**{name: value[own] for name, value in vars(look.clothes).items()})
        colour[at], seam, cloth = clothes_colour(local[at], albedo[at, 0], look.skin[own], dress, folds)
        occlusion = occlusion.index_put((at,), occlusion[at] * seam)
        blend[at] = 1 - cloth
        shine[at] = 0.15 * (1 - cloth)

    received = irradiance(normal, harmonics[sample]) * occlusion[:, None]
    # Light scattered under the skin reddens where direct light ends.
    level = received.mean(1, keepdim=True)
    bleed = smoothstep(0.9, 0.15, level) * blend[:, None]
    received = received * (1 + bleed * received.new_tensor([0.16, -0.02, -0.06]))
    result = colour * received

    key, direction = light.key_colour[sample], light.key_direction[sample]
    half = torch.nn.functional.normalize(direction + direction.new_tensor([0.0, 0.0, 1.0]), dim=1)
    facing = (normal * half).sum(1).clamp(min=0)
    lit = occlusion.clamp(0, 1) ** 2
    gloss = shine * lit * (look.gloss[sample] * blend + (1 - blend))
    highlight = gloss * (0.085 * facing**14 + 0.10 * facing**60)
    rim = 0.10 * (1 - normal[:, 2].clamp(0, 1)) ** 4 * lit * blend
    result = result + key * highlight[:, None] + received * rim[:, None]

    at = (part == EYES).nonzero()[:, 0]
    if len(at):
        # The wet cornea mirrors the key light as a small disc.
        cosine = (normal[at] * half[at]).sum(1)
        disc = smoothstep(0.978, 0.990, cosine) * smoothstep(0.35, 0.6, occlusion[at])
        result[at] = result[at] + (disc[:, None] * key[at]).clamp(max=1) * 0.75
    return result


def shade_hair(
    attributes: Float[Tensor, "points 10"],
    sample: Int64[Tensor, "points"],
    light: LightControls,
    harmonics: Float[Tensor, "batch 3 9"],
    noise: Float[Tensor, "3 size size"],
    look: Appearance,
    outline: Float[Tensor, "points"],
) -> tuple[Float[Tensor, "points 3"], Float[Tensor, "points"], Float[Tensor, "points"]]:
    """Colours and opacities of points of the hair layer (strand highlights after Kajiya and Kay 1989).

    Args:
        outline: 1 next to the background, where loose strands let it through, and 0 inside.

    Returns:
        Colour, opacity, and the share of more hair, in shadow, behind thin places.
    """
    normal = torch.nn.functional.normalize(attributes[:, :3], dim=1)
    tangent = torch.nn.functional.normalize(attributes[:, 3:6], dim=1)
    across, along, remaining, loose = attributes[:, 6:10].unbind(1)
    curly = look.curly[sample]
    fine = torch.stack([across, along], dim=1) / TILE
    strands = sample_tiled(noise[:1], fine)[:, 0]
    broad = sample_tiled(noise[:1], fine * fine.new_tensor([0.31, 0.5]) + 0.37)[:, 0]
    curls = sample_tiled(noise[1:2], fine)[:, 0]
    texture = (0.6 * strands + 0.55 * broad) * (1 - curly) + curls * curly

    inner = normal[:, 2] < 0
    outward = torch.where(inner[:, None], -normal, normal)
    view = outward[:, 2].clamp(0, 1)
    # Loose strands: the silhouette and the tips thin out.
    thin = 0.4 + 0.6 * smoothstep(0.0, 0.24, view + 0.12 * texture)
    thin = 1 - (1 - thin) * outline
    tips = smoothstep(0.0, 0.16, remaining - 0.05 * texture)
    opacity = tips * thin * look.hair_opacity[sample]

    received = irradiance(outward, harmonics[sample])
    depth = (1 + 0.26 * texture * (1 + 0.5 * curly)).clamp(0.25, 1.8)
    root = 0.72 + 0.28 * smoothstep(0.0, 0.45, along)
    hidden = torch.where(inner, 0.45, 1.0) * (0.55 + 0.45 * view)
    base = look.hair[sample] * (depth * root * hidden)[:, None]
    base = base * (1 + 0.25 * smoothstep(0.6, 2.4, along))[:, None]
    colour = base * received * 1.1

    direction = light.key_direction[sample]
    half = torch.nn.functional.normalize(direction + direction.new_tensor([0.0, 0.15, 1.0]), dim=1)
    cosine = (tangent * half).sum(1) + 0.10 * texture
    sheen = (1 - cosine**2).clamp(0, 1)
    lit = ((outward * direction).sum(1) * 0.6 + 0.4).clamp(0, 1) * torch.where(inner, 0.0, 1.0)
    weight = lit * (1 - 0.75 * curly) * (0.7 + 0.5 * texture).clamp(0, 1.5)
    pigment = look.hair[sample]
    streak = 0.055 * sheen**40 + 0.35 * sheen**12 * pigment.mean(1)
    tinge = 0.45 + 0.45 * pigment / pigment.mean(1, keepdim=True).clamp(min=0.02)
    colour = colour + light.key_colour[sample] * (weight * streak)[:, None] * tinge
    return colour, opacity, (1 - outline) * (1 - loose.clamp(0, 1)) * look.hair_opacity[sample]
