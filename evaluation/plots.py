"""Plots of numbers as pictures, through matplotlib without a display."""

import io
from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure as Canvas
from PIL import Image

_INCHES, _DOTS = (5.6, 3.4), 110


def line_plot(
    series: Mapping[str, tuple[Sequence[float], Sequence[float]]],
    x_label: str,
    y_label: str,
    bands: Mapping[str, tuple[Sequence[float], Sequence[float]]] | None = None,
    diagonal: bool = False,
) -> Image.Image:
    """Lines over a common axis.

    Args:
        series: Name to (x, y).
        x_label, y_label: With units.
        bands: Name to (lower, upper) over the x of the series of that name, shaded.
        diagonal: Also draw y = x, as for asked against achieved.
    """
    canvas = Canvas(figsize=_INCHES, dpi=_DOTS)
    axes = canvas.subplots()
    for name, (x, y) in series.items():
        (line,) = axes.plot(x, y, marker="o", markersize=3, label=name)
        if bands is not None and name in bands:
            axes.fill_between(x, *bands[name], alpha=0.2, color=line.get_color(), linewidth=0)
    if diagonal:
        ends = [min(min(x) for x, _ in series.values()), max(max(x) for x, _ in series.values())]
        axes.plot(ends, ends, color="grey", linewidth=1, linestyle="--", label="as asked")
    return _picture(canvas, axes, x_label, y_label, len(series) > 1 or diagonal)


def bar_plot(
    names: Sequence[str],
    values: Mapping[str, Sequence[float]],
    y_label: str,
    deviations: Mapping[str, Sequence[float]] | None = None,
    x_label: str = "",
) -> Image.Image:
    """Groups of bars: one group per name, one bar per entry of `values`, with whiskers of one standard deviation where given."""
    canvas = Canvas(figsize=_INCHES, dpi=_DOTS)
    axes = canvas.subplots()
    width = 0.8 / len(values)
    for position, (label, heights) in enumerate(values.items()):
        places = np.arange(len(names)) + (position - (len(values) - 1) / 2) * width
        spread = None if deviations is None else deviations.get(label)
        axes.bar(places, heights, width, label=label, yerr=spread, error_kw={"linewidth": 0.8})
    # Names of many groups would cover each other.
    step = max(1, len(names) // 20)
    axes.set_xticks(range(0, len(names), step), list(names)[::step], rotation=45 if len(names) > 8 else 0, fontsize=8)
    return _picture(canvas, axes, x_label, y_label, len(values) > 1)


def scatter_plot(
    series: Mapping[str, tuple[Sequence[float], Sequence[float]]],
    x_label: str,
    y_label: str,
    trends: Mapping[str, tuple[Sequence[float], Sequence[float]]] | None = None,
) -> Image.Image:
    """Points over a common axis.

    Args:
        series: Name to (x, y).
        x_label, y_label: With units.
        trends: Name to (x, y) of a line through the points of the series of that name.
    """
    canvas = Canvas(figsize=_INCHES, dpi=_DOTS)
    axes = canvas.subplots()
    for name, (x, y) in series.items():
        many = len(x) > 20
        points = axes.scatter(x, y, s=8 if many else 45, alpha=0.5 if many else 1.0, linewidths=0, label=name)
        if trends is not None and name in trends:
            axes.plot(*trends[name], color=points.get_facecolor()[0], alpha=1.0, linewidth=2)
    return _picture(canvas, axes, x_label, y_label, len(series) > 1)


def _picture(canvas: Canvas, axes: object, x_label: str, y_label: str, legend: bool) -> Image.Image:
    axes.set_xlabel(x_label)  # type: ignore[attr-defined]
    axes.set_ylabel(y_label)  # type: ignore[attr-defined]
    axes.grid(alpha=0.3)  # type: ignore[attr-defined]
    if legend:
        axes.legend(fontsize=8)  # type: ignore[attr-defined]
    canvas.tight_layout()
    buffer = io.BytesIO()
    FigureCanvasAgg(canvas).print_png(buffer)
    return Image.open(buffer).convert("RGB")
