"""What is kept beside the crops of a photo: where each came from, so that an edit can be pasted back."""

import json
import math
import os
import tempfile
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import IO, Any

import torch
from jaxtyping import Float
from torch import Tensor

from models.face_crops import crop_to_photo, photo_to_crop
from renderers.errors import InputError

FORMAT = "latentrig-faces-1"
SUFFIX = ".faces.json"
# Side of a crop in pixels: four times that of the largest StyleGAN2; a few more are gigabytes.
LARGEST_CROP = 4096
# Files that are being written. The prefix tells ours from others' in a folder that is not ours alone.
PART_PREFIX, PART_SUFFIX = ".latentrig-", ".part"
# How far the sides of a quad may differ, and be from a right angle, as a share of its side: rounding by whoever rewrote the record.
SQUARENESS = 1e-3


@dataclass(frozen=True)
class FaceTransform:
    """One crop and its place in the upright photo (after its EXIF orientation).

    Attributes:
        crop: file name of the crop, beside the record.
        size: side of the crop, in pixels.
        quad: (4, 2) corners of the crop (top left, bottom left, bottom right, top right) in pixels of the photo.
        padding: added around the photo (left, top, right, bottom), in its pixels; the crop is blurred near there.
        photo_size: width and height of the photo.
        confidence: of the detector.
        points: (5, 2) eyes, nose and corners of the mouth, in pixels of the crop.
        landmarks: (68, 2) in pixels of the crop; None where no network read them.
        sha256: of the crop's file as it was written; None where there was none to hash.
    """

    crop: str
    size: int
    quad: list[list[float]]
    padding: tuple[float, float, float, float]
    photo_size: tuple[int, int]
    confidence: float
    points: list[list[float]]
    landmarks: list[list[float]] | None
    sha256: str | None = None

    @property
    def quad_tensor(self) -> Float[Tensor, "4 2"]:
        """The corners in double precision."""
        return torch.tensor(self.quad, dtype=torch.float64)

    def to_photo(self, points: Float[Tensor, "points 2"]) -> Float[Tensor, "points 2"]:
        """Points in pixels of the crop to pixels of the photo."""
        return crop_to_photo(points.double()[None], self.quad_tensor[None], self.size)[0]

    def to_crop(self, points: Float[Tensor, "points 2"]) -> Float[Tensor, "points 2"]:
        """Points in pixels of the photo to pixels of the crop."""
        return photo_to_crop(points.double()[None], self.quad_tensor[None], self.size)[0]


@dataclass(frozen=True)
class PhotoRecord:
    """A photo that is done.

    Attributes:
        photo: its path below the folder that was aligned.
        sha256: of the file.
        settings: what it was aligned with.
        faces: the crops, of the largest face first; none where no face was found.
    """

    photo: str
    sha256: str
    settings: dict[str, Any]
    faces: tuple[FaceTransform, ...]


def write_atomically(path: Path, write: Callable[[IO[bytes]], object]) -> None:
    """Write a file so that a kill leaves the earlier one or none, never a part."""
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, temporary = tempfile.mkstemp(prefix=PART_PREFIX, suffix=PART_SUFFIX, dir=path.parent)
    try:
        with os.fdopen(handle, "wb") as file:
            write(file)
        # Temporary files are private; these are ordinary ones.
        os.chmod(temporary, 0o644)
        os.replace(temporary, path)
    finally:
        Path(temporary).unlink(missing_ok=True)


def write_bytes(path: Path, content: bytes) -> None:
    """A file's content, whole or not at all."""
    write_atomically(path, lambda file: file.write(content))


def write_json(path: Path, value: object) -> None:
    """Plain values as a JSON file, whole or not at all."""
    write_bytes(path, (json.dumps(value, indent=1) + "\n").encode())


def write_record(path: Path, record: PhotoRecord) -> None:
    """Write the record of a photo, after its crops: it says that they are all there."""
    write_json(path, {"format": FORMAT} | asdict(record))


def read_record(path: str | Path) -> PhotoRecord:
    """The record beside the crops of a photo, ``NAME.faces.json``.

    Raises: `InputError` if it is missing, damaged or something else.
    """
    path = Path(path)
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
        if value["format"] != FORMAT:
            raise ValueError(f"format {value['format']!r}")
        return PhotoRecord(
            str(value["photo"]),
            str(value["sha256"]),
            dict(value["settings"]),
            tuple(_transform(face) for face in value["faces"]),
        )
    except OSError as error:
        raise InputError(
            f"expected a record of crops at {path}, could not read it ({error.strerror}); correct the path"
        ) from error
    except (ValueError, KeyError, TypeError, AttributeError, OverflowError, RecursionError) as error:
        raise InputError(
            f"expected a record of crops ({FORMAT}) in {path}, got something else ({type(error).__name__}: {error}); align the photo again"
        ) from error


def read_transform(face: Any, where: str) -> FaceTransform:
    """The transform of plain JSON values that were one as a dict (`dataclasses.asdict`).

    Args:
        face: The values.
        where: What they are stored in, for the message.

    Raises: `InputError` for values that are none of a transform.
    """
    try:
        return _transform(face)
    except (ValueError, KeyError, TypeError, AttributeError, OverflowError, RecursionError) as error:
        raise InputError(
            f"expected the place of a crop in its photo in {where}, got something else ({type(error).__name__}: {error}); align it again"
        ) from error


def _transform(face: dict[str, Any]) -> FaceTransform:
    left, top, right, bottom = (_number(value) for value in face["padding"])
    width, height = (_whole(value) for value in face["photo_size"])
    crop, size, landmarks, sha256 = str(face["crop"]), _whole(face["size"]), face["landmarks"], face.get("sha256")
    if Path(crop).name != crop:
        raise ValueError(f"crop {crop!r} is not beside the record")
    if size > LARGEST_CROP:
        raise ValueError(f"a crop of {size} px")
    if min(left, top, right, bottom) < 0:
        raise ValueError("padding below 0")
    quad = _points(face["quad"], 4)
    _check_square(quad)
    return FaceTransform(
        crop,
        size,
        quad,
        (left, top, right, bottom),
        (width, height),
        _number(face["confidence"]),
        _points(face["points"], 5),
        None if landmarks is None else _points(landmarks, 68),
        None if sha256 is None else str(sha256),
    )


def _number(value: Any) -> float:
    number = float(value)
    if not math.isfinite(number):
        raise ValueError(f"the number {number}")
    return number


def _whole(value: Any) -> int:
    number = _number(value)
    if number < 1 or not number.is_integer():
        raise ValueError(f"{value} in place of a number of pixels")
    return int(number)


def _points(values: list[list[float]], count: int) -> list[list[float]]:
    points = [[_number(x), _number(y)] for x, y in values]
    if len(points) != count:
        raise ValueError(f"{len(points)} points in place of {count}")
    return points


def _check_square(quad: list[list[float]]) -> None:
    """Pasting takes the sides to be orthogonal and equally long, and the corners in their order."""
    (x0, y0), (x1, y1), (x2, y2), (x3, y3) = quad
    across, down = (x3 - x0, y3 - y0), (x1 - x0, y1 - y0)
    side = math.hypot(*across)
    # Of a square, down is across turned by a quarter, and the corner opposite is their sum.
    errors = (down[0] + across[1], down[1] - across[0], x0 + across[0] + down[0] - x2, y0 + across[1] + down[1] - y2)
    if not side > 0 or not max(abs(error) for error in errors) <= side * SQUARENESS:
        raise ValueError(f"the quad {quad} is no square")
