"""Fig. 3 of StyleFaceUV: a face seen from the other side, of a UV generator that saw one view and of one that saw two."""

import math
from collections.abc import Iterator

import torch
from jaxtyping import Float
from torch import Tensor

from evaluation.figures import Cell, Figure
from evaluation.report import picture_grid, to_picture
from evaluation.stylefaceuv.known_portraits import KnownPortraits, posed_as
from evaluation.stylefaceuv.measures import common_mask, hidden_in
from evaluation.stylefaceuv.under_test import (
    BATCH,
    COARSE,
    DETAILED,
    ORIGINAL,
    SYMMETRIC,
    FacesUnderTest,
)
from lightning_modules.image_error import squared_error
from lightning_modules.stylefaceuv_views import PosedView
from models.stylefaceuv.texel_masks import texel_masks
from renderers.face_renderer import FaceRender
from renderers.images import to_signed, to_unit

NAME, TABLE = "stylefaceuv_view_consistency", "stylefaceuv_hidden_side"
HIDDEN, SEEN = "hidden", "seen"
MOVED, TRUE = "moved picture", "true portrait"
# How much larger a face's error is than the detailed face's, and the standard error of that over faces.
DIFFERENCE = ("rmse_less_detailed", "rmse_less_detailed_se")
SIZE = 96


def view_consistency_figures(
    tested: FacesUnderTest, people: int, shown: int, known: KnownPortraits | None
) -> list[Figure]:
    """The picture and the table; none of the picture, nor of the rows on moved pictures, without a step network.

    Args:
        tested: The UV generator, and perhaps the one of a single view.
        people: Unseen codes that numbers are over.
        shown: Of the first `BATCH` of these, those in the picture: the most turned ones.
        known: Portraits of known truth; None for none.
    """
    moves = tested.views.step is not None
    if not moves and known is None:
        return []
    pictures = [_picture(tested, min(people, BATCH), shown)] if moves else []
    return [*pictures, _table(tested, people if moves else 0, known)]


@torch.no_grad()
def _picture(tested: FacesUnderTest, people: int, shown: int) -> Figure:
    codes = tested.unseen_codes(people)
    yaw = tested.posed(codes)[ORIGINAL].parameters.rotation[:, 1]
    views = tested.posed(codes[yaw.abs().argsort(descending=True)[:shown]])
    original, symmetric = views[ORIGINAL], views[SYMMETRIC]
    first, second = tested.renders(original, original), tested.renders(symmetric, original)
    maps = {name: tested.maps(network, symmetric, original) for name, network in tested.networks.items()}
    size = (maps[DETAILED].diffuse.shape[2], maps[DETAILED].diffuse.shape[3])
    masks = texel_masks(tested.faces.surface, first[DETAILED], second[DETAILED], size, tested.views.texture_sampling)
    columns = {"picture": original.target, "moved picture": symmetric.target}
    columns |= {"coarse": _on_white(second[COARSE])}
    for name, texels in (("texels", masks.original), ("texels moved", masks.symmetric)):
        columns[name] = to_signed(texels.expand(-1, 3, -1, -1))
    for name, own in maps.items():
        columns |= {
            f"{name}": _on_white(first[name]),
            f"{name} moved": _on_white(second[name]),
            f"{name} map": to_signed(own.diffuse),
        }
    labels = [label.replace("detailed (one view)", "one view").replace("detailed", "two views") for label in columns]
    rows = [[to_picture(image, SIZE) for image in row] for row in zip(*columns.values(), strict=True)]
    table: list[tuple[Cell, ...]] = [
        (
            index,
            *(float(view.parameters.rotation[index, 1].rad2deg()) for view in (original, symmetric)),
            *(float(mask[index].mean()) * 100 for mask in masks),
        )
        for index in range(len(original.codes))
    ]
    caption = (
        f"The most turned of {people} unseen codes: their pictures and those of the codes moved to the mirrored yaw; in the moved view "
        "the coarse face; the texels that the original and the moved view read (grey: half weight, as both read them); then the detailed "
        "face in both views and its diffuse map"
        + (", of training on one view and on two." if len(maps) > 1 else "; no UV generator of one view was given.")
    )
    names = ("code", "yaw_deg", "moved_yaw_deg", "texels_percent", "moved_texels_weight_percent")
    return Figure(
        NAME, "One view against two (Fig. 3)", caption, names, tuple(table), picture_grid(rows, column_labels=labels)
    )


