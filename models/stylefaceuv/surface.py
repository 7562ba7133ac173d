"""The surface that a UV generator's maps colour and displace: a region of a face model, closed, in the frame of the maps."""

from collections.abc import Mapping
from dataclasses import astuple, dataclass
from typing import Any

from models.morphable import MorphableModel
from models.morphable.closing import close_holes
from models.stylefaceuv.texture_frame import TextureFrame


@dataclass(frozen=True)
class UVSurface:
    """Which part of a face model UV maps are for.

    Attributes:
        region: Name of the region.
        closed: Whether eyes and mouth are closed by patches (`close_holes`), which the maps paint. The papers' face model, made of
            scans, has them as part of its skin.
        frame: The part of the face model's texture that the maps span.
    """

    region: str = "face"
    closed: bool = True
    frame: TextureFrame = TextureFrame()

    @classmethod
    def of(cls, face_model: MorphableModel, region: str = "face", closed: bool = True) -> "UVSurface":
        """The surface of a region, with the least frame around it."""
        return cls(region, closed, TextureFrame.around(face_model.region(region)))

    def apply(self, face_model: MorphableModel) -> MorphableModel:
        """The mesh to draw, with texture coordinates in the frame of the maps.

        Args:
            face_model: The whole face model, in any density.

        Raises:
            InputError: for a model without the region.
        """
        region = face_model.region(self.region)
        return self.frame.apply(close_holes(region) if self.closed else region)

    def to_config(self) -> dict[str, Any]:
        """Plain JSON values."""
        return {"region": self.region, "closed": self.closed, "frame": list(astuple(self.frame))}

    @classmethod
    def from_config(cls, config: Mapping[str, Any]) -> "UVSurface":
        """Inverse of `to_config`; raises KeyError, TypeError or InputError for anything else."""
        return cls(config["region"], config["closed"], TextureFrame(*config["frame"]))
