"""Networks of StyleFaceUV that read codes, from files whose kind is not known beforehand."""

import filecmp
from pathlib import Path
from typing import TypeAlias

from jaxtyping import Float
from torch import Tensor

from models.stylefaceuv.coefficients import KIND as CODE_COEFFICIENTS
from models.stylefaceuv.coefficients import CodeCoefficients
from models.stylefaceuv.step_size import MirrorStep, StepSize, YawStep
from models.stylegan2 import Generator
from models.stylerig import ParameterReader, Provenance, load_face_reconstruction, read_pictured
from models.stylerig.face_encoder import KIND as FACE_ENCODER
from models.stylerig.face_reconstruction import KIND as FACE_RECONSTRUCTION
from models.weights import describe_weights, locate
from renderers.errors import InputError

# F3D, or in its place F of StyleRig or MoFA's encoder.
CodeReader: TypeAlias = CodeCoefficients | ParameterReader

_STEPS: tuple[type[YawStep], ...] = (StepSize, MirrorStep)


def load_code_reader(path: str | Path, present: Provenance, generator: Generator) -> CodeReader:
    """What gives packed face parameters (batch, total) of W+ codes when called with them; frozen.

    Args:
        path: Weights of F3D (`CodeCoefficients`), of F, or of a face encoder, which reads the codes' pictures.
        present: What the codes and their parameters belong to.
        generator: Makes the pictures that a face encoder looks at; shared, not copied.

    Raises:
        InputError: for a file that is missing, broken, of another kind, or trained for something else.
    """
    kind = describe_weights(path).kind
    if kind == CODE_COEFFICIENTS:
        return CodeCoefficients.load(path, present)
    if kind not in (FACE_RECONSTRUCTION, FACE_ENCODER):
        raise InputError(
            f"expected a {CODE_COEFFICIENTS}, {FACE_RECONSTRUCTION} or {FACE_ENCODER} file, {path} is of kind '{kind}'; "
            "name weights that read face parameters of codes"
        )
    return load_face_reconstruction(path, present, generator)


def require_other_reader(reader: str | Path, second: str | Path) -> None:
    """Refuse a second reader that is the first, under whatever name.

    Raises:
        InputError: for files that are missing or of equal contents.
    """
    if filecmp.cmp(locate(reader), locate(second), shallow=False):
        raise InputError(
            f"expected a second reader that the first is compared with, {second} has the weights of {reader}; name another, or none"
        )


def load_yaw_step(path: str | Path, present: Provenance) -> YawStep:
    """Fyaw from a file of either form: for any angle, or for the mirrored yaw alone.

    Raises:
        InputError: for a file that is missing, broken, of another kind, or trained for something else.
    """
    kind = describe_weights(path).kind
    for network in _STEPS:
        if kind == network.kind:
            return network.load(path, present)
    raise InputError(
        f"expected a {' or '.join(network.kind for network in _STEPS)} file, {path} is of kind '{kind}'; name the weights of Fyaw"
    )


def read_codes(
    reader: CodeReader, codes: Float[Tensor, "batch layers width"], images: Float[Tensor, "batch 3 size size"]
) -> Float[Tensor, "batch total"]:
    """Packed face parameters of codes whose pictures are at hand: see `models.stylerig.read_pictured`."""
    return reader(codes) if isinstance(reader, CodeCoefficients) else read_pictured(reader, codes, images)
