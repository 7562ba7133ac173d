"""What the figures of pictures have in common: who reads, which codes are shown, and how their numbers are called."""

import torch
from jaxtyping import Float
from torch import Tensor

from evaluation.picture_readers import CoefficientReader, JudgeReader, ReconstructionReader, unit_of
from evaluation.stylerig.rig_under_test import RigUnderTest
from models.stylegan2.sampling import codes_of_seeds

# Names of the components in titles.
NAMES = {
    "rotation": "pose",
    "expression": "expression",
    "illumination": "illumination",
    "identity": "identity geometry",
}
# Generator seeds whose codes serve as sources, and the first of those that are edited: no code is both.
_SOURCE_SEEDS = range(64)
_TARGET_SEED = 1000


def reader_of(rut: RigUnderTest) -> CoefficientReader:
    """The judge, or F where no judge knows pictures like these."""
    if rut.judge is not None:
        return JudgeReader(rut.judge)
    return ReconstructionReader(rut.face_reconstruction, rut.network.parameter_std)


def distance_name(what: str, component: str) -> str:
    """Name of a column that holds a distance in a component."""
    return f"{what}_{unit_of(component)}"


def explain_units(component: str) -> str:
    """The units of distances, for captions."""
    if component == "rotation":
        return "rotations are angles in degrees"
    return "distances are root mean squares over coefficients in units of each one's spread, those of the rotation in degrees"


@torch.no_grad()
def shown_codes(rut: RigUnderTest, count: int) -> Float[Tensor, "codes layers width"]:
    """Codes to edit: of single latents by fixed seeds, unmixed and untruncated, as the generator was trained."""
    return _of_seeds(rut, range(_TARGET_SEED, _TARGET_SEED + count))


@torch.no_grad()
def source_codes(rut: RigUnderTest, component: str, count: int) -> Float[Tensor, "codes layers width"]:
    """Codes whose component differs: spread along the first principal direction of what F reads, from one end to the other.

    Args:
        rut: What is tested.
        component: Which component.
        count: From 1 to 62.
    """
    codes = _of_seeds(rut, _SOURCE_SEEDS)
    spread = rut.network.parameter_std[rut.network.sizes.slice(component)]
    values = getattr(rut.face_reconstruction.parameters_of(codes), component) / spread
    values = values - values.mean(dim=0)
    direction = torch.linalg.svd(values, full_matrices=False).Vh[0]
    order = (values @ direction).argsort()
    # Not the very ends, which may be outliers.
    return codes[order[torch.linspace(1, len(order) - 2, count, device=order.device).round().long()]]


def _of_seeds(rut: RigUnderTest, seeds: range) -> Float[Tensor, "codes layers width"]:
    # Codes by seed come on the CPU.
    return rut.generator.broadcast(codes_of_seeds(rut.generator, seeds).to(rut.device))
