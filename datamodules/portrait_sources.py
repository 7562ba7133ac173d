"""Where the portraits that are embedded come from: photos, held-out synthetic portraits with their truth, and generator samples."""

import hashlib
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, UInt8
from PIL import Image
from torch import Tensor

from datamodules.latent_pairs import CodeGenerator, PairRecipe
from datamodules.photos.alignment import crop_quad
from datamodules.photos.contact_sheet import CONTACT_SHEET
from datamodules.photos.decoding import decode_bytes, list_photos, one_line
from datamodules.photos.detection import Detection, LandmarkNetwork, read_landmarks
from datamodules.photos.records import LARGEST_CROP, FaceTransform
from datamodules.photos.screening import PhotoScreen, ScreenSettings
from datamodules.portraits.corpus import PortraitCorpus, corpus_folder, render_corpus
from datamodules.synthetic_portraits import split_spec
from models.face_crops import photo_to_crop, quads_from_landmarks
from models.morphable.procedural import Density
from models.observers import load_landmark_detector
from models.portrait_embedding import SUFFIX, Source
from renderers.errors import InputError

# Samples are the first codes of test pairs from here on, far beyond those whose second codes tables take their targets from.
FIRST_SAMPLE = 1 << 20
# Samples that are made at once.
_SAMPLE_BATCH = 16


@dataclass(frozen=True, eq=False)
class PreparedPortrait:
    """A portrait that can be embedded.

    Attributes:
        name: Of its embedding's file: no folder, unlike that of any other portrait.
        source: "photo", synthetic "portrait", or generator's "sample".
        origin: Plain JSON values, see `prepare_portraits`.
        image: (3, size, size) RGB, aligned as FFHQ is.
        truth: (total) packed true parameters of a synthetic portrait; None for others.
    """

    name: str
    source: Source
    origin: dict[str, Any]
    image: UInt8[Tensor, "3 size size"]
    truth: Float[Tensor, " total"] | None


@dataclass(frozen=True)
class RefusedPortrait:
    """A photo that cannot be embedded.

    Attributes:
        name: As it would have had as a `PreparedPortrait`.
        origin: Its `path`, as there.
        reason: One line.
    """

    name: str
    origin: dict[str, Any]
    reason: str


def prepare_portraits(
    photos: Path | None,
    aligned: bool,
    portraits: int,
    samples: int,
    size: int,
    generator: CodeGenerator,
    recipe: PairRecipe,
    folder: Path | None = None,
    landmarks: str | None = None,
    screen: ScreenSettings = ScreenSettings(),
    seed: int = 0,
    density: Density = "medium",
    supersample: int = 2,
    device: str = "cpu",
) -> tuple[list[PreparedPortrait], list[RefusedPortrait]]:
    """Portraits of all sources: photos in the order of their paths, then `portrait_0000`, ..., then `sample_0000`, ...

    A photo is named by its path below `photos`, with `-` between folders. Whatever fails with one photo is its reason; the others are
    prepared all the same. The `origin` of each kind:

    - photo: `path` below `photos`, `sha256` of the file, and `transform`, a `FaceTransform` as a dict; None where it was aligned already.
    - portrait: `index`, `seed`, `person` and `shot` (see `PortraitSampler.latents`), `density` and `supersample`.
    - sample: `index` of the test pair whose first code it shows, with `seed`, `max_latents` and `truncation` of its recipe.

    Args:
        photos: A photo, or a folder of photos with its subfolders; None for none.
        aligned: The photos are square crops already, taken as they are; else the one face of each is found and cut out as FFHQ does.
        portraits: How many synthetic portraits: people of the test split, one picture each.
        samples: How many pictures of the generator's, of codes of the test split.
        size: Side of all pictures in pixels, the generator's resolution.
        generator: Makes the samples, on its own device.
        recipe: Of their codes.
        folder: Where rendered portraits are kept, see `SyntheticPortraitDataModule`.
        landmarks: A network whose 68 landmarks photos are aligned by, as `load_landmark_detector` takes it; None for the detector's
            five points.
        screen: What photos are refused for.
        seed, density, supersample: Of the synthetic portraits.
        device: Of detector and landmark network.

    Returns: What can be embedded, and the photos that cannot.

    Raises:
        InputError: for numbers out of range, a folder without photos, a landmark network that cannot be read, or a generator of
            another resolution.
    """
    if portraits < 0 or samples < 0 or not 1 <= size <= LARGEST_CROP:
        raise InputError(
            f"expected 0 or more portraits and samples, of 1 to {LARGEST_CROP} px, got {portraits} and {samples} of {size}; correct them"
        )
    prepared: list[PreparedPortrait] = []
    refused: list[RefusedPortrait] = []
    if photos is not None:
        preparer = _AlignedPhotos(size, screen) if aligned else _WholePhotos(size, screen, landmarks, device)
        taken = [*map(_portrait_name, range(portraits)), *map(_sample_name, range(samples))]
        prepared, refused = _read_photos(photos, preparer, taken)
    prepared += synthetic_portraits(portraits, size, seed, density, supersample, folder)
    prepared += generator_samples(samples, size, generator, recipe)
    return prepared, refused


