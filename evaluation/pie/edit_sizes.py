"""Fig. 13 of PIE: errors of pose edits against how far heads are turned."""

from collections.abc import Sequence

from evaluation.figures import Cell, Figure
from evaluation.pie.looking import edits_at
from evaluation.pie.measured_edits import EDIT_MEASURES, PoseEdits
from evaluation.plots import scatter_plot
from evaluation.report import picture_grid
from evaluation.stylerig.edit_sizes import Bins

SCATTER, BINNED = "pie_edit_sizes", "pie_edit_sizes_binned"
# Chosen by us.
_BINS = 5


def edit_size_figures(measured: Sequence[PoseEdits]) -> list[Figure]:
    """Editing and recognition error of every edit of the first setting against the size of the edit, and of all settings in bins.

    The size is the angle between theta_I and theta_v, in degrees. Bins hold equally many edits; as many as `Bins` allows, at most 5.
    """
    first = measured[0]
    main, places = next(iter(first.groups.items()))
    members = edits_at(first.portrait, places)
    bins = Bins(first.asked[members].rad2deg().cpu(), max(1, min(_BINS, len(members) // 2)))
    return [_scatter(first, main, members.tolist(), bins), _binned(measured, main, members.tolist(), bins)]


def _scatter(first: PoseEdits, main: str, members: list[int], bins: Bins) -> Figure:
    size = first.asked[members].rad2deg()
    values = {name: getattr(first, attribute)[members].tolist() for name, attribute in EDIT_MEASURES.items()}
    rows: list[tuple[Cell, ...]] = [
        (first.names[portrait], *numbers)
        for portrait, *numbers in zip(first.portrait[members].tolist(), size.tolist(), *values.values(), strict=True)
    ]
    middles = bins.mean(size.cpu())
    pictures = [
        scatter_plot(
            {first.label: (size.tolist(), values[name])},
            "size of the edit, degrees",
            label,
            {first.label: (middles, bins.mean(getattr(first, EDIT_MEASURES[name])[members].cpu()))},
        )
        for name, label in (
            ("editing_error_rad", "editing error by MoFA, rad"),
            ("recognition_error", "recognition error by Psi"),
        )
    ]
    caption = (
        f"Every pose edit of {main} by {first.label}, {len(members)} in all: angle between the portrait's pose and the one asked for, by "
        "MoFA, and the errors of Table 2. Lines: means of bins of equally many edits."
    )
    columns = ("portrait", "size_deg", *EDIT_MEASURES)
    return Figure(
        SCATTER, "Errors against the size of edits (Fig. 13)", caption, columns, tuple(rows), picture_grid([pictures])
    )


def _binned(measured: Sequence[PoseEdits], main: str, members: list[int], bins: Bins) -> Figure:
    rows: list[tuple[Cell, ...]] = []
    for each in measured:
        means = {name: bins.mean(getattr(each, attribute)[members].cpu()) for name, attribute in EDIT_MEASURES.items()}
        rows += [(each.label, *row) for row in bins.rows(means)]
    columns = ("setting", *Bins.COLUMNS, *EDIT_MEASURES)
    caption = f"The same edits of {main} in bins of equally many, sizes in degrees; means of the errors of Table 2."
    return Figure(BINNED, "Errors of smaller and larger edits (Fig. 13)", caption, columns, tuple(rows))
