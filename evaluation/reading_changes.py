"""How much two pictures differ by the judge's reading: the measure of an edit and of what it should have left alone."""

import math
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from models.observers.judge import Judge, JudgeReading
from renderers.rotation import rotation_distance


class ReadingChange(NamedTuple):
    """Differences of two batches of readings, (B,) each.

    Attributes:
        rotation_degrees: angle between the head rotations.
        expression, illumination: root mean square over coefficients, each in its spread over the training portraits.
        identity: likewise over shape and skin coefficients together.
    """

    rotation_degrees: Float[Tensor, " batch"]
    expression: Float[Tensor, " batch"]
    illumination: Float[Tensor, " batch"]
    identity: Float[Tensor, " batch"]


def reading_change(judge: Judge, before: JudgeReading, after: JudgeReading) -> ReadingChange:
    """What changed between two readings of `judge`, picture by picture."""

    def in_spreads(component: str) -> Tensor:
        return (getattr(after, component) - getattr(before, component)) / judge.component_spread(component)

    def root_mean_square(values: Tensor) -> Tensor:
        return values.square().mean(dim=-1).sqrt()

    return ReadingChange(
        rotation_degrees=rotation_distance(before.rotation, after.rotation) * (180 / math.pi),
        expression=root_mean_square(in_spreads("expression")),
        illumination=root_mean_square(in_spreads("illumination")),
        identity=root_mean_square(torch.cat([in_spreads("identity"), in_spreads("reflectance")], dim=-1)),
    )
