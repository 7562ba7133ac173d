"""Align photos in one process, a batch in memory at a time."""

import hashlib
import io
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

import torch
from PIL import Image

from datamodules.photos.alignment import crop_quad
from datamodules.photos.decoding import DEFAULT_MAX_PIXELS, Photo, decode_bytes, one_line
from datamodules.photos.detection import Detection, FaceDetector, LandmarkNetwork, read_landmarks
from datamodules.photos.records import (
    FORMAT,
    LARGEST_CROP,
    SUFFIX,
    FaceTransform,
    PhotoRecord,
    read_record,
    write_bytes,
    write_record,
)
from models.face_crops import photo_to_crop, quads_from_landmarks
from models.observers import load_landmark_detector
from models.observers.fan import FACE_ALIGNMENT
from models.weights import locate
from renderers.errors import InputError

Faces = Literal["all", "largest"]
# Of Pillow's 0 to 9: a third of the time of its own choice, 6, for files 5 % larger.
PNG_LEVEL = 3
# Photos of one batch are in memory together: a batch ends early with this many pixels.
BATCH_PIXELS = 64_000_000


@dataclass(frozen=True)
class AlignSettings:
    """How photos are aligned.

    Attributes:
        size: side of the crops, in pixels.
        faces: every face of a photo, or the largest.
        landmarks: a landmark network, as `models.observers.load_landmark_detector` takes it; None for the detector's five points.
        smallest_face: faces with a shorter box, in pixels of the photo, are left out.
        min_confidence: faces the detector is less sure of are left out.
        detection_size: photos are shrunk to this longer side, in pixels, to look for faces.
        max_pixels: larger photos are refused.
    """

    size: int = 256
    faces: Faces = "all"
    landmarks: str | None = None
    smallest_face: int = 40
    min_confidence: float = 0.9
    detection_size: int = 640
    max_pixels: int = DEFAULT_MAX_PIXELS

    def __post_init__(self) -> None:
        if self.size < 8:
            raise InputError(f"expected crops of at least 8 px, got {self.size}; raise the size")
        if self.size > LARGEST_CROP:
            raise InputError(f"expected crops of at most {LARGEST_CROP} px, got {self.size}; reduce the size")
        if self.max_pixels < 1:
            raise InputError(f"expected a limit of at least one pixel, got {self.max_pixels}; raise it")

    def described(self) -> dict[str, Any]:
        """Plain values that differ when the crops may: the landmark network counts by its content, not by its place.

        Raises: `InputError` if that network is missing.
        """
        values = asdict(self) | {"recipe": FORMAT}
        # Decides only which photos are refused.
        del values["max_pixels"]
        if self.landmarks is not None:
            values["landmarks"] = _content_hash(self.landmarks)
        return values


def _content_hash(network: str) -> str:
    if network == FACE_ALIGNMENT and not Path(network).exists():
        return network  # a package's own download
    found = locate(network)
    files = sorted(path for path in found.rglob("*") if path.is_file()) if found.is_dir() else [found]
    digest = hashlib.sha256()
    for path in files:
        digest.update(path.name.encode() + b"\0" + path.read_bytes())
    return f"{found.name} {digest.hexdigest()[:16]}"


@dataclass(frozen=True)
class Outcome:
    """What became of a photo.

    Attributes:
        name: of the photo, as `list_photos` gives it.
        photo: its path below the folder that is aligned.
        faces: crops written, or there from an earlier run.
        failure: why there is no crop; None where there is.
        earlier: the photo was done by an earlier run.
    """

    name: str
    photo: str
    faces: int
    failure: str | None = None
    earlier: bool = False


@dataclass(frozen=True)
class Task:
    """A photo to be aligned: its name, its file, and its path below the folder that is aligned."""

    name: str
    path: Path
    photo: str


