"""Does a generator vary as much as what it learnt from? Spread ratios of what the judge reads."""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from models.observers.judge import Judge, JudgeReading
from renderers.errors import InputError


def spread_ratio(
    samples: Float[Tensor, "samples values"],
    reference: Float[Tensor, "others other_values"],
    scale: Float[Tensor, " values"] | None = None,
) -> float:
    """Root of the ratio of total variances, samples over reference.

    Args:
        samples: (N, D); a single quantity is (N, 1).
        reference: (M, D).
        scale: (D,) unit of each column; ones if left out.
    Raises: `InputError` for fewer than two rows, other columns, or a reference in which nothing varies.
    """
    if min(samples.shape[0], reference.shape[0]) < 2 or samples.shape[1] != reference.shape[1]:
        raise InputError(
            f"expected two tables of at least 2 rows and the same columns, got {tuple(samples.shape)} and "
            f"{tuple(reference.shape)}; read both with the same judge"
        )
    unit = torch.ones_like(samples[0]) if scale is None else scale
    variance = (samples / unit).double().var(dim=0).sum()
    reference_variance = (reference / unit).double().var(dim=0).sum()
    if reference_variance == 0:
        raise InputError("expected a reference that varies, got the same row throughout; give more different pictures")
    return float((variance / reference_variance).sqrt())


@dataclass(frozen=True)
class SpreadRatios:
    """Spread of a generator's samples over that of portraits, both read by the judge; 1 is as varied.

    Attributes:
        yaw, pitch: of the head, standard deviations of angles.
        expression, illumination, identity, reflectance: over all coefficients, each in its true spread over portraits;
            a coefficient that the judge hardly sees varies little in its readings and so counts little.
    """

    yaw: float
    pitch: float
    expression: float
    illumination: float
    identity: float
    reflectance: float


def spread_ratios(judge: Judge, samples: JudgeReading, reference: JudgeReading) -> SpreadRatios:
    """Spread ratios of two sets of readings of `judge`; see `spread_ratio`."""

    def over_coefficients(component: str) -> float:
        return spread_ratio(
            getattr(samples, component), getattr(reference, component), judge.component_spread(component)
        )

    return SpreadRatios(
        yaw=spread_ratio(samples.rotation[:, 1:2], reference.rotation[:, 1:2]),
        pitch=spread_ratio(samples.rotation[:, 0:1], reference.rotation[:, 0:1]),
        expression=over_coefficients("expression"),
        illumination=over_coefficients("illumination"),
        identity=over_coefficients("identity"),
        reflectance=over_coefficients("reflectance"),
    )
