"""Conditional generation (StyleRig Fig. 7): random people who all have one pose, expression, illumination or head shape."""

import torch
from jaxtyping import Float
from PIL import Image
from torch import Tensor

from evaluation.figures import Cell, Figure
from evaluation.picture_readers import CoefficientReader, Reading
from evaluation.report import picture_grid, to_picture
from evaluation.stylerig.edits import read_codes
from evaluation.stylerig.figure_parts import NAMES, distance_name, explain_units, reader_of, shown_codes, source_codes
from evaluation.stylerig.pictures import SIZE
from evaluation.stylerig.rig_under_test import RigUnderTest


@torch.no_grad()
def conditional_generation(rut: RigUnderTest, people: int = 100, conditions: int = 3, shown: int = 8) -> list[Figure]:
    """A grid ``conditional_<component>`` for each component of the network, with a row of numbers per condition.

    Args:
        rut: What is tested.
        people: Codes that the numbers are over.
        conditions: Fixed values of the component, F's readings of as many sources.
        shown: Codes in the picture, at most `people`.
    """
    return [_conditional_figure(rut, component, people, conditions, shown) for component in rut.components]


def spread_of(reader: CoefficientReader, component: str, reading: Reading) -> float:
    """How much a component varies in a batch: standard deviation in degrees over the three angles together, or the root mean square
    over coefficients of their standard deviations in spreads."""
    if component == "rotation":
        return float(reading.rotation.rad2deg().var(dim=0).sum().sqrt())
    return float(reader.coefficients(component, reading).var(dim=0).mean().sqrt())


def bias_of(reader: CoefficientReader, component: str, reading: Reading, wanted: Reading) -> float:
    """Distance between the mean of a batch of readings and a single one."""
    mean = type(reading)(*(values.mean(dim=0, keepdim=True) for values in reading))
    return float(reader.distance(component, mean, wanted))


def _conditional_figure(rut: RigUnderTest, component: str, people: int, conditions: int, shown: int) -> Figure:
    reader = reader_of(rut)
    codes, sources = shown_codes(rut, people), source_codes(rut, component, conditions)
    own, asked = read_codes(rut.generator, reader, codes), read_codes(rut.generator, reader, sources)
    spread_before = spread_of(reader, component, own)
    rows: list[tuple[Cell, ...]] = []
    grid: list[list[Image.Image | None]] = [[None, *_pictures(rut, codes[:shown])]]
    for index, source in enumerate(sources.split(1)):
        edited = rut.transfer(codes, source.expand_as(codes), component)
        result = read_codes(rut.generator, reader, edited)
        wanted = type(asked)(*(values[index : index + 1] for values in asked))
        biases = (bias_of(reader, component, each, wanted) for each in (own, result))
        rows.append((index + 1, spread_before, spread_of(reader, component, result), *biases))
        grid.append([*_pictures(rut, source), *_pictures(rut, edited[:shown])])
    after = sum(float(row[2]) for row in rows) / conditions
    unit = "degrees" if component == "rotation" else "spreads"
    return Figure(
        name=f"conditional_{component}",
        title=f"Random people with one {NAMES[component]} (Fig. 7)",
        caption=(
            f"Top: {min(shown, people)} of {people} random people; below, all are given the {NAMES[component]} of the source at the left. "
            f"Standard deviation of the {NAMES[component]} over the {people}: {spread_before:.2f} {unit} before, {after:.2f} after, mean "
            f"over {conditions} sources; bias is the distance of its mean from the source's. Read by {reader.name}; "
            f"{explain_units(component)}."
        ),
        columns=(
            "source",
            *(distance_name(name, component) for name in ("std_before", "std_after", "bias_before", "bias_after")),
        ),
        rows=tuple(rows),
        picture=picture_grid(grid, ["unedited", *(f"source {index + 1}" for index in range(conditions))]),
    )


def _pictures(rut: RigUnderTest, codes: Float[Tensor, "codes layers width"]) -> list[Image.Image]:
    return [to_picture(image, SIZE) for image in rut.pictures(codes)]
