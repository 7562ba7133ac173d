"""Codes that no network was trained on, a few at a time: thousands of W+ codes of a large generator together take gigabytes."""

from collections.abc import Iterator

import torch
from jaxtyping import Float
from torch import Tensor

from datamodules.latent_pairs import LatentPairs
from evaluation.stylerig.rig_under_test import RigUnderTest
from renderers.errors import InputError


def unseen_batches(rut: RigUnderTest, pairs: int, batch_size: int = 250) -> Iterator[LatentPairs]:
    """The first `pairs` pairs of the test split, without pictures, in batches of `batch_size` at most.

    Raises:
        InputError: for fewer than 2 pairs, of which nothing varies.
    """
    if pairs < 2:
        raise InputError(f"expected at least 2 pairs of codes to measure, got {pairs}; ask for more")
    for start in range(0, pairs, batch_size):
        yield rut.unseen_pairs(min(batch_size, pairs - start), start)


@torch.no_grad()
def unseen_parameters(rut: RigUnderTest, codes: int) -> Float[Tensor, "codes total"]:
    """Packed parameters that F reads of codes of the test split: of both codes of each pair.

    Raises:
        InputError: for fewer than 4 codes.
    """
    batches = unseen_batches(rut, codes // 2)
    return torch.cat([rut.face_reconstruction(torch.cat([batch.w, batch.v])) for batch in batches])
