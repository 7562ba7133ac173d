"""Images: the border between the renderers' [0, 1] colours and the [-1, 1] used everywhere else, and sizes in pixels."""

from collections.abc import Sequence

from jaxtyping import Float
from torch import Tensor

from renderers.errors import InputError


def to_signed(image: Float[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
    """Colours in [0, 1], as renderers make them, to the [-1, 1] range of the networks' images."""
    return image * 2 - 1


def to_unit(image: Float[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
    """Images in [-1, 1] to the [0, 1] range that renderers and image files use; values outside are kept as they are."""
    return (image + 1) / 2


def check_image_size(image_size: object) -> None:
    """Raise InputError unless this is a pair (height, width) of positive whole numbers of pixels."""
    sizes = list(image_size) if isinstance(image_size, Sequence) else []
    if len(sizes) != 2 or not all(isinstance(size, int) and size >= 1 for size in sizes):
        raise InputError(f"expected an image size of whole pixels, at least (1, 1), got {image_size}: give (height, width)")
