"""Latent pairs as one batch of codes with their pictures."""

import torch
from jaxtyping import Float
from torch import Tensor

from datamodules.latent_pairs import LatentPairs
from renderers.errors import InputError


def codes_and_images(
    pairs: LatentPairs,
) -> tuple[Float[Tensor, "codes layers width"], Float[Tensor, "codes 3 size size"]]:
    """All codes of the pairs, those of w first, and their images.

    Raises:
        InputError: for pairs without images.
    """
    if pairs.image_w is None or pairs.image_v is None:
        raise InputError("expected latent pairs with images, got codes alone; set the data module's images to true")
    return torch.cat([pairs.w, pairs.v]), torch.cat([pairs.image_w, pairs.image_v])
