"""Pictures of StyleRig: overlays of the reconstruction, sweeps of a control, and source x target mixing (Fig. 3 and 5)."""

from collections.abc import Callable, Sequence

import torch
from jaxtyping import Float
from PIL import Image, ImageDraw
from torch import Tensor, nn

from evaluation.report import picture_grid, to_picture
from evaluation.stylerig.edits import Transfer, coarse_layers_of, edited_by
from lightning_modules.render_loss import landmarks_66
from models.morphable import FaceParameters, MorphableModel
from models.stylegan2 import Generator
from models.stylerig import ParameterReader, RigNetwork
from models.stylerig.sliders import Slider, apply_sliders, unit_of
from renderers.face_renderer import FaceRenderer
from renderers.images import to_signed

# Landmarks as drawn: observed ones green, reconstructed ones red.
_OBSERVED, _RECONSTRUCTED = (40, 220, 60), (255, 40, 40)
# Pixels of a picture in a grid.
SIZE = 112


@torch.no_grad()
def reconstruction_overlays(
    generator: Generator,
    landmarker: nn.Module,
    network: ParameterReader,
    renderer: FaceRenderer,
    codes: Float[Tensor, "codes layers width"],
) -> Image.Image:
    """Columns: code; rows: its picture, the reconstructed face over it, and observed (green) and reconstructed (red) landmarks."""
    images = generator.synthesis(codes).clamp(-1, 1)
    parameters = network.parameters_of(codes)
    render = renderer(parameters)
    observed = landmarks_66(landmarker(images)) * (SIZE / images.shape[-1])
    reconstructed = landmarks_66(render.landmarks) * (SIZE / renderer.image_size[1])
    faces = torch.nn.functional.interpolate(to_signed(render.image), size=images.shape[2:], mode="nearest")
    mask = torch.nn.functional.interpolate(render.mask, size=images.shape[2:], mode="nearest")
    overlays = images * (1 - mask) + faces * mask
    pictures = [to_picture(image, SIZE) for image in images]
    marked = [picture.copy() for picture in pictures]
    for picture, seen, found in zip(marked, observed, reconstructed, strict=True):
        _draw_points(picture, seen, _OBSERVED)
        _draw_points(picture, found, _RECONSTRUCTED)
    return picture_grid([pictures, [to_picture(image, SIZE) for image in overlays], marked])


@torch.no_grad()
def sweep_grid(
    generator: Generator,
    network: RigNetwork,
    face_reconstruction: ParameterReader,
    codes: Float[Tensor, "codes layers width"],
    steps: Sequence[tuple[str, Callable[[FaceParameters], FaceParameters]]],
) -> Image.Image:
    """Rows: codes; columns: the code itself, then the same edited to what each step makes of its parameters, all else as reconstructed.

    Args:
        generator, network, face_reconstruction: What is shown.
        codes: One row each.
        steps: Label of a column, and the change that is asked for there.
    """
    rows = [[to_picture(image, SIZE)] for image in generator.synthesis(codes)]
    for _, change in steps:
        edited = edited_by(network, face_reconstruction, codes, change)
        for row, image in zip(rows, generator.synthesis(edited), strict=True):
            row.append(to_picture(image, SIZE))
    return picture_grid(rows, column_labels=["unedited", *(label for label, _ in steps)])


def slider_sweep(
    generator: Generator,
    network: RigNetwork,
    face_reconstruction: ParameterReader,
    face_model: MorphableModel,
    codes: Float[Tensor, "codes layers width"],
    name: str,
    values: Sequence[float],
) -> Image.Image:
    """The same with one slider at absolute values, in its unit."""
    unit = " deg" if unit_of(name) == "degrees" else ""
    steps = [(f"{name} {value:+g}{unit}", by_sliders(face_model, Slider(name, value))) for value in values]
    return sweep_grid(generator, network, face_reconstruction, codes, steps)


def by_sliders(face_model: MorphableModel, *sliders: Slider) -> Callable[[FaceParameters], FaceParameters]:
    """The change that sliders ask for."""
    return lambda parameters: apply_sliders(parameters, sliders, face_model)


@torch.no_grad()
def mixing_grid(
    generator: Generator,
    transfer: Transfer,
    targets: Float[Tensor, "targets layers width"],
    sources: Float[Tensor, "sources layers width"],
) -> Image.Image:
    """Columns: targets; rows: sources; each cell is a target with the component of a source (Fig. 5)."""
    top: list[Image.Image | None] = [None, *(to_picture(image, SIZE) for image in generator.synthesis(targets))]
    rows = [top]
    for index, image in enumerate(generator.synthesis(sources)):
        edited = transfer(targets, sources[index : index + 1].expand_as(targets))
        rows.append(
            [to_picture(image, SIZE), *(to_picture(picture, SIZE) for picture in generator.synthesis(edited))]
        )
    return picture_grid(rows, row_labels=["targets", *(f"source {i + 1}" for i in range(len(sources)))])


def style_mixing_grid(
    generator: Generator,
    layers: int,
    targets: Float[Tensor, "targets layers width"],
    sources: Float[Tensor, "sources layers width"],
) -> Image.Image:
    """The same grid by style mixing: each cell is a target with the first `layers` layers of a source."""
    return mixing_grid(generator, coarse_layers_of(layers), targets, sources)


@torch.no_grad()
def sample_grid(generator: Generator, codes: Float[Tensor, "codes layers width"], columns: int = 8) -> Image.Image:
    """Pictures of codes, row by row."""
    pictures = [to_picture(image, generator.resolution) for image in generator.synthesis(codes)]
    return picture_grid([pictures[start : start + columns] for start in range(0, len(pictures), columns)])


def _draw_points(picture: Image.Image, points: Float[Tensor, "points 2"], colour: tuple[int, int, int]) -> None:
    draw = ImageDraw.Draw(picture)
    for x, y in points.tolist():
        draw.ellipse((x - 1, y - 1, x + 1, y + 1), fill=colour)
