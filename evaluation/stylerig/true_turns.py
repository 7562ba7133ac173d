"""What the judge reads of a perfect pose edit: portraits drawn again in other poses."""

from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from datamodules.portraits import LatentLayout, PortraitSampler
from evaluation.picture_readers import JudgeReader, PoseReading
from evaluation.reading_changes import median_of
from evaluation.stylerig.edits import TransferMeasurement, compare_readings
from models.observers import Judge, JudgeReading
from renderers.rotation import rotation_distance

# Turns are searched up to so many times the way to the other's pose, to within a thousandth of it.
_LONGEST, _HALVINGS = 4.0, 12


class TrueTurns(NamedTuple):
    """Edits without any error: the least change of what should stay that the judge can report of a turned head.

    Attributes:
        full: Portraits in the pose of others.
        as_asked: The same people turned on the same way, all by the share of it at which the median turn is the one asked for.
    """

    full: TransferMeasurement
    as_asked: TransferMeasurement


def turned_latents(
    layout: LatentLayout,
    own: Float[Tensor, "batch latent"],
    source: Float[Tensor, "batch latent"],
    share: float = 1.0,
) -> Float[Tensor, "batch latent"]:
    """Portrait latents whose rotation is on the way to that of others, at `share` of it, and everything else their own."""
    part = layout.slices["rotation"]
    latents = own.clone()
    latents[:, part] = own[:, part].lerp(source[:, part], share)
    return latents


def share_of_turn(
    sampler: PortraitSampler, own: Float[Tensor, "batch latent"], source: Float[Tensor, "batch latent"], turn_deg: float
) -> float:
    """The share of the way to the poses of others at which the median portrait is truly turned by `turn_deg` degrees, at most 4."""
    start = sampler.face_parameters(own).rotation
    low, high = 0.0, _LONGEST
    for _ in range(_HALVINGS):
        middle = (low + high) / 2
        turned = sampler.face_parameters(turned_latents(sampler.layout, own, source, middle)).rotation
        reached = median_of(rotation_distance(start, turned).rad2deg()) >= turn_deg
        low, high = (low, middle) if reached else (middle, high)
    return high


@torch.no_grad()
def measure_true_turns(
    judge: Judge,
    sampler: PortraitSampler,
    pairs: int,
    image_size: int,
    seed: int,
    turn_deg: float,
    batch_size: int = 16,
) -> TrueTurns:
    """Measure edits without any error.

    Args:
        judge: Reads the portraits.
        sampler: Draws them.
        pairs: Pairs of portraits; the pose of the second is given to the first.
        image_size: Pixels.
        seed: Of the portraits.
        turn_deg: The median turn of the second measurement, degrees: that of edits to be compared with it.
        batch_size: Portraits drawn at a time.
    """
    people = torch.arange(2 * pairs)
    own, source = sampler.latents(people, torch.zeros_like(people), seed).chunk(2)
    asked = turned_latents(sampler.layout, own, source, share_of_turn(sampler, own, source, turn_deg))
    reader = JudgeReader(judge)

    def read(latents: Tensor) -> JudgeReading:
        readings = [judge(sampler.render(part, image_size).image) for part in latents.split(batch_size)]
        return JudgeReading(*(torch.cat(values) for values in zip(*readings, strict=True)))

    own_reading = read(own)
    full = compare_readings(reader, read(turned_latents(sampler.layout, own, source)), own_reading, read(source))
    # Nobody else was drawn in these poses, so that the errors are those against the truth.
    truth = PoseReading(sampler.face_parameters(asked).rotation)
    return TrueTurns(full, compare_readings(reader, read(asked), own_reading, truth))
