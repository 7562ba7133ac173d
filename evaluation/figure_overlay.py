"""The same figure of several runs as lines over one axis."""

import re
from collections.abc import Sequence

from PIL import Image

from evaluation.figures import Cell, Figure
from evaluation.plots import line_plot

# Where a table counts bins, this column of it is the axis, and the others that describe bins are none of the numbers.
_BIN, _BIN_AXIS, _OF_BINS = "bin", "size_mean", ("edits", "size_from", "size_to")

# x values, then columns by name.
Curve = tuple[list[float], dict[str, list[float]]]


def overlaid_lines(figures: Sequence[tuple[str, Figure]]) -> list[tuple[Image.Image, str]]:
    """Pictures with captions: for each column a line per run over a common axis, with bands where a column of deviations, errors or
    quantiles belongs to it.

    None for a single run, for numbers that are not curves of the same columns in all runs, and for columns that all runs have alike.
    A curve has numbers alone, the first of which grows from row to row; or a name first, and such numbers for each name.

    Args:
        figures: Labels of runs and their figures of one name.
    """
    columns = figures[0][1].columns
    if len(figures) < 2 or any(figure.columns != columns for _, figure in figures):
        return []
    curves = {label: _curves(figure) for label, figure in figures}
    groups = list(dict.fromkeys(group for of_run in curves.values() for group in of_run))
    if not all(curves.values()):
        return []
    plots = []
    for group in groups:
        of_group = {label: of_run[group] for label, of_run in curves.items() if group in of_run}
        names = list(next(iter(of_group.values()))[1])
        bands = {name: _band(name, names) for name in names}
        axis = _axis(columns, bool(group))
        for name in names:
            if any(name in band for band in bands.values()):
                continue
            lines = {label: (x, values[name]) for label, (x, values) in of_group.items()}
            if len(of_group) > 1 and len({(*x, *y) for x, y in map(_hashable, lines.values())}) == 1:
                continue
            shaded = {label: _bounds(values, name, bands[name]) for label, (_, values) in of_group.items()}
            plots.append((line_plot(lines, axis, name, shaded if bands[name] else None), f"{group}: {name}" if group else name))
    return plots


def _curves(figure: Figure) -> dict[str, Curve]:
    """Name of a group, or an empty one, to its curve; nothing for other numbers."""
    named = bool(figure.rows) and all(isinstance(row[0], str) for row in figure.rows)
    groups: dict[str, list[tuple[Cell, ...]]] = {}
    for row in figure.rows:
        groups.setdefault(str(row[0]) if named else "", []).append(row[1:] if named else row)
    columns = figure.columns[1:] if named else figure.columns
    if len(columns) < 2 or not groups or not all(_is_curve(rows) for rows in groups.values()):
        return {}
    axis = _axis(figure.columns, named)
    left_out = (axis, columns[0], *(_OF_BINS if axis == _BIN_AXIS else ()))
    result: dict[str, Curve] = {}
    for group, rows in groups.items():
        values = {name: [float(row[index]) for row in rows] for index, name in enumerate(columns)}
        result[group] = (values[axis], {name: column for name, column in values.items() if name not in left_out})
    return result


def _axis(columns: Sequence[str], named: bool) -> str:
    first = columns[1] if named else columns[0]
    return _BIN_AXIS if first == _BIN and _BIN_AXIS in columns else first


def _is_curve(rows: Sequence[tuple[Cell, ...]]) -> bool:
    if len(rows) < 2 or any(isinstance(cell, str) for row in rows for cell in row):
        return False
    return all(float(before[0]) < float(after[0]) for before, after in zip(rows[:-1], rows[1:], strict=True))


def _band(name: str, names: Sequence[str]) -> tuple[str, ...]:
    """The columns that bound a column: one of deviations or standard errors, or two of quantiles; empty where there are none."""
    quantiles = (name.replace("median", "10 %"), name.replace("median", "90 %"))
    if "median" in name and all(quantile in names for quantile in quantiles):
        return quantiles
    deviations = (
        name.replace("mean", "std") if "mean" in name else "",
        f"{name}_standard_error",
        re.sub(r"_(deg|spreads)$", r"_standard_error_\1", name),
    )
    return next(((each,) for each in deviations if each != name and each in names), ())


def _bounds(values: dict[str, list[float]], name: str, band: tuple[str, ...]) -> tuple[list[float], list[float]]:
    if len(band) == 2:
        return values[band[0]], values[band[1]]
    spread = values[band[0]] if band else [0.0] * len(values[name])
    pairs = list(zip(values[name], spread, strict=True))
    return [value - each for value, each in pairs], [value + each for value, each in pairs]


def _hashable(line: tuple[list[float], list[float]]) -> tuple[tuple[float, ...], tuple[float, ...]]:
    return tuple(line[0]), tuple(line[1])
