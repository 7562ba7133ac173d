"""Which layers of a code carry the effect of an edit, as a reader of faces sees it: a long way in a code need not show in the picture."""

from collections.abc import Callable

import torch
from jaxtyping import Float
from torch import Tensor

from evaluation.picture_readers import JudgeReader
from evaluation.stylerig.rig_under_test import RigUnderTest
from evaluation.stylerig.unseen_codes import unseen_batches

# Numbers of a component, (batch, coefficients), in units in which they may be added up.
CodeReader = Callable[[Tensor], Tensor]


def by_face_reconstruction(rut: RigUnderTest, component: str) -> CodeReader:
    """F's reading, in standard deviations of the training set."""
    part = rut.network.sizes.slice(component)
    unit = rut.network.parameter_std[part]
    return lambda codes: rut.face_reconstruction(codes)[:, part] / unit


def by_judge(rut: RigUnderTest, component: str) -> CodeReader:
    """The judge's reading of the codes' pictures, in its spreads."""
    assert rut.judge is not None
    reader = JudgeReader(rut.judge)
    return lambda codes: reader.coefficients(component, reader.read(rut.pictures(codes), codes))


@torch.no_grad()
def layer_effects(
    rut: RigUnderTest, component: str, read: CodeReader, mixings: int, batch_size: int = 50
) -> Float[Tensor, " layers"]:
    """Share of each layer in what mixing moves a component by.

    Each layer's change is made alone, and what the component then moves by is projected onto what the whole edit moves it by; both
    are summed over the mixings. Shares add up to 1 where layers act independently; one that works against the edit is negative.

    Args:
        rut: What is looked at.
        component: One that its network controls.
        read: Reads the component.
        mixings: Pairs of the test split.
        batch_size: Pairs at a time.

    Returns:
        NaN throughout where the component never moves.
    """
    layers = rut.generator.num_layers
    along, whole = torch.zeros(layers, dtype=torch.float64), 0.0
    for pairs in unseen_batches(rut, mixings, batch_size):
        edited = rut.transfer(pairs.w, pairs.v, component)
        own = read(pairs.w)
        moved = read(edited) - own
        whole += float(moved.square().sum())
        for layer in range(layers):
            alone = pairs.w.clone()
            alone[:, layer] = edited[:, layer]
            along[layer] += float(((read(alone) - own) * moved).sum())
    return (along / whole if whole > 0 else torch.full_like(along, torch.nan)).float()
