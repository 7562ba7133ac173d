"""What the judge reads of a perfect pose edit: portraits drawn again in the pose of others."""

import torch
from jaxtyping import Float
from torch import Tensor

from datamodules.portraits import LatentLayout, PortraitSampler
from evaluation.stylerig_edits import JudgeReader, TransferMeasurement, compare_readings
from models.observers import Judge, JudgeReading


def turned_latents(
    layout: LatentLayout, own: Float[Tensor, "batch latent"], source: Float[Tensor, "batch latent"]
) -> Float[Tensor, "batch latent"]:
    """Portrait latents with the rotation of others and everything else their own."""
    part = layout.slices["rotation"]
    latents = own.clone()
    latents[:, part] = source[:, part]
    return latents


@torch.no_grad()
def measure_true_turns(
    judge: Judge, sampler: PortraitSampler, pairs: int, image_size: int, seed: int, batch_size: int = 16
) -> TransferMeasurement:
    """Edits without any error: the least change of what should stay that the judge can report of a turned head.

    Args:
        judge: Reads the portraits.
        sampler: Draws them.
        pairs: Pairs of portraits; the pose of the second is given to the first.
        image_size: Pixels.
        seed: Of the portraits.
        batch_size: Portraits drawn at a time.
    """
    people = torch.arange(2 * pairs)
    own, source = sampler.latents(people, torch.zeros_like(people), seed).chunk(2)

    def read(latents: Tensor) -> JudgeReading:
        readings = [judge(sampler.render(part, image_size).image) for part in latents.split(batch_size)]
        return JudgeReading(*(torch.cat(values) for values in zip(*readings, strict=True)))

    turned = turned_latents(sampler.layout, own, source)
    return compare_readings(JudgeReader(judge), read(turned), read(own), read(source))
