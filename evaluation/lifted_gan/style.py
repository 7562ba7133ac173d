"""Style transfer with geometry kept (Fig. 10 of LiftedGAN): the texture takes the finer layers of another code, depth stays."""

from collections.abc import Sequence
from dataclasses import replace

import torch
from jaxtyping import Float
from PIL import Image
from torch import Tensor

from evaluation.lifted_gan.controls import replaced
from evaluation.lifted_gan.views import LiftedCodes, LiftedViews
from evaluation.report import picture_grid, to_picture
from models.lifted_gan import LiftedGAN, LiftedOutput
from models.stylerig.sliders import Slider
from renderers.errors import InputError
from renderers.images import to_signed, to_unit

# Keeps albedo finite where no light falls, as in the model.
_DARKEST = 1e-8


def style_layer(model: LiftedGAN, first: int | None) -> int:
    """The first layer that a style gives; the middle one by default: the paper leaves it open.

    Raises:
        InputError: for a layer that the generator does not have.
    """
    layers = model.generator.num_layers
    chosen = layers // 2 if first is None else first
    if not 0 <= chosen < layers:
        raise InputError(
            f"expected a layer from 0 to {layers - 1} of this generator, got {chosen}; correct --style-from-layer"
        )
    return chosen


@torch.no_grad()
def restyled(
    model: LiftedGAN,
    output: LiftedOutput,
    style: Float[Tensor, "batch layers w_dim"],
    style_w: Float[Tensor, "batch w_dim"],
    first: int,
) -> LiftedOutput:
    """The same faces in another style: depth, transformation map, view and light are kept to the last bit.

    The finer layers of the texture's code come from the style under a frontal light and zero view, so that its light does not become
    colour: M(w, L0, 0) + (style - w), where the second term is what a W+ code has of its own in a layer.

    Args:
        model: The lifted generator.
        output: Of it, the faces.
        style: W+ code of the style of each face.
        style_w: The code of W that stands for it.
        first: The first layer that the style gives, of `style_layer`.
    """
    generator, own_light = model.generator, model.networks.light(style_w)
    view = torch.zeros_like(output.view)
    neutral = model.manipulate(style_w, view, model.neutral_light(own_light))
    codes = generator.broadcast(output.code).clone()
    codes[:, first:] = (style + (neutral - style_w)[:, None])[:, first:]
    texture = generator.synthesis(codes)
    shading = model.shading(model.normals(output.depth), model.neutral_light(output.light))
    return replace(output, texture=texture, albedo=to_signed(to_unit(texture) / (shading + _DARKEST)))


def style_sheet(
    views: LiftedViews,
    lifted: LiftedCodes,
    styles: LiftedCodes,
    style_codes: Float[Tensor, "styles layers w_dim"],
    labels: Sequence[str],
    steps: Sequence[Sequence[Slider]],
    step_labels: Sequence[str],
    sliders: Sequence[Slider] = (),
    first: int | None = None,
    size: int | None = None,
) -> Image.Image:
    """Fig. 10 for one face: its views in the first row, below them the same views in each style, whose picture is at the left.

    Args:
        views: Draws them.
        lifted: The one face.
        styles: What the styles are taken from, codes of W.
        style_codes: The W+ codes that they stand for.
        labels: Names of the styles.
        steps: Views, in place of sliders of the same names and on top.
        step_labels: Their names.
        sliders: What is asked in all views.
        first: As of `style_layer`.
        size: Pixels of a cell; by default those of the generator.
    """
    layer = style_layer(views.model, first)
    count = len(styles)
    repeated = lifted.output.select(torch.zeros(count, dtype=torch.int64, device=lifted.codes.device))
    changed = restyled(views.model, repeated, style_codes.to(lifted.codes.device), styles.codes, layer)
    in_style = LiftedCodes(lifted.codes.expand(count, -1), styles.pictures, changed)
    rows: list[list[Image.Image | None]] = [[to_picture(lifted.pictures[0], size)]]
    rows += [[to_picture(picture, size)] for picture in styles.pictures]
    for step in steps:
        asked = replaced(sliders, step)
        pictures = torch.cat([views.draw(lifted, asked), views.draw(in_style, asked)])
        for row, picture in zip(rows, pictures, strict=True):
            row.append(to_picture(picture, size))
    return picture_grid(rows, ["face", *labels], ["picture", *step_labels])
