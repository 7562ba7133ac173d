"""How much of a face's identity is left as its head turns, by every way of turning it (section 4.3; LiftedGAN's Fig. 7)."""

import math
from collections.abc import Sequence

from jaxtyping import Float
from torch import Tensor

from datamodules.portraits import PortraitSampler
from evaluation.figures import Cell, Figure
from evaluation.plots import line_plot
from evaluation.stylefaceuv.turned_identities import (
    MOST_TRUE_DEG,
    TRUE_TURNS,
    TurnedIdentities,
    true_turns,
    turned_identities,
)
from evaluation.stylefaceuv.turning import FaceTurner
from models.observers import FaceEmbedder, Judge

# Each of pictures as they are and of faces on black.
CURVES, SUMMARY, CUT_OUT = "stylefaceuv_identity_against_yaw", "stylefaceuv_identity_by_turn", "_of_faces"
# Those of Fig. 4 and what lies between them.
YAWS_DEG = (-60.0, -45.0, -30.0, -15.0, 0.0, 15.0, 30.0, 45.0, 60.0)
# From here on a turn is large: portraits that generators learn from have yaws of about 19 degrees. Our choice.
LARGE_TURN_DEG = 30.0
SMALL, LARGE = f"below {LARGE_TURN_DEG:g} degrees", f"{LARGE_TURN_DEG:g} degrees and more"

COLUMNS = (
    "method",
    "yaw_asked_deg",
    "faces",
    "similarity_to_picture",
    "similarity_to_picture_standard_error",
    "similarity_to_others",
    "recognised_share",
    "similarity_to_front",
    "similarity_to_front_standard_error",
    "yaw_read_deg",
    "yaw_error_deg",
    "identity_change_by_judge_spreads",
)
SUMMARY_COLUMNS = (
    "method",
    "turns",
    "faces",
    "similarity_to_picture",
    "picture_less_than_first",
    "picture_less_than_first_se",
    "recognised_share",
    "similarity_to_front",
    "front_less_than_first",
    "front_less_than_first_se",
    "yaw_error_deg",
    "identity_change_by_judge_spreads",
    "judge_less_than_first",
    "judge_less_than_first_se",
)


def identity_against_yaw(
    turners: Sequence[FaceTurner],
    codes: Float[Tensor, "faces layers width"],
    pictures: Float[Tensor, "faces 3 size size"],
    embedder: FaceEmbedder,
    judge: Judge | None = None,
    sampler: PortraitSampler | None = None,
    alone: bool = False,
    yaws_deg: Sequence[float] = YAWS_DEG,
) -> list[Figure]:
    """``stylefaceuv_identity_against_yaw``, curves, and ``stylefaceuv_identity_by_turn``, the ways compared face by face.

    Args:
        turners: Ways to turn faces; differences are from the first.
        codes: Of the faces, at least 2.
        pictures: Theirs, in [-1, 1]; cut out (`own_faces`) where turners show faces on black.
        embedder: Says who is in a picture; one that training looked through measures a part of its loss.
        judge: Reads what yaw was reached and who is seen; None leaves that out, as for faces on black, which it was not trained on.
        sampler: Also measure synthetic portraits that are turned without any error, as many; None for pictures of another kind.
        alone: Faces are on black; figures then have ``_of_faces`` after their names.
        yaws_deg: Asked, in ascending order.
    """
    seen = [turned_identities(turner, codes, pictures, embedder, judge, yaws_deg) for turner in turners]
    if sampler is not None:
        seen.append(true_turns(sampler, len(codes), pictures.shape[-1], embedder, judge, alone, yaws_deg))
    who = "The judge reads the yaw reached and the change of identity. " if judge is not None else ""
    frame = (
        "Faces are on black, without hair and background: pictures where the detailed face covers the head, in the pose that is read of "
        "them; how far they do turn is in the figure of whole pictures"
        if alone
        else "Renders are pasted into the pictures of codes moved along d: hair and background, which identity networks see too, are theirs"
    )
    caption = (
        f"{len(codes)} faces of unseen codes, all asked the same absolute yaws. {frame}. Similarity is the cosine of identity vectors: "
        "with the generator's own picture of the face, in whatever yaw it has; with those of the others; and with the same way's picture "
        "at yaw 0. Recognised: the share of others to whom the turned face is less alike than to its own picture, one half by chance. "
        f"Bands are standard errors. {who}A way that does not reach the yaw keeps the identity easily. Identity is read by "
        f"{type(embedder).__name__}; where the training's perceptual loss looked through the same network, the detailed face was trained "
        f"towards this. {TRUE_TURNS.capitalize()} (to {MOST_TRUE_DEG:g} degrees) are other people, of whom the same face is drawn in each "
        "yaw: what the network says of turns without any error."
    )
    name = CUT_OUT if alone else ""
    of_what = ", faces alone" if alone else ""
    return identity_figures(seen, CURVES + name, SUMMARY + name, f"(section 4.3){of_what}", caption)


