"""Views and lights that LiftedGAN's faces are turned to in training (section 3.2.2 and appendix B)."""

import math
from typing import NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor

from datamodules.counter_random import sample_keys, subkeys, uniform
from lightning_modules.lifted_gan_settings import LiftedTraining
from models.lifted_gan.networks import VIEW_SIZE
from models.lifted_gan.settings import LiftedSettings

# Apart from those of the data modules: perturbations under the seed of the pairs would otherwise follow from their latents.
_STREAM = 8


class Perturbation(NamedTuple):
    """What a batch of faces is turned to, without gradients.

    Attributes:
        view: (B, 6) V', in the networks' normalised units.
        light: (B, 4) L', likewise.
        yaw: (B,) of the view, radians, positive to the image's left as the authors have it.
    """

    view: Float[Tensor, "batch 6"]
    light: Float[Tensor, "batch 4"]
    yaw: Float[Tensor, " batch"]


def draw_perturbation(
    pairs: Int[Tensor, " pairs"],
    step: int,
    light: Float[Tensor, "codes 4"],
    settings: LiftedTraining,
    sizes: LiftedSettings,
) -> Perturbation:
    """Views that are drawn anew and lights that change places, for both codes of each pair.

    Yaw and pitch are uniform, roll is 0. Views follow from the seed, the pair and the step alone: a resumed run draws what the whole run
    would have, and ranks, whose pairs differ, draw other ones.

    Args:
        pairs: Indices of the pairs; their first codes come first in the batch.
        step: Steps before this one.
        light: What is read of the codes; no gradient passes.
        settings: Of the training.
        sizes: Of the networks, whose units views are in.
    """
    keys = sample_keys(settings.seed, _STREAM, pairs)
    keys = subkeys(torch.cat([subkeys(keys, 1), subkeys(keys, 2)]), step + 1)
    limits = torch.tensor([settings.largest_pitch_deg, settings.largest_yaw_deg], device=pairs.device) * math.pi / 180
    angles = (2 * uniform(subkeys(keys, 1), 2) - 1).to(light.dtype) * limits.to(light.dtype)
    yaw = angles[:, 1]
    view = light.new_zeros(len(keys), VIEW_SIZE)
    view[:, :2] = angles / sizes.rotation_range
    # In the release: a head is moved against its turn, a nose that turns to the image's left by a shift to the right.
    view[:, 3] = settings.turn_shift * yaw.sin()
    order = uniform(subkeys(keys, 2), 1)[:, 0].argsort()
    return Perturbation(view, light.detach()[order], yaw)
