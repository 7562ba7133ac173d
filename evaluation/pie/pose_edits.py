"""Table 2 of PIE: quality of the fit, accuracy of pose edits, and identity kept, for every setting."""

import math
from collections.abc import Sequence
from itertools import combinations

from torch import Tensor

from evaluation.figures import Cell, Figure
from evaluation.pie.edit_sizes import edit_size_figures
from evaluation.pie.embedded import EmbeddedPortraits
from evaluation.pie.looking import edits_at, mean_of
from evaluation.pie.measured_edits import EDIT_MEASURES, PoseEdits, measure_pose_edits
from evaluation.pie.published import TABLE_2, paper_order
from evaluation.pie.shown_edits import count_portraits, in_common, readers_named
from evaluation.plots import scatter_plot

TABLE, DIFFERENCES, TRADE_OFF = "pie_table_2", "pie_table_2_differences", "pie_table_2_trade_off"
PUBLISHED = "published"


def pose_edit_figures(settings: Sequence[EmbeddedPortraits], edits: int) -> list[Figure]:
    """Table 2, how sure its differences are, and Fig. 13 of the same edits; none where no rig controls the rotation.

    Args:
        settings: What is compared: embeddings of the same portraits by several settings, with one rig and the same networks. The first is
            the one in question. Those that bear a name of `evaluation.pie.published.TABLE_2` get its numbers beside them.
        edits: Of portraits and samples, for each setting, at least so many; photos get as many each.

    Raises:
        InputError: for settings that have no portrait in common, or do not belong together.
    """
    shared = in_common(settings)
    if "rotation" not in shared[0].opened.rig.components:
        return []
    measured = measure_pose_edits(shared, edits)
    ordered = sorted(measured, key=lambda each: paper_order(each.label))
    return [
        _table(shared[0], ordered),
        _differences(shared[0], ordered),
        _trade_off(shared[0], ordered),
        *edit_size_figures(measured),
    ]


_FITS = ("psnr_db", "ssim")
MEASURES = (*_FITS, *EDIT_MEASURES)


def _table(embedded: EmbeddedPortraits, measured: Sequence[PoseEdits]) -> Figure:
    columns = ("setting", "over", "portraits", "edits", *MEASURES, "asked_rad", "recognition_error_of_fit")
    rows: list[tuple[Cell, ...]] = []
    groups = measured[0].groups
    for group, places in groups.items():
        for each in measured:
            members = edits_at(each.portrait, places)
            fits = [mean_of(getattr(each, name), places) for name in _FITS]
            means = [mean_of(getattr(each, name), members) for name in (*EDIT_MEASURES.values(), "asked")]
            rows.append(
                (each.label, group, len(places), len(members), *fits, *means, mean_of(each.fit_recognition, places))
            )
    nan = math.nan
    for label, paper in TABLE_2.items():
        cells = (paper.psnr_db, paper.ssim, paper.editing_error, nan, paper.recognition_error, nan, nan, nan)
        rows.append((label, PUBLISHED, nan, 2500, *cells))
    caption = (
        f"Pose edits of {count_portraits(embedded)}, the same targets theta_v of unseen codes for every setting. PSNR and SSIM of the fit "
        "to the portrait; editing error: angle between the pose asked for and the one that MoFA reads, and between what the judge reads "
        "of I_v and of the edited picture; recognition error: || Psi(I) - Psi(edited) ||^2 of unit vectors, and the change of the judge's "
        f"identity reading; asked: the editing error of no edit. {readers_named(embedded)}. Rows marked published are the paper's, of "
        f"photos at 1024 px; its recognition errors are of other features in another scale."
    )
    return Figure(TABLE, "Quality of fits and pose edits (Table 2)", caption, columns, tuple(rows))


def _trade_off(embedded: EmbeddedPortraits, measured: Sequence[PoseEdits]) -> Figure:
    main, places = next(iter(measured[0].groups.items()))
    columns = ("setting", "editing_error_rad", "recognition_error")
    members = edits_at(measured[0].portrait, places)
    points = {each.label: (mean_of(each.error, members), mean_of(each.recognition, members)) for each in measured}
    picture = scatter_plot(
        {label: ([x], [y]) for label, (x, y) in points.items()},
        "editing error by MoFA, rad",
        "recognition error by Psi",
    )
    caption = f"Means over {len(members)} pose edits of {main}, lower left is better. {readers_named(embedded)}."
    rows = tuple((label, *point) for label, point in points.items())
    return Figure(TRADE_OFF, "Accuracy of edits against identity kept (Table 2)", caption, columns, rows, picture)


def _differences(embedded: EmbeddedPortraits, measured: Sequence[PoseEdits]) -> Figure:
    main, places = next(iter(measured[0].groups.items()))
    rows: list[tuple[Cell, ...]] = []
    for first, second in combinations(measured, 2):
        cells = [
            number
            for values, others in zip(_by_portrait(first, places), _by_portrait(second, places), strict=True)
            for number in _paired(values - others)
        ]
        rows.append((first.label, second.label, len(places), *cells))
    columns = ("setting", "less", "portraits", *(column for name in MEASURES for column in (name, f"{name}_se")))
    caption = (
        f"The first setting's number of Table 2 less the second's, mean over {len(places)} {main} with its standard error over them: the "
        f"same portraits and targets, so differences are surer than the numbers. Units as there. {readers_named(embedded)}."
    )
    return Figure(DIFFERENCES, "Differences between settings (Table 2)", caption, columns, tuple(rows))


def _by_portrait(each: PoseEdits, places: Sequence[int]) -> list[Tensor]:
    """Every measure of `MEASURES`, for each of some portraits the mean over its edits."""
    # As many edits for each portrait, in the portraits' order.
    edits = [getattr(each, name).reshape(len(each.psnr_db), -1).mean(dim=1) for name in EDIT_MEASURES.values()]
    return [values[list(places)] for values in (*(getattr(each, name) for name in _FITS), *edits)]


def _paired(difference: Tensor) -> tuple[float, float]:
    error = float(difference.std() / len(difference) ** 0.5) if len(difference) > 1 else math.nan
    return float(difference.mean()), error
