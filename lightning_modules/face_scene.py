"""The face model, camera and renderer with which a method looks at a generator's pictures."""

from dataclasses import dataclass
from typing import Literal

from models.morphable import MorphableModel
from models.morphable.loading import SHIPPED, load_face_model
from models.morphable.procedural import Density
from renderers.camera import PerspectiveCamera
from renderers.errors import InputError
from renderers.face_renderer import FaceRenderer


@dataclass(frozen=True)
class FaceScene:
    """Which face is rendered, how.

    Attributes:
        face_model: File or folder of a face model (`models.morphable.loading.load_face_model`); null for the shipped one.
        density: Density of the shipped face model's mesh, from about 3,000 (coarse) to 53,000 vertices (full; StyleRig's);
            null for coarse, and for another face model.
        region: Part of the mesh that is rendered and compared with the picture; "face" leaves out what hair, clothes and the
            mouth's inside cover.
        primitive: "triangles", or "points" for a splat per vertex as in StyleRig.
        focal_length: Of the camera, in image sizes: 4.0 for portraits framed like FFHQ's, more for tighter crops.
        distance: Of the camera from the face, decimetres.
        image_size: Pixels of the rendering; null for those of the generator. Pictures are reduced to it before they are compared.
    """

    face_model: str | None = None
    density: Density | None = None
    region: str = "face"
    primitive: Literal["triangles", "points"] = "triangles"
    focal_length: float = 4.0
    distance: float = 10.0
    image_size: int | None = None

    def __post_init__(self) -> None:
        if self.face_model is not None and self.density is not None:
            raise InputError(
                f"expected a density for the shipped face model alone, got {self.density} beside {self.face_model}; leave one out"
            )

    @property
    def camera(self) -> PerspectiveCamera:
        return PerspectiveCamera(self.focal_length, self.distance)

    @property
    def face_model_source(self) -> str:
        """The face model as `models.morphable.loading.load_face_model` takes it."""
        return self.face_model or f"{SHIPPED}:{self.density or 'coarse'}"

    def load_face_model(self) -> MorphableModel:
        """The whole face model."""
        return load_face_model(self.face_model_source)

    def renderer(self, face_model: MorphableModel, resolution: int) -> FaceRenderer:
        """The renderer of the region, for pictures of `resolution` pixels.

        Raises:
            InputError: for an image size above the pictures'.
        """
        size = self.image_size or resolution
        if not 1 <= size <= resolution:
            raise InputError(
                f"expected an image_size from 1 to the generator's {resolution}, got {size}; leave it out for all pixels"
            )
        region = face_model.region(self.region)
        return FaceRenderer(region, self.camera, size, self.primitive, landmark_model=face_model)
