"""Who reads face parameters of latent codes: F of StyleRig from the code itself, or MoFA from the code's picture (PIE section 3.1)."""

from typing import TypeAlias

from jaxtyping import Float
from torch import Tensor

from models.stylerig.face_encoder import PictureReconstruction
from models.stylerig.face_reconstruction import FaceReconstruction

ParameterReader: TypeAlias = FaceReconstruction | PictureReconstruction


def read_pictured(
    reader: ParameterReader, codes: Float[Tensor, "batch layers width"], images: Float[Tensor, "batch 3 size size"]
) -> Float[Tensor, "batch total"]:
    """As `reader(codes)`, of codes whose pictures are at hand: a reader of pictures has not to make them again.

    Args:
        reader: Of the generator of these codes.
        codes: W+ codes.
        images: Their pictures, with the generator's stored noise, clamped to [-1, 1].
    """
    return reader.encoder(images) if isinstance(reader, PictureReconstruction) else reader(codes)
