"""With which face model, camera and size faces are fitted."""

from dataclasses import dataclass

from models.morphable import MorphableModel
from models.morphable.loading import SHIPPED, load_face_model
from renderers.camera import PerspectiveCamera
from renderers.errors import InputError
from renderers.face_renderer import FaceRenderer


@dataclass(frozen=True)
class FitScene:
    """What is drawn to be compared with pictures.

    Attributes:
        face_model: File or folder of a face model, or `procedural:coarse` and so on (`models.morphable.loading.load_face_model`).
        region: Part of the mesh that is drawn; "face" leaves out what hair, clothes and the mouth's inside cover.
        focal_length: Of the camera, in image sizes: 4.0 for portraits framed like FFHQ's.
        distance: Of the camera from the face, decimetres.
        image_size: Pixels of the rendering; null for those of the pictures, which are reduced to it.
    """

    face_model: str = f"{SHIPPED}:coarse"
    region: str = "face"
    focal_length: float = 4.0
    distance: float = 10.0
    image_size: int | None = None

    def __post_init__(self) -> None:
        if self.image_size is not None and self.image_size < 1:
            raise InputError(f"expected an image_size of 1 or more, got {self.image_size}; leave it out for all pixels")

    @property
    def camera(self) -> PerspectiveCamera:
        return PerspectiveCamera(self.focal_length, self.distance)

    def load_face_model(self) -> MorphableModel:
        """The whole face model."""
        return load_face_model(self.face_model)

    def renderer(self, face_model: MorphableModel, drawn: MorphableModel, resolution: int) -> FaceRenderer:
        """The renderer of the region `drawn` of a face model, for pictures of `resolution` pixels.

        Raises:
            InputError: for an image size above the pictures'.
        """
        size = resolution if self.image_size is None else self.image_size
        if size > resolution:
            raise InputError(
                f"expected an image_size from 1 to the pictures' {resolution}, got {size}; leave it out for all pixels"
            )
        return FaceRenderer(drawn, self.camera, size, landmark_model=face_model)
