"""What is kept beside the crops of a photo: where each came from, so that an edit can be pasted back."""

import json
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
    """

    crop: str
    size: int
    quad: list[list[float]]
    padding: tuple[float, float, float, float]
    photo_size: tuple[int, int]
    confidence: float
    points: list[list[float]]
    landmarks: list[list[float]] | None

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
    handle, temporary = tempfile.mkstemp(prefix=".", suffix=".part", dir=path.parent)
    try:
        with os.fdopen(handle, "wb") as file:
            write(file)
        # Temporary files are private; these are ordinary ones.
        os.chmod(temporary, 0o644)
        os.replace(temporary, path)
    finally:
        Path(temporary).unlink(missing_ok=True)


def write_json(path: Path, value: object) -> None:
    """Plain values as a JSON file, whole or not at all."""
    text = json.dumps(value, indent=1) + "\n"
    write_atomically(path, lambda file: file.write(text.encode()))


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
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise InputError(
            f"expected a record of crops ({FORMAT}) in {path}, got something else ({type(error).__name__}: {error}); align the photo again"
        ) from error


def _transform(face: dict[str, Any]) -> FaceTransform:
    left, top, right, bottom = (float(value) for value in face["padding"])
    width, height = (int(value) for value in face["photo_size"])
    landmarks = face["landmarks"]
    return FaceTransform(
        str(face["crop"]),
        int(face["size"]),
        _points(face["quad"], 4),
        (left, top, right, bottom),
        (width, height),
        float(face["confidence"]),
        _points(face["points"], 5),
        None if landmarks is None else _points(landmarks, 68),
    )


def _points(values: list[list[float]], count: int) -> list[list[float]]:
    points = [[float(x), float(y)] for x, y in values]
    if len(points) != count:
        raise ValueError(f"{len(points)} points in place of {count}")
    return points
