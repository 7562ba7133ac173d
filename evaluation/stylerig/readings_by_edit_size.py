"""What the judge reads of edits against their size: is the component as asked, and what else changes."""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from evaluation.figures import Cell, Figure
from evaluation.picture_readers import JudgeReader, unit_of
from evaluation.plots import line_plot
from evaluation.stylerig.edit_sizes import EDIT_SIZE_UNITS, Bins, edit_size
from evaluation.stylerig.rig_under_test import RigUnderTest
from evaluation.stylerig.unseen_codes import unseen_batches
from renderers.errors import InputError

SUMMARY = "readings_by_edit_size"


@dataclass(frozen=True)
class EditReadings:
    """The judge's readings of single edits, (edits,) each; units as of `evaluation.picture_readers`.

    Attributes:
        component: What was taken from other codes.
        size: How much was asked, by F's reading of both codes: see `evaluation.stylerig.edit_sizes.edit_size`.
        error: Distance in the component between the edited picture and the one that it was taken from.
        error_unedited: The same had nothing been done.
        changes: Distance between the edited picture and the one before the edit, of each property that should stay.
        between_people: The same properties' distance between both pictures of a pair: how far a property moves at most.
    """

    component: str
    size: Float[Tensor, " edits"]
    error: Float[Tensor, " edits"]
    error_unedited: Float[Tensor, " edits"]
    changes: dict[str, Float[Tensor, " edits"]]
    between_people: dict[str, Float[Tensor, " edits"]]


@torch.no_grad()
def measure_edit_readings(rut: RigUnderTest, component: str, edits: int = 2500, batch_size: int = 50) -> EditReadings:
    """Take a component of v onto w, over pairs of the test split, and let the judge read what came.

    Args:
        rut: What is looked at, with a judge.
        component: One that its network controls.
        edits: Number of pairs.
        batch_size: Pairs at a time, whose pictures are made together.

    Raises:
        InputError: without a judge.
    """
    if rut.judge is None:
        raise InputError("expected a judge to read edited pictures, got none; name one, or leave these readings out")
    reader = JudgeReader(rut.judge)
    parts = []
    for pairs in unseen_batches(rut, edits, batch_size):
        own, requested = (rut.face_reconstruction.parameters_of(codes) for codes in (pairs.w, pairs.v))
        edited = rut.transfer(pairs.w, pairs.v, component)
        before, source, after = (reader.read(rut.pictures(codes), codes) for codes in (pairs.w, pairs.v, edited))
        numbers = {
            "size": edit_size(component, own, requested, rut.renderer.face_model),
            "error": reader.distance(component, after, source),
            "error_unedited": reader.distance(component, before, source),
        }
        parts.append((numbers, reader.changes(before, after, component), reader.changes(before, source, component)))
    numbers, changes, between = (
        {name: torch.cat([each[name] for each in group]).cpu() for name in group[0]}
        for group in zip(*parts, strict=True)
    )
    return EditReadings(component, **numbers, changes=changes, between_people=between)


def readings_by_edit_size(rut: RigUnderTest, edits: int = 2500, bins: int = 10) -> list[Figure]:
    """Error and side effects by the judge against the size of the edit, per component that the network controls, and a summary.

    Args:
        rut: What is looked at, with a judge.
        edits: Pairs.
        bins: Bins of equally many edits, from the smallest to the largest.

    Raises:
        InputError: without a judge, or for fewer than 2 edits per bin.
    """
    measured = [measure_edit_readings(rut, component, edits) for component in rut.components]
    figures = [figure(readings, bins) for readings in measured for figure in (_error_figure, _change_figure)]
    return [*figures, _summary(measured)]


def _error_figure(readings: EditReadings, count: int) -> Figure:
    component, unit = readings.component, unit_of(readings.component)
    bins = Bins(readings.size, count)
    columns = {
        f"error_{unit}": bins.mean(readings.error),
        f"error_unedited_{unit}": bins.mean(readings.error_unedited),
        f"error_standard_error_{unit}": bins.standard_error(readings.error),
    }
    centres = bins.mean(readings.size)
    return Figure(
        name=f"read_error_by_edit_size_{component}",
        title=f"Error of edits of the {component} against their size, by the judge",
        caption=(
            f"Distance in {unit} between the {component} of the edited picture and that of the picture it was taken from, beside that of "
            f"the unedited picture; means over bins of equally many of {len(readings.size)} mixings of unseen pairs, the band is one "
            f"standard error. The judge took no part in the training; sizes are by F's reading: {EDIT_SIZE_UNITS[component]}."
        ),
        columns=(*Bins.COLUMNS, *columns),
        rows=bins.rows(columns),
        picture=line_plot(
            {"edited": (centres, bins.mean(readings.error)), "unedited": (centres, bins.mean(readings.error_unedited))},
            f"size of the edit: {EDIT_SIZE_UNITS[component]}",
            f"error of the {component}, {unit}",
            {"edited": bins.band(readings.error)},
        ),
    )


def _change_figure(readings: EditReadings, count: int) -> Figure:
    component = readings.component
    bins = Bins(readings.size, count)
    shares = {
        name: [value / float(readings.between_people[name].mean()) for value in bins.mean(change)]
        for name, change in readings.changes.items()
    }
    columns = {f"{name}_change": bins.mean(change) for name, change in readings.changes.items()}
    columns |= {f"{name}_share": values for name, values in shares.items()}
    centres = bins.mean(readings.size)
    return Figure(
        name=f"read_changes_by_edit_size_{component}",
        title=f"What else edits of the {component} change against their size, by the judge",
        caption=(
            "Distance between the pictures before and after the edit in what should stay, as a share of the mean distance between the two "
            f"pictures of a pair: 0 is unchanged, 1 is as different as another person's portrait. Means over bins of equally many of "
            f"{len(readings.size)} mixings of unseen pairs; changes in the table are in spreads, those named _deg in degrees."
        ),
        columns=(*Bins.COLUMNS, *columns),
        rows=bins.rows(columns),
        picture=line_plot(
            {name: (centres, values) for name, values in shares.items()},
            f"size of the edit: {EDIT_SIZE_UNITS[component]}",
            "change, as a share of that between people",
        ),
    )


def _summary(measured: list[EditReadings]) -> Figure:
    rows: list[tuple[Cell, ...]] = []
    for readings in measured:
        error, unedited = float(readings.error.mean()), float(readings.error_unedited.mean())
        shares = [
            float(change.mean() / readings.between_people[name].mean()) for name, change in readings.changes.items()
        ]
        rows.append((readings.component, error, unedited, error / unedited, sum(shares) / len(shares)))
    return Figure(
        name=SUMMARY,
        title="Error and side effects of edits, by the judge",
        caption=(
            f"Means over {len(measured[0].size)} mixings of unseen pairs: error in the component (rotation in degrees, else in spreads), "
            "that of the unedited picture, their ratio, and the change as a share of that between people, averaged over what should stay."
        ),
        columns=("component", "error", "error_unedited", "error_ratio", "kept_change_share"),
        rows=tuple(rows),
    )