def synthetic_portraits(
    count: int, size: int, seed: int, density: Density, supersample: int, folder: Path | None
) -> list[PreparedPortrait]:
    """The first people of the test split with their truth, rendered where `folder` does not hold them yet."""
    if not count:
        return []
    spec = split_spec("test", size, count, 1, seed, density, supersample)
    render_corpus(spec, corpus_folder(spec, folder))
    index = torch.arange(count)
    rows = PortraitCorpus(spec, corpus_folder(spec, folder), in_memory=False).rows(index)
    shots = spec.shot(index).tolist()
    made = {"seed": seed, "density": density, "supersample": supersample}
    return [
        PreparedPortrait(
            _portrait_name(number),
            "portrait",
            {"index": number, "person": int(rows["person"][number]), "shot": shots[number], **made},
            rows["image"][number].clone(),
            rows["parameters"][number].clone(),
        )
        for number in range(count)
    ]


@torch.no_grad()
def generator_samples(count: int, size: int, generator: CodeGenerator, recipe: PairRecipe) -> list[PreparedPortrait]:
    """Pictures of codes that no training saw.

    Raises:
        InputError: if they have another size.
    """
    made = {"seed": recipe.seed, "max_latents": recipe.max_latents, "truncation": recipe.truncation}
    found: list[PreparedPortrait] = []
    for part in torch.arange(count, device=generator.mean_w.device).split(_SAMPLE_BATCH) if count else ():
        codes = recipe.pairs(generator, "test", part + FIRST_SAMPLE).w
        pictures = generator.synthesis(codes, noise="const").clamp(-1, 1)
        if pictures.shape[-2:] != (size, size):
            raise InputError(
                f"expected a generator of {size} px, got one of {pictures.shape[-1]}; give its resolution as the size"
            )
        images = ((pictures + 1) * 127.5).round().to(torch.uint8).cpu()
        found += [
            PreparedPortrait(
                _sample_name(number), "sample", {"index": number + FIRST_SAMPLE, **made}, image.clone(), None
            )
            for number, image in zip(part.tolist(), images, strict=True)
        ]
    return found


def _portrait_name(number: int) -> str:
    return f"portrait_{number:04d}"


def _sample_name(number: int) -> str:
    return f"sample_{number:04d}"


