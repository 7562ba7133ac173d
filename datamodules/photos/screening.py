"""Which face of a photo is its portrait, or why there is none that could be embedded: one reason, on one line."""

import math
from dataclasses import dataclass

import torch
from PIL import Image

from datamodules.photos.decoding import DEFAULT_MAX_PIXELS
from datamodules.photos.detection import SMALLEST_DETECTED, Detection, FaceDetector
from renderers.errors import InputError

# A photo in which the usual look finds nothing is looked at again, so many times as large: for faces too small to be kept, so that they
# are refused as that, and for faces that a large photo lost in shrinking. Enlarged at most so far, where it is small itself.
CLOSER_LOOK, MOST_ENLARGED = 3, 4.0
# How MTCNN's points show yaw, read off procedural heads turned by 0 to 90 degrees (medians within 8 degrees up to 80): the nose leaves
# the middle of the eyes by a share of their distance that is the share of a right angle, and the distance of the eyes, of that from
# eyes to mouth, falls from that of a frontal face by so much at a right angle.
FRONTAL_EYE_DISTANCE, EYE_DISTANCE_LOST = 0.87, 0.5


@dataclass(frozen=True)
class ScreenSettings:
    """What photos are refused for. All defaults are ours; no paper says.

    Attributes:
        smallest_face: a face with a shorter box, in pixels of the photo, is too small.
        largest_yaw_deg: a face turned further to a side, as the detector's five points tell, is a profile. They tell it within some
            ten degrees, and rather low: 50 stands for about 60.
        largest_cut: share of a face's box that may lie outside the photo.
        second_face: another face counts whose box has at least this share of the first's side, unless the frame cuts it.
        min_confidence: what the detector is less sure of is no face.
        detection_size: photos are shrunk to this longer side, in pixels, to look for faces.
        max_pixels: larger photos are refused.
    """

    smallest_face: int = 40
    largest_yaw_deg: float = 50.0
    largest_cut: float = 0.15
    second_face: float = 0.25
    min_confidence: float = 0.9
    detection_size: int = 640
    max_pixels: int = DEFAULT_MAX_PIXELS

    def __post_init__(self) -> None:
        if self.smallest_face < 1 or self.max_pixels < 1:
            raise InputError(
                f"expected a smallest face and a largest photo of at least 1 px, got {self.smallest_face} and {self.max_pixels}; raise them"
            )
        if not 0 < self.largest_yaw_deg <= 180:
            raise InputError(
                f"expected a largest yaw above 0 and up to 180 degrees, got {self.largest_yaw_deg}; correct it"
            )
        for name in ("largest_cut", "second_face"):
            if not 0 <= getattr(self, name) <= 1:
                raise InputError(f"expected {name} as a share from 0 to 1, got {getattr(self, name)}; correct it")


class PhotoScreen:
    """Finds the one face of a photo.

    Args:
        settings: what is refused.
        device: of the detector.

    Raises: `InputError` for a detection size or a confidence out of range, or a device that cannot be used.
    """

    def __init__(self, settings: ScreenSettings = ScreenSettings(), device: str = "cpu") -> None:
        self.settings = settings
        sure = settings.min_confidence
        # Looks for smaller faces than are kept, to tell a small face from none.
        self._usual = FaceDetector(settings.detection_size, SMALLEST_DETECTED, sure, device)
        self._closer = FaceDetector(settings.detection_size * CLOSER_LOOK, SMALLEST_DETECTED, sure, device)

    def face(self, photo: Image.Image) -> Detection:
        """The face of a photo, RGB.

        Raises: `InputError` with the reason why there is none, or not one alone, that could be embedded.
        """
        faces = self._usual.detect([photo])[0] or self._look_closer(photo)
        if not faces:
            raise InputError("expected a face, found none; give a photo that shows a whole face from the front")
        self._refuse(photo.size, faces)
        return faces[0]

    def _look_closer(self, photo: Image.Image) -> list[Detection]:
        scale = min(self._closer.detection_size / max(photo.size), MOST_ENLARGED)
        if scale <= 1:
            return self._closer.detect([photo])[0]
        size = (max(1, round(photo.width * scale)), max(1, round(photo.height * scale)))
        (faces,) = self._closer.detect([photo.resize(size, Image.Resampling.BICUBIC)])
        back = torch.tensor([photo.width / size[0], photo.height / size[1]])
        return [Detection(face.box * back.repeat(2), face.confidence, face.points * back) for face in faces]

    def _refuse(self, size: tuple[int, int], faces: list[Detection]) -> None:
        settings, (first, *others) = self.settings, faces
        shorter = float((first.box[2:] - first.box[:2]).min())
        if shorter < settings.smallest_face:
            raise InputError(
                f"expected a face of at least {settings.smallest_face} px, the largest has {shorter:.0f}; give a larger photo of it"
            )
        rivals = [
            face
            for face in others
            if math.sqrt(face.area / first.area) >= settings.second_face
            and cut_share(face, size) <= settings.largest_cut
        ]
        if rivals:
            raise InputError(f"expected one face, found {1 + len(rivals)}; cut the photo to the one that is meant")
        cut = cut_share(first, size)
        if cut > settings.largest_cut:
            raise InputError(
                f"expected a whole face, the frame cuts off {cut:.0%} of it; give a photo that shows all of it"
            )
        yaw = math.degrees(yaw_of(first))
        if yaw > settings.largest_yaw_deg:
            raise InputError(
                f"expected a face turned by at most {settings.largest_yaw_deg:g} degrees, got a profile (about {min(yaw, 90):.0f}); "
                "give a photo taken more from the front"
            )


def cut_share(face: Detection, size: tuple[int, int]) -> float:
    """Share of a face's box, 0 to 1, outside a photo of this width and height. MTCNN reaches beyond the frame for what it cuts off."""
    if not face.area:
        return 1.0
    inside = torch.minimum(face.box[2:], torch.tensor(size)) - face.box[:2].clamp(min=0)
    return 1 - float(inside.clamp(min=0).prod()) / face.area


def yaw_of(face: Detection) -> float:
    """How far a face is turned to either side, in radians from 0 up, from the detector's five points; coarse."""
    left, right, nose, *corners = face.points.double()
    across, middle = right - left, (left + right) / 2
    distance, height = float(across.norm()), float(((corners[0] + corners[1]) / 2 - middle).norm())
    if distance == 0 or height == 0:
        return math.pi / 2
    by_nose = abs(float((nose - middle) @ across)) / distance**2
    by_eyes = (FRONTAL_EYE_DISTANCE - distance / height) / EYE_DISTANCE_LOST
    # Of a profile the detector misplaces now the hidden eye, now the nose: the larger reading is the right one.
    return max(by_nose, by_eyes, 0.0) * math.pi / 2
