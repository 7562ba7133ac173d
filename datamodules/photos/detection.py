"""Faces of photos: where they are by MTCNN, and their landmarks."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float
from PIL import Image
from torch import Tensor

from models.face_crops import crop_to_photo, quads_from_landmarks, sample_quads
from renderers.errors import InputError

# Below this MTCNN's first network has nothing to slide over; facenet-pytorch's own default.
SMALLEST_DETECTED = 20
# Side of the upright crop that a landmark network reads; the networks look at 64 to 256 px.
LANDMARK_CROP = 256

LandmarkNetwork = Callable[[Tensor], Tensor]


@dataclass(frozen=True)
class Detection:
    """A face of a photo, in pixels of the photo (x right, y down).

    Attributes:
        box: left, top, right, bottom; may leave the photo.
        confidence: of the detector, 0 to 1.
        points: (5, 2): eye on the image's left, the other eye, nose, corners of the mouth.
    """

    box: Float[Tensor, "4"]
    confidence: float
    points: Float[Tensor, "5 2"]

    @property
    def area(self) -> float:
        """Of the box, in square pixels."""
        return float((self.box[2:] - self.box[:2]).clamp(min=0).prod())


class FaceDetector:
    """facenet-pytorch's MTCNN (Zhang et al. 2016), whose weights come with the package, on photos of any size.

    Args:
        detection_size: photos are shrunk to at most this longer side, in pixels, to look for faces.
        smallest_face: faces with a shorter box, in pixels of the photo, are left out.
        min_confidence: less certain faces are left out.
        device: of the networks.

    Raises: `InputError` for values out of range.
    """

    def __init__(
        self,
        detection_size: int = 640,
        smallest_face: int = 40,
        min_confidence: float = 0.9,
        device: str = "cpu",
    ) -> None:
        if detection_size < 4 * SMALLEST_DETECTED:
            raise InputError(
                f"expected a detection size of at least {4 * SMALLEST_DETECTED} px, got {detection_size}; raise it"
            )
        if smallest_face < 1:
            raise InputError(f"expected a smallest face of at least 1 px, got {smallest_face}; raise it")
        if not 0 <= min_confidence <= 1:
            raise InputError(f"expected a confidence from 0 to 1, got {min_confidence}; correct it")
        # Imported here: it takes seconds.
        from facenet_pytorch import MTCNN

        self.detection_size, self.smallest_face, self.min_confidence = detection_size, smallest_face, min_confidence
        self.mtcnn = MTCNN(keep_all=True, device=_usable(device))

    def detect(self, photos: Sequence[Image.Image]) -> list[list[Detection]]:
        """Faces of RGB photos, of each the largest first. Photos that shrink to the same size are looked at together."""
        shrunk = [self._shrink(photo) for photo in photos]
        # Of one size, and with the same smallest face in pixels of that size, since both shape the pyramid of scales.
        groups: dict[tuple[int, int, int], list[int]] = {}
        for index, (photo, image) in enumerate(zip(photos, shrunk, strict=True)):
            smallest = max(SMALLEST_DETECTED, round(self.smallest_face * image.width / photo.width))
            groups.setdefault((*image.size, smallest), []).append(index)
        found: list[list[Detection]] = [[] for _ in photos]
        for (width, height, smallest), members in groups.items():
            if min(width, height) < smallest:
                continue
            for index, faces in zip(members, self._look([shrunk[i] for i in members], smallest), strict=True):
                scale = torch.tensor([photos[index].width / width, photos[index].height / height])
                found[index] = self._kept(faces, scale)
        return found

    def _shrink(self, photo: Image.Image) -> Image.Image:
        scale = self.detection_size / max(photo.size)
        if scale >= 1:
            return photo
        size = (max(1, round(photo.width * scale)), max(1, round(photo.height * scale)))
        # Box filter: MTCNN averages areas itself where it shrinks.
        return photo.resize(size, Image.Resampling.BOX)

    def _look(self, images: list[Image.Image], smallest: int) -> list[list[tuple[Tensor, float, Tensor]]]:
        self.mtcnn.min_face_size = smallest
        all_boxes, all_probabilities, all_points = self.mtcnn.detect(images, landmarks=True)
        return [
            # Object arrays under NumPy 2, hence the types.
            [
                (
                    torch.tensor(np.asarray(box, np.float32)),
                    float(probability),
                    torch.tensor(np.asarray(points, np.float32)),
                )
                for box, probability, points in zip(*faces, strict=True)
            ]
            if faces[0] is not None
            else []
            for faces in zip(all_boxes, all_probabilities, all_points, strict=True)
        ]

    def _kept(self, faces: list[tuple[Tensor, float, Tensor]], scale: Tensor) -> list[Detection]:
        detections = [Detection(box * scale.repeat(2), sure, points * scale) for box, sure, points in faces]
        kept = [
            face
            for face in detections
            if face.confidence >= self.min_confidence
            and float((face.box[2:] - face.box[:2]).min()) >= self.smallest_face
            and bool(torch.isfinite(face.points).all())
        ]
        return sorted(kept, key=lambda face: -face.area)


def _usable(name: str) -> torch.device:
    try:
        return torch.zeros(1, device=name).device
    except (RuntimeError, AssertionError) as error:
        reason = str(error).splitlines()[0]
        raise InputError(
            f"expected a device such as cpu or cuda, {name} cannot be used ({reason}); name another"
        ) from error


@torch.no_grad()
def read_landmarks(
    network: LandmarkNetwork, photos: Sequence[Image.Image], detections: Sequence[Detection], device: str = "cpu"
) -> Float[Tensor, "faces 68 2"]:
    """68 landmarks of faces, in pixels of their photos.

    The network sees FFHQ's crop by the five points of the detector, in which the face is upright, whole and in the usual
    place, whatever it was trained on.

    Args:
        network: images (B, 3, 256, 256) in [-1, 1] to (B, 68, 2) pixels.
        photos: RGB, one per face.
        detections: the faces.
        device: of the network.
    """
    if not detections:
        return torch.zeros(0, 68, 2)
    quads = quads_from_landmarks(torch.stack([face.points for face in detections]))
    windows, corners, scales = zip(
        *[_window(photo, quad) for photo, quad in zip(photos, quads, strict=True)], strict=True
    )
    corner, scale = torch.stack(corners)[:, None], torch.tensor(scales)[:, None, None]
    window_quads = (quads - corner) * scale
    crops = sample_quads(torch.stack(windows).to(device), window_quads.to(device), LANDMARK_CROP)
    landmarks = network(crops).float().cpu()
    return crop_to_photo(landmarks, window_quads, LANDMARK_CROP) / scale + corner


def _window(photo: Image.Image, quad: Tensor) -> tuple[Tensor, Tensor, float]:
    """The part of a photo that holds a quad, scaled into a square tensor in [-1, 1], its corner in the photo, and the scale.

    All windows have one size, so that they make a batch; what lies outside the photo is black.
    """
    low, high = quad.amin(0).floor(), quad.amax(0).ceil()
    left, top = max(int(low[0]), 0), max(int(low[1]), 0)
    right, bottom = min(int(high[0]), photo.width), min(int(high[1]), photo.height)
    side = LANDMARK_CROP
    window = Image.new("RGB", (side, side))
    scale = side / float((high - low).max())
    if right > left and bottom > top:
        size = (min(side, max(1, round((right - left) * scale))), min(side, max(1, round((bottom - top) * scale))))
        # The window begins at the quad's corner, not at the photo's: samples beyond a window's edge repeat that edge.
        place = (round((left - float(low[0])) * scale), round((top - float(low[1])) * scale))
        window.paste(photo.resize(size, Image.Resampling.BILINEAR, box=(left, top, right, bottom)), place)
    pixels = torch.from_numpy(np.array(window)).permute(2, 0, 1)
    return pixels.float() / 127.5 - 1, low.float(), scale
