"""Faces lit from four sides with their normals and shading (Fig. 5 of LiftedGAN), and which side of them that lights."""

import torch
from jaxtyping import Float
from PIL import Image
from torch import Tensor

from evaluation.figures import Cell, Figure
from evaluation.lifted_gan.stills import cell_size
from evaluation.lifted_gan.under_test import LiftedUnderTest
from evaluation.report import picture_grid, to_picture
from models.stylerig.sliders import Slider
from renderers.images import to_signed, to_unit

NAME = "lifted_gan_lighting"
LEFT, TOP, RIGHT, BOTTOM = "left", "top", "right", "bottom"
# Azimuth is positive from the image's right; sizes are ours, the paper gives none.
LIGHTS = {LEFT: (-60.0, 0.0), TOP: (0.0, 60.0), RIGHT: (60.0, 0.0), BOTTOM: (0.0, -60.0)}
# Share of the brightness that comes from there: enough to be seen; ours. Where networks read little directed light, their own shows none.
STRENGTH = 0.25
# Axis of the picture that is halved, and the half that a light is to brighten.
_HALVES = {LEFT: (3, 0), TOP: (2, 0), RIGHT: (3, 1), BOTTOM: (2, 1)}


@torch.no_grad()
def lighting_figure(tested: LiftedUnderTest, people: int, shown: int) -> Figure:
    """Relit faces, and by how much the half towards the light is brighter than the other.

    Args:
        tested: The lifted generator.
        people: Unseen codes that numbers are over.
        shown: Faces in the picture.
    """
    views, size = tested.views, cell_size(tested.size)
    gains: dict[str, list[Tensor]] = {name: [] for name in LIGHTS}
    shades: dict[str, list[Tensor]] = {name: [] for name in LIGHTS}
    rows: list[list[Image.Image | None]] = []
    for codes in tested.batches(people):
        lifted = views.read(codes)
        own = views.draw(lifted)
        asked = {
            name: (
                Slider("light_azimuth", azimuth),
                Slider("light_elevation", elevation),
                Slider("light_strength", STRENGTH),
            )
            for name, (azimuth, elevation) in LIGHTS.items()
        }
        relit = {name: views.draw(lifted, sliders) for name, sliders in asked.items()}
        normal_map = tested.model.normals(lifted.output.depth)
        # Half as bright, so that what is lit by more than 1 is seen.
        shading = {
            name: to_signed(tested.model.shading(normal_map, views.asked(lifted, sliders)[1]).expand(-1, 3, -1, -1) / 2)
            for name, sliders in asked.items()
        }
        for name in LIGHTS:
            gains[name].append(towards(relit[name], name) - towards(own, name))
            shades[name].append(2 * towards(shading[name], name))
        normals = views.maps(lifted)["normals"]
        for face in range(min(len(codes), shown) if not rows else 0):
            rows.append([to_picture(image[face], size) for image in (own, *relit.values())])
            rows.append([to_picture(image[face].clamp(-1, 1), size) for image in (normals, *shading.values())])
    table: list[tuple[Cell, ...]] = []
    for name in LIGHTS:
        gain, shade = torch.cat(gains[name]), torch.cat(shades[name])
        table.append((name, len(gain), float(shade.mean()), float(gain.mean()), float((gain > 0).float().mean())))
    return Figure(
        NAME,
        "Light from four sides (Fig. 5)",
        f"For each face its render with its own light, then light from the image's left, from above, from its right and from below; below "
        f"that its normals and the shading maps, white for 2. Numbers over {people} unseen codes: by how much the half of the picture "
        "towards the light is brighter than the other, colours in [0, 1]: of the shading, of the render less that of the render in its own "
        f"light, and the share of faces where the latter is positive. Lights are as bright as the faces' own, {STRENGTH:g} of it directed.",
        ("light_from", "faces", "shading_towards_light", "brighter_towards_light", "share_brighter"),
        tuple(table),
        picture_grid(rows, ["faces", "shading"] * (len(rows) // 2), ["own", *LIGHTS]),
    )


def towards(image: Float[Tensor, "batch 3 height width"], light: str) -> Float[Tensor, " batch"]:
    """By how much the half of pictures in [-1, 1] towards a light is brighter than the other, colours in [0, 1]."""
    axis, half = _HALVES[light]
    halves = to_unit(image).mean(dim=1, keepdim=True).tensor_split(2, dim=axis)
    return halves[half].mean(dim=(1, 2, 3)) - halves[1 - half].mean(dim=(1, 2, 3))