@torch.no_grad()
def _table(tested: FacesUnderTest, people: int, known: KnownPortraits | None) -> Figure:
    # Of each face its squared error and pixels, and the pixels of both sides.
    found: dict[tuple[str, str, str], list[Tensor]] = {}
    compared = (
        (MOVED, _moved_views(tested, people)),
        (TRUE, iter(()) if known is None else _true_views(tested, known)),
    )
    for against, views in compared:
        for first, second, target, shown in views:
            mask = common_mask(list(second.values())) * shown
            hidden = hidden_in(first[DETAILED], second[DETAILED], tested.faces.surface, tested.faces.camera).to(mask)
            for side, part in ((HIDDEN, mask * hidden), (SEEN, mask * (1 - hidden))):
                pixels = part.sum(dim=(1, 2, 3))
                for face, render in second.items():
                    error = squared_error(render.image, target, part)
                    sums = torch.stack([error, pixels, mask.sum(dim=(1, 2, 3))], dim=1).double().cpu()
                    found.setdefault((against, side, face), []).append(sums)
    each = {place: torch.cat(parts) for place, parts in found.items()}
    rows: list[tuple[Cell, ...]] = []
    for (against, side, face), sums in each.items():
        error, pixels, all_pixels = sums.sum(dim=0).tolist()
        mean = error / pixels if pixels > 0 else math.nan
        rows.append(
            (
                *(against, side, face, int((sums[:, 1] > 0).sum())),
                100 * pixels / max(all_pixels, 1.0),
                math.sqrt(mean),
                -10 * math.log10(max(mean, 1e-12)) if pixels > 0 else math.nan,
                *((math.nan, math.nan) if face == DETAILED else rmse_difference(sums, each[against, side, DETAILED])),
            )
        )
    true = (
        ""
        if known is None
        else (
            f"; and of {len(known)} synthetic portraits with codes by {known.found_by}, turned to the mirrored yaw, beside the same "
            "portraits drawn so"
        )
    )
    caption = (
        f"Faces turned to the mirrored yaw: of {people} unseen codes beside the picture of the moved code{true}. Hidden: pixels that show "
        "what the original view does not; seen: all others. Errors of colours in [0, 1] over the pixels of all faces together, where all "
        "renders cover the target; pixels in per cent of the compared ones. Beside moved pictures the coarse face has the skin that is "
        "read of the moved code, the detailed faces the map of the code itself; training on two views looked at such "
        "pictures of other codes. "
        f"{DIFFERENCE[0]}: by how much an error is larger than that of the detailed face, with its standard error over faces (jackknife)."
    )
    columns = ("against", "side", "face", "faces", "pixels_percent", "rmse", "psnr_db", *DIFFERENCE)
    return Figure(TABLE, "The side that the original view does not see", caption, columns, tuple(rows))


def rmse_difference(mine: Float[Tensor, "faces 3"], other: Float[Tensor, "faces 3"]) -> tuple[float, float]:
    """Difference of two root mean squared errors over the same pixels of all faces together, and its standard error by leaving out one
    face at a time (jackknife); NaN where there are no pixels, the error also for a single face.

    Args:
        mine, other: Squared errors and pixels of each face, in the first two columns.
    """
    counted = mine[:, 1] > 0
    mine, other = mine[counted], other[counted]
    if len(mine) == 0:
        return math.nan, math.nan
    gap = float(_root_mean(mine.sum(dim=0)) - _root_mean(other.sum(dim=0)))
    if len(mine) == 1:
        return gap, math.nan
    without = _root_mean(mine.sum(dim=0) - mine) - _root_mean(other.sum(dim=0) - other)
    return gap, math.sqrt((1 - 1 / len(mine)) * float((without - without.mean()).square().sum()))


def _root_mean(sums: Float[Tensor, "*rest 3"]) -> Tensor:
    return (sums[..., 0].clamp_min(0) / sums[..., 1]).sqrt()


# Renders of the original and of the turned view by face, the target of the latter in [0, 1], and where it shows skin.
Turned = tuple[dict[str, FaceRender], dict[str, FaceRender], Tensor, Tensor]


def _moved_views(tested: FacesUnderTest, people: int) -> Iterator[Turned]:
    """Codes in their view and the moved one, beside the moved code's picture."""
    for codes in tested.batches(people):
        views = tested.posed(codes)
        original, symmetric = views[ORIGINAL], views[SYMMETRIC]
        target = to_unit(symmetric.target)
        yield (
            tested.renders(original, original),
            tested.renders(symmetric, original),
            target,
            torch.ones_like(target[:, :1]),
        )


def _true_views(tested: FacesUnderTest, known: KnownPortraits) -> Iterator[Turned]:
    """Portraits in their view and turned to the mirrored yaw, beside their true pictures there."""
    own = known.drawn(tested.size)
    asked = known.drawn(tested.size, -own.parameters.rotation[:, 1])
    original = tested.posed(known.codes)[ORIGINAL]
    turned = PosedView(known.codes, posed_as(original.parameters, own.parameters, asked.parameters), original.target)
    yield (
        tested.renders(original, original),
        tested.renders(turned, original),
        to_unit(asked.image),
        asked.mask.to(own.image),
    )


def _on_white(render: FaceRender) -> Tensor:
    return to_signed(render.image + 1 - render.mask)
