"""What every landmark detector and every face embedder is to those who use it, and what saved networks have in common."""

import inspect
from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any, ClassVar

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional

from models.observers.cropping import central_boxes, checked_crop, crop_and_resize
from renderers.errors import InputError


class SavedNetwork(nn.Module):
    """A network of this project that a weights file holds: it is built again from `kind` and `config`.

    Every argument of the constructor is kept as an attribute of the same name.

    Attributes:
        kind: what its weights file is called inside.
    """

    kind: ClassVar[str]

    @property
    def config(self) -> dict[str, Any]:
        """Constructor arguments, as plain values."""
        values = {name: getattr(self, name) for name in inspect.signature(type(self)).parameters}
        return {name: list(value) if isinstance(value, tuple) else value for name, value in values.items()}


class LandmarkDetector(nn.Module, ABC):
    """Images of one face each to its 68 landmarks, in the usual order.

    Attributes:
        differentiable: whether gradients reach the images, so that a loss can be put on the landmarks.
    """

    differentiable: ClassVar[bool]

    @abstractmethod
    def forward(self, images: Float[Tensor, "batch 3 size size"]) -> Float[Tensor, "batch landmarks 2"]:
        """Landmarks (x right, y down) in pixels of `images`; the top left corner of the picture is (0, 0).

        Args:
            images: (B, 3, S, S) in [-1, 1]: aligned portraits, as FFHQ's, any S.
        """


class CropLandmarkDetector(LandmarkDetector):
    """A detector whose network reads a square around the face: it looks, then looks again around what it found.

    The first look is at a fixed part of an aligned portrait, or at the face boxes given; `refinements` further ones at
    the extent of the landmarks found before. Gradients flow through the pixels of the last look; its place counts as
    given.

    Args:
        crop: first look at an aligned portrait, as fractions (left, top, right, bottom) of it.
        refinements: further looks.

    Attributes:
        input_size: side in pixels of what the network reads.
    """

    input_size: ClassVar[int]

    def __init__(self, crop: Sequence[float], refinements: int) -> None:
        super().__init__()
        if refinements < 0:
            raise InputError(f"expected a number of refinements, got {refinements}; give 0 or more")
        self.crop = checked_crop(crop)
        self.refinements = refinements

    @abstractmethod
    def frame(self, boxes: Float[Tensor, "batch 4"]) -> Float[Tensor, "batch 4"]:
        """Squares for the network to look at, of face boxes; both (left, top, right, bottom) in pixels."""

    @abstractmethod
    def read(self, crops: Float[Tensor, "batch 3 height width"]) -> Float[Tensor, "batch 68 2"]:
        """Landmarks as fractions (x right, y down) of crops (B, 3, input_size, input_size) in [-1, 1]."""

    def forward(
        self, images: Float[Tensor, "batch 3 height width"], boxes: Float[Tensor, "batch 4"] | None = None
    ) -> Float[Tensor, "batch 68 2"]:
        """Landmarks (x right, y down) in pixels of `images`.

        Args:
            images: (B, 3, H, W) in [-1, 1].
            boxes: one face box (left, top, right, bottom; pixels) per image, of a face detector, where the images are
                photos rather than aligned portraits.
        """
        squares = central_boxes(images, self.crop) if boxes is None else self.frame(boxes)
        for _ in range(self.refinements):
            with torch.no_grad():
                points = self._look(images, squares)
                squares = self.frame(torch.cat([points.amin(dim=1), points.amax(dim=1)], dim=-1))
        return self._look(images, squares)

    def _look(self, images: Tensor, squares: Tensor) -> Tensor:
        # Places in half precision are whole pixels off.
        squares = squares.to(torch.promote_types(squares.dtype, torch.float32))
        fractions = self.read(crop_and_resize(images, squares, self.input_size)).to(squares.dtype)
        corner, far_corner = squares[:, None, :2], squares[:, None, 2:]
        return corner + fractions * (far_corner - corner)


class FaceEmbedder(nn.Module, ABC):
    """Images of one face each to unit vectors; people are compared by the cosine.

    Attributes:
        embedding_dim: length of the vector.
        working_size: side in pixels that the face is resized to.
        crop: the part of an aligned portrait to look at, as fractions (left, top, right, bottom).
        margin: what face boxes are enlarged by, as fractions (of their width, of their height).
    """

    embedding_dim: int
    margin: ClassVar[tuple[float, float]]

    def __init__(self, crop: Sequence[float], working_size: int) -> None:
        super().__init__()
        self.crop = checked_crop(crop)
        self.working_size = working_size

    @abstractmethod
    def embed_crops(self, crops: Float[Tensor, "batch 3 size size"]) -> Float[Tensor, "batch embedding"]:
        """Embeddings, of any length, of crops (B, 3, working_size, working_size) in [-1, 1]."""

    def face_crops(
        self, images: Float[Tensor, "batch 3 height width"], boxes: Float[Tensor, "batch 4"] | None = None
    ) -> Float[Tensor, "batch 3 size size"]:
        """What the network sees of images (B, 3, H, W) in [-1, 1]; `boxes` as in `forward`."""
        if boxes is None:
            boxes = central_boxes(images, self.crop)
        else:
            half = (boxes[:, 2:] - boxes[:, :2]) * boxes.new_tensor(self.margin) / 2
            boxes = boxes + torch.cat([-half, half], dim=-1)
        return crop_and_resize(images, boxes, self.working_size)

    def forward(
        self, images: Float[Tensor, "batch 3 height width"], boxes: Float[Tensor, "batch 4"] | None = None
    ) -> Float[Tensor, "batch embedding"]:
        """Unit-norm embeddings, at least float32, of images (B, 3, H, W) in [-1, 1] of any size.

        Args:
            images: aligned portraits, as FFHQ's; or photos, with boxes.
            boxes: one face box (left, top, right, bottom; pixels) per image, of a face detector.
        """
        embeddings = self.embed_crops(self.face_crops(images, boxes))
        return functional.normalize(embeddings.to(torch.promote_types(embeddings.dtype, torch.float32)), dim=-1)
