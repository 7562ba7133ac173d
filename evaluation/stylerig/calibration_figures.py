"""Figures of a calibration: asked against achieved, one per slider."""

from evaluation.figures import Cell, Figure
from evaluation.plots import line_plot
from models.stylerig.calibration import RigCalibration
from models.stylerig.control_curves import ControlCalibration

TABLE_COLUMNS = ("control", "unit", "gain", "reader's gain", "teacher low", "teacher high", "follows from", "follows to", "low", "high")


def calibration_figures(calibration: RigCalibration) -> list[Figure]:
    """A figure for each slider, and the table of their ranges."""
    rows = tuple(table_row(control) for control in calibration.controls)
    table = Figure(
        "calibration",
        "Calibration: what each slider does",
        "Gain: change read per change asked (1 is exact), and that of the reader on portraits with known values. Teacher: central 99 % of "
        f"{calibration.samples} pictures of the generator. Follows: values asked between which pictures of {calibration.codes} unseen "
        "codes follow. Low and high: what both support.",
        TABLE_COLUMNS,
        rows,
    )
    return [table, *(_figure(control, calibration.codes) for control in calibration.controls)]


def calibration_table(calibration: RigCalibration) -> str:
    """The ranges as lines of text, for a terminal."""
    header = ("slider", "gain", "reader's", "teacher shows", "pictures follow", "supported")
    rows = [header]
    for control in calibration.controls:
        reader = "" if control.reader_gain is None else f"{control.reader_gain:.2f}"
        spans = [
            f"{control.said(low)} to {control.said(high)}" for low, high in (control.teacher_range, control.response_range)
        ]
        outcome = "not readable" if not control.readable else "hardly moves" if not control.responds else None
        supported = outcome or " to ".join(control.said(end) for end in control.supported_range)
        rows.append((control.control, f"{control.gain:.2f}", reader, *(spans if outcome is None else (spans[0], "-")), supported))
    widths = [max(len(row[column]) for row in rows) for column in range(len(header))]
    return "\n".join("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows)


def table_row(control: ControlCalibration) -> tuple[Cell, ...]:
    """The numbers of a slider, in the order of `TABLE_COLUMNS`; "" for a gain of the reader that was not measured."""
    gains = (control.gain, "" if control.reader_gain is None else control.reader_gain)
    return (control.control, control.unit, *gains, *control.teacher_range, *control.response_range, *control.supported_range)


def _figure(control: ControlCalibration, codes: int) -> Figure:
    unit = f" [{control.unit}]" if control.unit else ""
    series = {str(curve.reader): (curve.asked, curve.median) for curve in control.curves}
    bands = {str(curve.reader): (curve.lower, curve.upper) for curve in control.curves}
    columns = [f"{part}{unit}" for part in ("asked", "median", "10 %", "90 %")]
    rows = [
        (curve.reader, *values)
        for curve in control.curves
        for values in zip(curve.asked, curve.median, curve.lower, curve.upper, strict=True)
    ]
    low, high = control.supported_range
    supported = f"Supported: {control.said(low)} to {control.said(high)}." if control.responds else "No value is known to be supported."
    return Figure(
        f"calibration_{control.control}",
        f"{control.control}: asked against achieved",
        f"Medians over {codes} unseen codes, by reader; bands are 10 % and 90 % quantiles. {supported}",
        ("reader", *columns),
        tuple(rows),
        line_plot(series, f"{control.control} asked{unit}", f"{control.control} read{unit}", bands, diagonal=True),
    )
