"""What directions of W do: how well each separates its extremes, the angles between them, and what is read of codes along each."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float
from PIL import Image
from torch import Tensor

from datamodules.latent_pairs import PairRecipe
from evaluation.direction_finding import attribute_reading
from evaluation.figures import Figure
from evaluation.plots import line_plot
from evaluation.report import picture_grid
from models.latent_directions import LatentDirection, LatentDirections
from models.morphable import MorphableModel
from models.stylefaceuv.loading import CodeReader
from models.stylegan2 import Generator
from models.stylerig.sliders import unit_of
from renderers.errors import InputError

# Steps to either side, in spreads of the codes: where nearly all codes lie, and beyond. No paper gives any.
AMOUNTS: tuple[float, ...] = (-4.0, -3.0, -2.0, -1.5, -1.0, -0.5, 0.0, 0.5, 1.0, 1.5, 2.0, 3.0, 4.0)
_HALF_TURN = 180.0
_PANELS_IN_A_ROW = 2


@dataclass(frozen=True, eq=False)
class DirectionCurve:
    """What a reader sees of codes that are moved along a direction.

    Attributes:
        direction: Its name, that of the slider that is read.
        reader: Who reads, in a few words.
        amounts: Steps, in spreads.
        readings: In the slider's unit; not a number where a reading says nothing.
    """

    direction: str
    reader: str
    amounts: tuple[float, ...]
    readings: Float[Tensor, "amounts codes"]

    @property
    def changes(self) -> Float[Tensor, "amounts codes"]:
        """Readings less those of the codes that are not moved; angles the short way round."""
        change = self.readings - self.readings[self.amounts.index(0.0)]
        if unit_of(self.direction) == "degrees":
            return (change + _HALF_TURN).remainder(2 * _HALF_TURN) - _HALF_TURN
        return change

    @property
    def slope(self) -> float:
        """Change for a step of one spread, by the smallest steps to either side."""
        middle = self.amounts.index(0.0)
        change = self.changes[middle + 1].nanmean() - self.changes[middle - 1].nanmean()
        return float(change) / (self.amounts[middle + 1] - self.amounts[middle - 1])


@torch.no_grad()
def direction_curves(
    generator: Generator,
    directions: LatentDirections,
    readers: Mapping[str, CodeReader],
    face_model: MorphableModel,
    codes: int = 100,
    seed: int = 0,
    batch_size: int = 64,
) -> list[DirectionCurve]:
    """Move codes of the test split, of which none took part in finding directions, along each of them, and read what they show.

    Args:
        generator: In whose W the directions lie.
        directions: Each of a slider's name.
        readers: By what they are called; on the generator's device.
        face_model: Of what is read.
        codes: That are moved.
        seed: Of the codes.
        batch_size: Codes that are read together.

    Raises:
        InputError: for no codes or readers, directions of another generator, and names that are no sliders.
    """
    if min(codes, batch_size) < 1 or not readers:
        raise InputError(
            f"expected codes, a batch and readers of one or more, got {codes}, {batch_size} and {len(readers)}; raise them"
        )
    directions.require(generator)
    indices = torch.arange(-(-codes // 2), device=generator.mean_w.device)
    made = PairRecipe(seed=seed, max_latents=1).pairs(generator, "test", indices)
    start = torch.stack([made.w, made.v], dim=1).flatten(0, 1)[:codes]
    return [
        DirectionCurve(direction.name, name, AMOUNTS, _readings(start, direction, reader, face_model, batch_size))
        for direction in directions.directions
        for name, reader in readers.items()
    ]


def quality_figure(directions: LatentDirections) -> Figure:
    """How well each direction separates held-out codes with little from those with much of its property."""
    rows = tuple(
        (
            each.name,
            each.quality.unit,
            each.quality.low,
            each.quality.high,
            each.quality.accuracy,
            "" if each.quality.margin is None else each.quality.margin,
            "" if each.quality.beyond_margin is None else each.quality.beyond_margin,
            each.quality.correlation,
            each.spread,
        )
        for each in directions.directions
        if each.quality is not None
    )
    columns = (
        "direction",
        "unit",
        "low",
        "high",
        "accuracy",
        "margin_spreads",
        "beyond_margin",
        "correlation",
        "spread",
    )
    caption = (
        "low and high: mean readings of the extremes that the machine separates. On codes that took no part: accuracy, share "
        "of the extremes on their side of the hyperplane; beyond_margin, share that is also outside the machine's margin; correlation of "
        "all with the reading. spread: standard deviation of codes along the direction, the unit of margins and steps."
    )
    return Figure("direction_quality", "Directions of W: separability", caption, columns, rows)


def angles_figure(directions: LatentDirections) -> Figure:
    """Angles between all directions in degrees, of which InterFaceGAN gives the cosines."""
    angles = directions.angles_deg().tolist()
    rows = tuple((name, *row) for name, row in zip(directions.names, angles, strict=True))
    caption = "Degrees in W. At 90 a step along one is none along the other; below, both change together; above, against each other."
    return Figure(
        "direction_angles", "Directions of W: angles between them", caption, ("direction", *directions.names), rows
    )


def curves_figure(curves: Sequence[DirectionCurve]) -> Figure:
    """What is read against the step, one panel for each direction and one line for each reader.

    Raises:
        InputError: for no curves.
    """
    if not curves:
        raise InputError("expected curves to draw, got none; name a direction")
    names = list(dict.fromkeys(curve.direction for curve in curves))
    panels = [_panel(name, [curve for curve in curves if curve.direction == name]) for name in names]
    picture = picture_grid(
        [panels[first : first + _PANELS_IN_A_ROW] for first in range(0, len(panels), _PANELS_IN_A_ROW)]
    )
    rows = []
    for curve in curves:
        changes = curve.changes
        for number, amount in enumerate(curve.amounts):
            reading, change = (values[number][values[number].isfinite()] for values in (curve.readings, changes))
            read = len(change) / changes.shape[1]
            spread = float(change.std(correction=0))
            rows.append(
                (curve.direction, curve.reader, amount, float(reading.mean()), float(change.mean()), spread, read)
            )
    slopes = "; ".join(
        f"{curve.direction} {curve.slope:.3g} {unit_of(curve.direction)} by {curve.reader}" for curve in curves
    )
    caption = (
        f"{curves[0].readings.shape[1]} codes that took no part in finding them. Lines: mean of what is read; bands: one standard "
        f"deviation of its change. Change per spread about the codes themselves: {slopes}."
    )
    columns = ("direction", "reader", "step_spreads", "reading", "change", "change_std", "share_read")
    return Figure("direction_curves", "Directions of W: reading against step", caption, columns, tuple(rows), picture)


def _readings(
    start: Float[Tensor, "codes layers width"],
    direction: LatentDirection,
    reader: CodeReader,
    face_model: MorphableModel,
    batch_size: int,
) -> Float[Tensor, "amounts codes"]:
    """On the CPU."""
    rows = []
    for amount in AMOUNTS:
        moved = direction.move(start, amount)
        read = [
            attribute_reading(reader.parameters_of(part), direction.name, face_model)
            for part in moved.split(batch_size)
        ]
        rows.append(torch.cat(read).float().cpu())
    return torch.stack(rows)


def _panel(name: str, curves: Sequence[DirectionCurve]) -> Image.Image:
    series, bands = {}, {}
    for curve in curves:
        mean = curve.readings.nanmean(dim=1)
        spread = torch.stack([row[row.isfinite()].std(correction=0) for row in curve.changes])
        series[curve.reader] = (curve.amounts, mean.tolist())
        bands[curve.reader] = ((mean - spread).tolist(), (mean + spread).tolist())
    return line_plot(
        series, f"step along the direction of {name}, in spreads of codes", f"{name}, {unit_of(name)}", bands
    )
