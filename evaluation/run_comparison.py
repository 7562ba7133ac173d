"""The same numbers of several runs side by side: tables, and curves over one axis."""

import csv
import io
from collections.abc import Mapping, Sequence

from PIL import Image

from evaluation.figure_overlay import overlaid_lines
from evaluation.figures import Cell, Figure
from evaluation.plots import line_plot
from evaluation.report import Mark, Report
from evaluation.run_records import RunRecord, binned, differing_keys

# Points per training curve: more cannot be told apart in a plot of this size.
_CURVE_POINTS = 60
# Rows of a joint table that a reader still looks through; longer ones are left to the CSV files.
_TABLE_ROWS = 60
# Pictures of figures are reduced to this width; many runs side by side would make a page that few browsers open.
_PICTURE_WIDTH = 1200
_NONE = "–"

TableCell = str | float | bool | Mark


def add_overview(report: Report, runs: Sequence[RunRecord], labels: Sequence[str]) -> None:
    """What each run is, and where their configurations differ."""
    report.heading("Runs")
    header = ["run", "method", "seed", "versions", "folder"]
    rows = [
        [label, run.method or _NONE, str(run.config.get("seed_everything", _NONE)), run.versions or _NONE, str(run.folder)]
        for label, run in zip(labels, runs, strict=True)
    ]
    report.table(header, rows)
    configured = [(label, run) for label, run in zip(labels, runs, strict=True) if run.config]
    if len(configured) < 2:
        return
    # Where a run writes differs always, and is seen above.
    differing = differing_keys([_without_places(run.flat_config()) for _, run in configured])
    report.subheading("What differs between their configurations")
    if not differing:
        report.paragraph("Nothing.")
        return
    report.table(
        ["key", *(label for label, _ in configured)],
        [[key, *(value or _NONE for value in values)] for key, values in sorted(differing.items())],
    )


def last_metrics(runs: Sequence[RunRecord]) -> dict[str, list[float | None]]:
    """Metrics by name, with the last value of each run; None where a run logged none."""
    each = [run.last_metrics() for run in runs]
    return {name: [values.get(name) for values in each] for name in sorted({name for values in each for name in values})}


def metrics_csv(runs: Sequence[RunRecord], labels: Sequence[str], others: Mapping[str, Sequence[float | None]]) -> str:
    """The last metrics and other numbers as CSV: a row per number, a column per run."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["metric", *labels])
    for name, values in (last_metrics(runs) | dict(others)).items():
        writer.writerow([name, *("" if value is None else value for value in values)])
    return text.getvalue()


def number_table(report: Report, name: str, numbers: Mapping[str, Sequence[float | None]], labels: Sequence[str]) -> None:
    """A table with a row per number and a column per run."""
    rows = [[key, *(_NONE if value is None else value for value in values)] for key, values in numbers.items()]
    report.table([name, *labels], rows)


def add_metrics(report: Report, runs: Sequence[RunRecord], labels: Sequence[str]) -> None:
    """The last value of each metric, and how it came there."""
    numbers = last_metrics(runs)
    if not numbers:
        return
    report.heading("Metrics")
    report.paragraph("The last value that each run logged. Losses of different settings need not be comparable.")
    number_table(report, "metric", numbers, labels)
    plots = []
    for name in numbers:
        points = {
            label: binned(run.metrics[name], _CURVE_POINTS)
            for label, run in zip(labels, runs, strict=True)
            if len(run.metrics.get(name, ())) > 1
        }
        lines = {label: line for label, line in points.items() if len(line[0]) > 1}
        if lines:
            plots.append((line_plot(lines, "step", name), f"{name} over the training"))
    if plots:
        report.subheading("Training curves")
        report.paragraph(f"Long series are shown as means over up to {_CURVE_POINTS} stretches of equal length.")
        report.pictures(plots)


def add_figures(report: Report, runs: Sequence[RunRecord], labels: Sequence[str]) -> None:
    """Every figure that a run has: the pictures side by side, and the numbers as lines over one axis or in one table."""
    names = list(dict.fromkeys(name for run in runs for name in run.figures))
    if names:
        report.heading("Figures")
    for name in names:
        of_runs = [(label, run.figures[name]) for label, run in zip(labels, runs, strict=True) if name in run.figures]
        report.subheading(" / ".join(dict.fromkeys(figure.title for _, figure in of_runs)))
        for caption in dict.fromkeys(figure.caption for _, figure in of_runs):
            report.paragraph(caption)
        pictures = [(_reduced(figure.picture), label) for label, figure in of_runs if figure.picture is not None]
        lines = overlaid_lines(of_runs)
        if lines:
            report.pictures(lines)
        if pictures:
            report.pictures(pictures)
        _add_rows(report, of_runs, fold=bool(pictures or lines))


def _add_rows(report: Report, figures: Sequence[tuple[str, Figure]], fold: bool) -> None:
    by_columns: dict[tuple[str, ...], list[tuple[str, Figure]]] = {}
    for label, figure in figures:
        if figure.rows:
            by_columns.setdefault(figure.columns, []).append((label, figure))
    for columns, group in by_columns.items():
        count = sum(len(figure.rows) for _, figure in group)
        if count > _TABLE_ROWS:
            report.paragraph(f"{count} rows of numbers are in figures/{group[0][1].name}.csv of the runs.")
            continue
        # Rows of the same first cell next to each other, as they are to be compared.
        rows: dict[Cell, list[list[TableCell]]] = {}
        for label, figure in group:
            for row in figure.rows:
                rows.setdefault(row[0], []).append([row[0], label, *row[1:]])
        cells = [row for same in rows.values() for row in same]
        report.table([columns[0], "run", *columns[1:]], cells, "numbers" if fold else None)


def _reduced(picture: Image.Image) -> Image.Image:
    if picture.width <= _PICTURE_WIDTH:
        return picture
    return picture.resize((_PICTURE_WIDTH, round(picture.height * _PICTURE_WIDTH / picture.width)), Image.Resampling.LANCZOS)


def _without_places(config: Mapping[str, str]) -> dict[str, str]:
    return {key: value for key, value in config.items() if not key.startswith("run.") and key != "ckpt_path"}