class _AlignedPhotos:
    """Square photos as they are, brought to one size."""

    def __init__(self, size: int, screen: ScreenSettings) -> None:
        self.size, self.max_pixels = size, screen.max_pixels
        # A crop holds the face and its surroundings; smaller than this it is as good as none.
        self._smallest = min(size, screen.smallest_face)

    def cut(self, photo: Image.Image, name: str) -> tuple[Image.Image, FaceTransform | None]:
        """The portrait of a photo."""
        if photo.width != photo.height:
            raise InputError(
                f"expected a square aligned photo, got {photo.width}x{photo.height} px; let it be aligned here (aligned: false)"
            )
        if photo.width < self._smallest:
            raise InputError(
                f"expected an aligned photo of at least {self._smallest} px, got {photo.width}; give a larger one"
            )
        if photo.width == self.size:
            return photo, None
        return photo.resize((self.size, self.size), Image.Resampling.LANCZOS), None


class _WholePhotos:
    """The one face of each photo, cut out as FFHQ does."""

    def __init__(self, size: int, screen: ScreenSettings, landmarks: str | None, device: str) -> None:
        self.size, self.max_pixels, self._device = size, screen.max_pixels, device
        self._screen = PhotoScreen(screen, device)
        self._network: LandmarkNetwork | None = None
        if landmarks is not None:
            self._network = load_landmark_detector(landmarks).to(device)

    def cut(self, photo: Image.Image, name: str) -> tuple[Image.Image, FaceTransform | None]:
        """The portrait of a photo and its place there."""
        face = self._screen.face(photo)
        readings = self._readings(photo, face)
        quad = quads_from_landmarks((face.points if readings is None else readings)[None].double())
        crop = crop_quad(photo, quad[0], self.size)
        points, landmarks = (
            None if each is None else photo_to_crop(each[None].double(), quad, self.size)[0].tolist()
            for each in (face.points, readings)
        )
        assert points is not None
        # The embedding itself holds the crop.
        transform = FaceTransform(
            f"{name}{SUFFIX}", self.size, quad[0].tolist(), crop.padding, photo.size, face.confidence, points, landmarks
        )
        return crop.image, transform

    def _readings(self, photo: Image.Image, face: Detection) -> Tensor | None:
        """68 landmarks, where a network reads them."""
        if self._network is None:
            return None
        landmarks = read_landmarks(self._network, [photo], [face], self._device)[0]
        if not bool(torch.isfinite(landmarks).all()):
            raise InputError(
                "expected 68 landmarks of the face, the landmark network gave none that are finite; leave the network out"
            )
        return landmarks


def _read_photos(
    photos: Path, preparer: _AlignedPhotos | _WholePhotos, taken: Iterable[str]
) -> tuple[list[PreparedPortrait], list[RefusedPortrait]]:
    """Photos by a preparer, and those that it refuses; names that are taken are not given again."""
    root = photos.parent if photos.is_file() else photos
    # Without regard to case, since the embeddings may be written to a file system that has none.
    names = {name.casefold() for name in taken}
    prepared: list[PreparedPortrait] = []
    refused: list[RefusedPortrait] = []
    for found, path in list_photos(photos).items():
        if path == photos / CONTACT_SHEET:
            continue
        name, origin = found.replace("/", "-"), {"path": path.relative_to(root).as_posix()}
        try:
            if name.casefold() in names:
                raise InputError(
                    f"expected a name of its own for each portrait, {name} is that of another; rename the photo"
                )
            names.add(name.casefold())
            prepared.append(_read_photo(name, origin, path, preparer))
        # The detector indexes and concatenates without checks, and decoders have faults of their own: no photo may stop the others.
        except Exception as error:
            refused.append(RefusedPortrait(name, origin, one_line(error)))
    return prepared, refused


def _read_photo(
    name: str, origin: dict[str, Any], path: Path, preparer: _AlignedPhotos | _WholePhotos
) -> PreparedPortrait:
    content = path.read_bytes()
    photo = decode_bytes(content, path, preparer.max_pixels).image
    image, transform = preparer.cut(photo, name)
    described = {
        **origin,
        "sha256": hashlib.sha256(content).hexdigest(),
        "transform": None if transform is None else asdict(transform),
    }
    pixels = torch.from_numpy(np.array(image)).permute(2, 0, 1).contiguous()
    return PreparedPortrait(name, "photo", described, pixels, None)
