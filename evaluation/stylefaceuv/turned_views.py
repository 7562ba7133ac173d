"""Faces turned from one side to the other by every way of turning them (Fig. 4)."""

import math
from collections.abc import Sequence

import torch
from jaxtyping import Float
from PIL import Image
from torch import Tensor

from evaluation.figures import Cell, Figure
from evaluation.report import picture_grid, to_picture
from evaluation.stylefaceuv.published import FIG_4_YAWS_DEG
from evaluation.stylefaceuv.turned_identities import TurnedIdentities, turned_identities
from evaluation.stylefaceuv.turning import FaceTurner
from models.observers import FaceEmbedder, Judge

TURNED_VIEWS = "stylefaceuv_turned_views"
COLUMNS = ("method", "face", "yaw_asked_deg", "yaw_read_deg", "similarity_to_picture", "similarity_to_front")

# Smaller pictures are enlarged to this width.
_WIDTH = 96


@torch.no_grad()
def turned_views_figure(
    turners: Sequence[FaceTurner],
    codes: Float[Tensor, "faces layers width"],
    pictures: Float[Tensor, "faces 3 size size"],
    embedder: FaceEmbedder,
    judge: Judge | None = None,
    yaws_deg: Sequence[float] = FIG_4_YAWS_DEG,
) -> Figure:
    """``stylefaceuv_turned_views``: a row for each face and way of turning it, a column for each yaw.

    Args:
        turners: Ways to turn faces: rows follow their order.
        codes: Of the faces shown.
        pictures: Theirs, in [-1, 1].
        embedder: Says who is in a picture.
        judge: Reads what yaw was reached; None leaves that out.
        yaws_deg: Asked.
    """
    seen = [turned_identities(turner, codes, pictures, embedder, judge, yaws_deg) for turner in turners]
    read = "the judge's reading of the yaw and " if judge is not None else ""
    return Figure(
        TURNED_VIEWS,
        "Yaw from one side to the other (Fig. 4)",
        "Left to right: the generator's picture of a code, then absolute yaws. Renders are pasted with a hard edge, as in the paper, into "
        f"the picture of the code moved along d as far as it goes. Numbers are {read}cosines of identity vectors with the face's own "
        "picture and with the same way's picture at yaw 0.",
        COLUMNS,
        tuple(row for face in range(len(codes)) for each in seen for row in _rows(each, face)),
        _picture(turners, codes, pictures, yaws_deg),
    )


def _rows(seen: TurnedIdentities, face: int) -> list[tuple[Cell, ...]]:
    return [
        (
            seen.name,
            face,
            yaw,
            float(seen.yaw_read_deg[row, face]),
            float(seen.to_picture[row, face]),
            float(seen.to_front[row, face]),
        )
        for row, yaw in enumerate(seen.yaws_deg)
    ]


def _picture(
    turners: Sequence[FaceTurner],
    codes: Float[Tensor, "faces layers width"],
    pictures: Float[Tensor, "faces 3 size size"],
    yaws_deg: Sequence[float],
) -> Image.Image:
    width = max(_WIDTH, pictures.shape[-1])
    turned = [
        [turner.turned(codes, codes.new_full((len(codes),), math.radians(yaw))) for yaw in yaws_deg]
        for turner in turners
    ]
    rows: list[list[Image.Image | None]] = []
    for face, picture in enumerate(pictures):
        for number, images in enumerate(turned):
            first = to_picture(picture, width) if number == 0 else None
            rows.append([first, *(to_picture(each[face], width) for each in images)])
    labels = [turner.name for turner in turners] * len(codes)
    return picture_grid(rows, labels, ["picture", *(f"{yaw:+g} deg" if yaw else "0 deg" for yaw in yaws_deg)])