def identity_figures(
    seen: Sequence[TurnedIdentities], curves: str, summary: str, of_what: str, caption: str
) -> list[Figure]:
    """The curves of ways of turning, and the table that compares them face by face.

    Args:
        seen: Of each way; differences are from the first.
        curves, summary: Names of the two figures.
        of_what: Which figure of which paper, and of what, as titles end.
        caption: Of the curves.
    """
    return [
        Figure(
            curves,
            f"Identity similarity against yaw {of_what}",
            caption,
            COLUMNS,
            tuple(row for each in seen for row in _rows(each)),
            line_plot(
                {each.name: (each.yaws_deg, each.to_picture.mean(dim=1).tolist()) for each in seen},
                "yaw asked, degrees",
                "identity similarity to the picture",
                {each.name: _band(each.to_picture) for each in seen},
            ),
        ),
        Figure(
            summary,
            f"Identity kept by small and by large turns {of_what}",
            f"As {curves}, means over yaws of one size; differences are paired, this way's similarity less that of {seen[0].name} "
            "for the same faces (not for portraits, who are others and turn to less than 60 degrees), with their standard errors over "
            "faces. The change of identity is what the judge reads, which no training looked through: less is better.",
            SUMMARY_COLUMNS,
            tuple(row for each in seen for row in _summary(each, seen[0])),
        ),
    ]


def _rows(seen: TurnedIdentities) -> list[tuple[Cell, ...]]:
    return [
        (
            seen.name,
            yaw,
            seen.to_picture.shape[1],
            float(seen.to_picture[row].mean()),
            standard_error(seen.to_picture[row]),
            float(seen.to_others[row].mean()),
            float(seen.recognised[row].mean()),
            float(seen.to_front[row].mean()),
            standard_error(seen.to_front[row]),
            float(seen.yaw_read_deg[row].mean()),
            float(seen.yaw_error_deg[row].mean()),
            float(seen.identity_change[row].mean()),
        )
        for row, yaw in enumerate(seen.yaws_deg)
    ]


def _summary(seen: TurnedIdentities, first: TurnedIdentities) -> list[tuple[Cell, ...]]:
    rows: list[tuple[Cell, ...]] = []
    for label, large in ((SMALL, False), (LARGE, True)):
        chosen = [row for row, yaw in enumerate(seen.yaws_deg) if (abs(yaw) >= LARGE_TURN_DEG) == large]
        if not chosen:
            continue

        def compared(mine: Tensor, other: Tensor, chosen: list[int] = chosen) -> tuple[float, float, float]:
            """Mean, mean paired difference from the first way, and its standard error."""
            values = mine[chosen].mean(dim=0)
            if seen.name == TRUE_TURNS:
                return float(values.mean()), math.nan, math.nan
            gap = values - other[chosen].mean(dim=0)
            return float(values.mean()), float(gap.mean()), standard_error(gap)

        rows.append(
            (
                *(seen.name, label, seen.to_picture.shape[1]),
                *compared(seen.to_picture, first.to_picture),
                float(seen.recognised[chosen].mean()),
                *compared(seen.to_front, first.to_front),
                float(seen.yaw_error_deg[chosen].mean()),
                *compared(seen.identity_change, first.identity_change),
            )
        )
    return rows


def _band(values: Float[Tensor, "yaws faces"]) -> tuple[list[float], list[float]]:
    pairs = [(float(row.mean()), standard_error(row)) for row in values]
    return [mean - error for mean, error in pairs], [mean + error for mean, error in pairs]


def standard_error(values: Float[Tensor, " faces"]) -> float:
    """Of the mean; NaN of a single value."""
    return float(values.std() / math.sqrt(len(values))) if len(values) > 1 else math.nan
