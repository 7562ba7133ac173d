"""Lifted generators that were trained without a term beside the whole one (Table 2 and Fig. 9 of LiftedGAN)."""

import math
from collections.abc import Sequence

import torch
from PIL import Image
from torch import Tensor

from evaluation.figures import Cell, Figure
from evaluation.lifted_gan.controls import asked_view
from evaluation.lifted_gan.frechet import RealPictures, own_renders
from evaluation.lifted_gan.published import TABLE_2
from evaluation.lifted_gan.shape_errors import ShapeErrors, ShapeReference, constant_errors, shape_errors
from evaluation.lifted_gan.side_view import side_view
from evaluation.lifted_gan.stills import cell_size
from evaluation.lifted_gan.under_test import LiftedUnderTest
from evaluation.report import picture_grid, to_picture
from models.stylerig.sliders import Slider

TABLE, PICTURES = "lifted_gan_errors", "lifted_gan_ablation"
CONSTANT, PUBLISHED = "the same for all", "published: Table 2, FFHQ"
# Of Fig. 9's turned views, ours.
_YAWS_DEG = (-45.0, 45.0)


def errors_figure(
    tested: LiftedUnderTest, references: Sequence[ShapeReference], real: RealPictures | None = None
) -> Figure:
    """Table 2: a row for each reference and lifted generator.

    Args:
        tested: The lifted generator and its ablations.
        references: Truth, or what is read of pictures.
        real: Pictures that renders in their own pose are compared with; None leaves that out.
    """
    metric = "frechet" if real is None else real.features.metric
    distances = {
        name: math.nan if real is None else real.distance(own_renders(tested, views, real.count))
        for name, views in tested.methods.items()
    }
    rows: list[tuple[Cell, ...]] = []
    for reference in references:
        count = len(reference.codes)
        rows.append(_row(reference.name, CONSTANT, count, constant_errors(reference), math.nan))
        for name, views in tested.methods.items():
            rows.append(_row(reference.name, name, count, shape_errors(views, reference), distances[name]))
    for name, each in TABLE_2.items():
        rows.append((PUBLISHED, name, math.nan, each.depth, each.yaw_deg, each.pitch_deg, each.roll_deg, each.fid))
    compared = (
        ""
        if real is None
        else (
            f" {metric}: Fréchet distance of {real.count} renders in their own pose to real pictures, FID in the published rows."
        )
    )
    return Figure(
        TABLE,
        "Errors of depth and pose (Table 2)",
        "Of the view that is read of each code. Depth: root mean square difference over the face of maps less their mean and over their "
        "spread, 0 for equal shapes and 1.41 for unrelated ones and faces that miss the reference; angles: mean absolute differences in "
        "degrees, each angle less its mean. "
        "Against the truth of synthetic portraits (errors of the codes that stand for them are in all of it), or what is read of the 2D "
        f"generator's pictures, as in the paper. The first row of each knows nothing of a face.{compared} Published ones are of other "
        "pictures.",
        ("against", "method", "faces", "depth", "yaw_deg", "pitch_deg", "roll_deg", f"{metric}_to_real"),
        tuple(rows),
    )


def _row(against: str, method: str, count: int, errors: ShapeErrors, distance: float) -> tuple[Cell, ...]:
    pitch, yaw, roll = errors.rotation_deg
    return (against, method, count, errors.depth, yaw, pitch, roll, distance)


@torch.no_grad()
def ablation_figure(tested: LiftedUnderTest, shown: int) -> Figure:
    """Fig. 9: the same codes lifted by each, from several sides.

    Args:
        tested: The lifted generator and its ablations.
        shown: Faces.
    """
    size = cell_size(tested.size)
    codes = tested.unseen_codes(shown)
    columns: dict[str, list[Tensor]] = {}
    numbers: list[tuple[Cell, ...]] = []
    for name, views in tested.methods.items():
        lifted = views.read(codes)
        maps = views.maps(lifted)
        turned = [views.draw(lifted, [Slider("yaw", yaw)]) for yaw in _YAWS_DEG]
        front = asked_view(lifted.output.view, views.model.settings, [Slider("yaw", 0.0)])
        side, _ = side_view(views.model, lifted.output, front, lifted.output.transformation)
        columns[name] = [lifted.pictures, views.draw(lifted), *turned, side, maps["normals"], maps["albedo"]]
        psnr = views.readings(lifted)["psnr_db"]
        spread = lifted.output.depth.std(dim=(1, 2))
        numbers += [(name, face, float(psnr[face]), float(spread[face])) for face in range(shown)]
    rows: list[list[Image.Image | None]] = [
        [to_picture(image[face], size) for image in images] for face in range(shown) for images in columns.values()
    ]
    labels = ["picture", "render", *(f"{yaw:+g}" for yaw in _YAWS_DEG), "side", "normals", "albedo"]
    return Figure(
        PICTURES,
        "What each term is for (Fig. 9)",
        "For each face a row by each lifted generator: the 2D generator's picture, the render in its own view, two yaws, the frontal mesh "
        "from the side, normals and albedo. Numbers: PSNR of the render where the mesh is seen, and the spread of canonical depth.",
        ("method", "face", "psnr_db", "depth_spread"),
        tuple(numbers),
        picture_grid(rows, list(columns) * shown, labels),
    )
