"""The part of a face model's texture that UV maps span, so that no texel of a generated map is spent on what is never drawn."""

from dataclasses import astuple, dataclass

import torch

from models.morphable import MorphableModel
from renderers.errors import InputError


@dataclass(frozen=True)
class TextureFrame:
    """A rectangle of a face model's texture coordinates, which a map fills.

    The region "face" of the shipped model takes up a seventh of its texture; framed, three quarters. A frame refers to the model's
    own coordinates: the same one serves every density and every region of the model. The papers' models are cut out already; that
    ours is framed is our choice.

    Attributes:
        left: u of the map's left edge.
        bottom: v of its bottom edge.
        right: u of its right edge.
        top: v of its top edge.
    """

    left: float = 0.0
    bottom: float = 0.0
    right: float = 1.0
    top: float = 1.0

    def __post_init__(self) -> None:
        if not (0 <= self.left < self.right <= 1 and 0 <= self.bottom < self.top <= 1):
            raise InputError(
                "expected a texture frame with 0 <= left < right <= 1 and 0 <= bottom < top <= 1, "
                f"got (left, bottom, right, top) = {astuple(self)}; correct it"
            )

    @classmethod
    def around(cls, face_model: MorphableModel) -> "TextureFrame":
        """The least frame that holds the texture coordinates of a mesh, usually of a region.

        Raises:
            InputError: for coordinates outside [0, 1], on one line, or of no vertex.
        """
        if face_model.vertex_count == 0:
            raise InputError("expected a mesh to frame, got one without vertices; name another region")
        (left, bottom), (right, top) = (edge.tolist() for edge in torch.aminmax(face_model.uv, dim=0))
        return cls(left, bottom, right, top)

    def apply(self, face_model: MorphableModel) -> MorphableModel:
        """The same face model with texture coordinates in this frame: 0 to 1 inside it, which maps outside continue by their edge."""
        start = face_model.uv.new_tensor([self.left, self.bottom])
        size = face_model.uv.new_tensor([self.right - self.left, self.top - self.bottom])
        tensors = {**face_model.tensors(), "uv": (face_model.uv - start) / size}
        return MorphableModel.from_tensors(tensors, face_model.expression_names)