class Aligner:
    """Aligns photos in this process.

    Args:
        settings: of the crops.
        output: folder of crops and records.
        device: of detector and landmark network.

    Raises: `InputError` if the landmark network cannot be read.
    """

    def __init__(self, settings: AlignSettings, output: Path, device: str = "cpu") -> None:
        self.settings, self.output, self.device = settings, output, device
        self.described = settings.described()
        self.detector = FaceDetector(settings.detection_size, settings.smallest_face, settings.min_confidence, device)
        self.network: LandmarkNetwork | None = None
        if settings.landmarks is not None:
            self.network = load_landmark_detector(settings.landmarks).to(device)

    def align(self, tasks: Sequence[Task]) -> Iterator[Outcome]:
        """Align photos, a batch in memory at a time. A photo that fails is an outcome like the others."""
        batch: list[tuple[Task, Photo]] = []
        pixels = 0
        for task in tasks:
            outcome_or_photo = self._open(task)
            if isinstance(outcome_or_photo, Outcome):
                yield outcome_or_photo
                continue
            size = outcome_or_photo.image.width * outcome_or_photo.image.height
            if batch and pixels + size > BATCH_PIXELS:
                yield from self._finish(batch)
                batch, pixels = [], 0
            batch.append((task, outcome_or_photo))
            pixels += size
        yield from self._finish(batch)

    def _open(self, task: Task) -> Outcome | Photo:
        try:
            content = task.path.read_bytes()
            earlier = self._earlier(task, hashlib.sha256(content).hexdigest())
            return earlier or decode_bytes(content, task.path, self.settings.max_pixels)
        except (InputError, OSError, MemoryError) as error:
            return _failed(task, error)

    def _earlier(self, task: Task, sha256: str) -> Outcome | None:
        """The outcome of an earlier run with the same content and settings, if all of it is there."""
        path = self.record_path(task)
        if not path.is_file():
            return None
        try:
            record = read_record(path)
        except InputError:
            # Not written by this version, or damaged: the photo is done anew.
            return None
        if (record.sha256, record.settings) != (sha256, self.described):
            return None
        if not all(_is_whole(path.parent / face.crop, face) for face in record.faces):
            return None
        return _outcome(task, len(record.faces), earlier=True)

    def record_path(self, task: Task) -> Path:
        """Where the record of a photo is written."""
        return self.output / f"{task.name}{SUFFIX}"

    def _finish(self, batch: list[tuple[Task, Photo]]) -> Iterator[Outcome]:
        if not batch:
            return
        try:
            found = self._faces(batch)
        # The detector indexes and concatenates without checks. Which photo it stumbled over shows when each is alone.
        except Exception as error:
            if len(batch) > 1:
                for entry in batch:
                    yield from self._finish([entry])
            else:
                yield _failed(batch[0][0], error)
            return
        for (task, photo), (detections, landmarks) in zip(batch, found, strict=True):
            try:
                yield self._write(task, photo, detections, landmarks)
            except (InputError, OSError, MemoryError) as error:
                yield _failed(task, error)

    def _faces(self, batch: list[tuple[Task, Photo]]) -> list[tuple[list[Detection], torch.Tensor | None]]:
        """Faces of every photo of a batch, and their 68 landmarks where a network reads them."""
        images = [photo.image for _, photo in batch]
        found = self.detector.detect(images)
        if self.settings.faces == "largest":
            found = [faces[:1] for faces in found]
        if self.network is None:
            return [(faces, None) for faces in found]
        owners: list[Image.Image] = [image for image, faces in zip(images, found, strict=True) for _ in faces]
        everyone = [face for faces in found for face in faces]
        landmarks = read_landmarks(self.network, owners, everyone, self.device)
        return list(zip(found, landmarks.split([len(faces) for faces in found]), strict=True))

    def _write(self, task: Task, photo: Photo, detections: list[Detection], landmarks: torch.Tensor | None) -> Outcome:
        record_path = self.record_path(task)
        # First, so that crops of other settings are never under a record that does not describe them.
        record_path.unlink(missing_ok=True)
        transforms = []
        for number, face in enumerate(detections):
            readings = face.points if landmarks is None else landmarks[number]
            quad = quads_from_landmarks(readings[None].double())
            crop = crop_quad(photo.image, quad[0], self.settings.size)
            path = record_path.with_name(f"{Path(task.name).name}_{number}.png")
            encoded = io.BytesIO()
            crop.image.save(encoded, format="PNG", compress_level=PNG_LEVEL)
            content = encoded.getvalue()
            write_bytes(path, content)
            in_crop = [
                photo_to_crop(points[None].double(), quad, self.settings.size)[0].tolist()
                for points in (face.points, readings)
            ]
            transforms.append(
                FaceTransform(
                    crop=path.name,
                    size=self.settings.size,
                    quad=quad[0].tolist(),
                    padding=crop.padding,
                    photo_size=photo.image.size,
                    confidence=face.confidence,
                    points=in_crop[0],
                    landmarks=None if landmarks is None else in_crop[1],
                    sha256=hashlib.sha256(content).hexdigest(),
                )
            )
        self._remove_crops_from(record_path, task, len(detections))
        write_record(record_path, PhotoRecord(task.photo, photo.sha256, self.described, tuple(transforms)))
        return _outcome(task, len(detections))

    def _remove_crops_from(self, record_path: Path, task: Task, count: int) -> None:
        """Crops that other settings made of the same photo, beyond those of now."""
        number = count
        while (path := record_path.with_name(f"{Path(task.name).name}_{number}.png")).is_file():
            path.unlink()
            number += 1


def _is_whole(crop: Path, face: FaceTransform) -> bool:
    """Whether a crop is there as it was written; one that was cut or changed since is made again."""
    return crop.is_file() and hashlib.sha256(crop.read_bytes()).hexdigest() == face.sha256


def _outcome(task: Task, faces: int, earlier: bool = False) -> Outcome:
    return Outcome(task.name, task.photo, faces, None if faces else "no face found", earlier)


def _failed(task: Task, error: BaseException) -> Outcome:
    return Outcome(task.name, task.photo, 0, one_line(error))
