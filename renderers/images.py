"""The border between the renderers' [0, 1] colours and the [-1, 1] images used everywhere else."""

from jaxtyping import Float
from torch import Tensor


def to_signed(image: Float[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
    """Colours in [0, 1], as renderers make them, to the [-1, 1] range of the networks' images."""
    return image * 2 - 1


def to_unit(image: Float[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
    """Images in [-1, 1] to the [0, 1] range that renderers and image files use; values outside are kept as they are."""
    return (image + 1) / 2
