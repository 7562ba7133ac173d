"""Mixing (StyleRig Fig. 5 and 9, supplement Fig. 3): a component of sources on targets, as pictures and as readings of every cell."""

import torch

from evaluation.figures import Cell, Figure
from evaluation.reading_changes import median_of
from evaluation.stylerig.edits import read_codes
from evaluation.stylerig.figure_parts import NAMES, distance_name, explain_units, reader_of, shown_codes, source_codes
from evaluation.stylerig.pictures import mixing_grid
from evaluation.stylerig.rig_under_test import RigUnderTest


@torch.no_grad()
def mixing_figures(rut: RigUnderTest, sources: int = 5, targets: int = 6) -> list[Figure]:
    """A grid ``mixing_<component>`` for each component of the network, with a row of numbers per cell.

    Args:
        rut: What is tested.
        sources: Rows.
        targets: Columns.
    """
    return [_mixing_figure(rut, component, sources, targets) for component in rut.components]


def _mixing_figure(rut: RigUnderTest, component: str, sources: int, targets: int) -> Figure:
    reader = reader_of(rut)
    source, target = source_codes(rut, component, sources), shown_codes(rut, targets)
    own, asked = read_codes(rut.generator, reader, target), read_codes(rut.generator, reader, source)
    rows: list[tuple[Cell, ...]] = []
    kept: list[str] = []
    for index in range(sources):
        wanted = type(asked)(*(values[index : index + 1].expand(targets, -1) for values in asked))
        edited = rut.transfer(target, source[index : index + 1].expand_as(target), component)
        result = read_codes(rut.generator, reader, edited)
        before, after = (reader.distance(component, each, wanted) for each in (own, result))
        changes = reader.changes(own, result, component)
        kept = list(changes)
        columns = zip(before.tolist(), after.tolist(), *(change.tolist() for change in changes.values()), strict=True)
        rows += [(index + 1, number + 1, *values) for number, values in enumerate(columns)]
    numbers = torch.tensor([row[2:4] for row in rows])
    before_median, after_median = (median_of(column) for column in numbers.unbind(dim=1))
    unit = "degrees" if component == "rotation" else "spreads"
    return Figure(
        name=f"mixing_{component}",
        title=f"Mixing of {NAMES[component]} ({_paper_figure(rut, component)})",
        caption=(
            f"Each cell is the target above it with the {NAMES[component]} of the source left of it: {sources} sources, {targets} targets. "
            f"Median distance from the source's {NAMES[component]} over the cells: {before_median:.2f} {unit} unedited, "
            f"{after_median:.2f} edited. Read by {reader.name}; {explain_units(component)}."
        ),
        columns=(
            "source",
            "target",
            distance_name("distance_before", component),
            distance_name("distance_after", component),
            *(f"change_of_{name}" for name in kept),
        ),
        rows=tuple(rows),
        picture=mixing_grid(
            rut.generator, lambda codes, others: rut.transfer(codes, others, component), target, source
        ),
    )


def _paper_figure(rut: RigUnderTest, component: str) -> str:
    if component == "identity":
        return "supplement Fig. 3"
    return "Fig. 5" if len(rut.components) == 1 else "Fig. 9, all-in-one network"
