"""How much two pictures differ by a reading of their faces: the measure of an edit and of what it should have left alone."""

import math
from typing import NamedTuple, Protocol, runtime_checkable

import torch
from jaxtyping import Float
from torch import Tensor

from models.observers.judge import JudgeReading
from renderers.rotation import rotation_distance


@runtime_checkable
class Spreads(Protocol):
    """What knows how far coefficients vary: the judge, or anything else that reads all that it reads."""

    def component_spread(self, component: str) -> Tensor:
        """Standard deviation of each coefficient of a component."""


class ReadingChange(NamedTuple):
    """Differences of two batches of readings, (B,) each.

    Attributes:
        rotation_degrees: angle between the head rotations.
        expression, illumination: root mean square over coefficients, each in its spread over the training portraits.
        identity: likewise over shape and skin coefficients together.
        geometry, reflectance: likewise over the shape coefficients and over the skin coefficients alone.
    """

    rotation_degrees: Float[Tensor, " batch"]
    expression: Float[Tensor, " batch"]
    illumination: Float[Tensor, " batch"]
    identity: Float[Tensor, " batch"]
    geometry: Float[Tensor, " batch"]
    reflectance: Float[Tensor, " batch"]


def median_of(values: Float[Tensor, " batch"]) -> float:
    """The median: of an even number of values the mean of both middle ones, where PyTorch's takes the lower."""
    return float(values.quantile(0.5))


def reading_change(spreads: Spreads, before: JudgeReading, after: JudgeReading) -> ReadingChange:
    """What changed between two readings, picture by picture.

    Args:
        spreads: Whose readings they are, and so whose spreads are the units.
        before, after: Readings of as many pictures.
    """

    def in_spreads(component: str) -> Tensor:
        return (getattr(after, component) - getattr(before, component)) / spreads.component_spread(component)

    def root_mean_square(values: Tensor) -> Tensor:
        return values.square().mean(dim=-1).sqrt()

    geometry, reflectance = in_spreads("identity"), in_spreads("reflectance")
    return ReadingChange(
        rotation_degrees=rotation_distance(before.rotation, after.rotation) * (180 / math.pi),
        expression=root_mean_square(in_spreads("expression")),
        illumination=root_mean_square(in_spreads("illumination")),
        identity=root_mean_square(torch.cat([geometry, reflectance], dim=-1)),
        geometry=root_mean_square(geometry),
        reflectance=root_mean_square(reflectance),
    )
