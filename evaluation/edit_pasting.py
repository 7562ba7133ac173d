"""Edits of embedded photos, pasted back into the whole photos.

An embedding is not quite its photo, and an edit changes little of the background. So what goes into the photo is what the edit changed
(edited picture against the embedding's own): all else, its seams included, stays the photo's.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
from jaxtyping import Bool, Float, UInt8
from PIL import Image
from scipy import ndimage

from datamodules.photos import FaceTransform, crop_quad, decode_photo, paste_back, read_transform
from datamodules.photos.decoding import Photo
from models.portrait_embedding import PortraitEmbedding
from renderers.errors import InputError

PasteMode = Literal["difference", "picture"]

# All our choice. A change of more than this share of the range of a colour is seen; gaps narrower than this share of the crop's side
# within what changed are filled, lest a turned head keep the middle of the photo's face; its border fades over the last share.
_SEEN = 0.06
_GAP = 1 / 2
_FADE = 1 / 32


@dataclass(frozen=True)
class PhotoPlace:
    """Where the crop that was embedded lies.

    Attributes:
        path: Of the photo.
        sha256: Of the photo's file when it was embedded; None where that was not noted.
        transform: Of the crop; None for a photo that was an aligned portrait already, of which all was embedded.
    """

    path: Path
    sha256: str | None
    transform: FaceTransform | None

    def read(self) -> Photo:
        """The photo.

        Raises:
            InputError: if it cannot be read or is another than was embedded.
        """
        photo = decode_photo(self.path)
        if self.sha256 is not None and photo.sha256 != self.sha256:
            raise InputError(f"expected the photo that was embedded, {self.path} has other contents; name the folder with that photo")
        return photo


def photo_places(embeddings: Sequence[PortraitEmbedding], photos: Path) -> dict[str, PhotoPlace]:
    """Where the photos of embeddings are, by the embeddings' names; those of synthetic portraits and samples are left out.

    Args:
        embeddings: Any.
        photos: The folder that the photos were embedded from, or the one photo.

    Raises:
        InputError: where none is of a photo, a photo is missing or is another than was embedded, or its place is damaged.
    """
    places = {each.name: _place(each.name, each.origin, photos) for each in embeddings if each.source == "photo"}
    if not places:
        raise InputError("expected embeddings of photos to paste back, got none; leave --paste-back out")
    for place in places.values():
        # Read now and once more later: a wrong photo must show before anything is written, and all at once may not fit the memory.
        place.read()
    return places


def paste_edit(
    place: PhotoPlace,
    embedded: UInt8[np.ndarray, "size size 3"],
    edited: UInt8[np.ndarray, "size size 3"],
    mode: PasteMode,
) -> Image.Image:
    """The photo with what an edit changed.

    Args:
        place: Of the photo.
        embedded: Picture of the embedding.
        edited: Picture of the edited embedding.
        mode: "difference" adds what the edit changed to the photo, which keeps all its detail in place: for light. "picture" shows the
            edited picture wherever the edit changed something: for whatever moves.

    Raises:
        InputError: if the photo cannot be read, or is another than was embedded.
    """
    photo = place.read().image
    transform = _whole(photo, len(edited), place.path) if place.transform is None else replace(place.transform, size=len(edited))
    if mode == "picture":
        return paste_back(photo, Image.fromarray(edited), transform, mask=changed_region(embedded, edited))
    change = edited.astype(np.int16) - embedded.astype(np.int16)
    # The very crop that pasting compares with: what the embedding missed of the photo cancels out.
    crop = np.asarray(crop_quad(photo, transform.quad_tensor, transform.size).image)
    relit = (crop.astype(np.int16) + change).clip(0, 255).astype(np.uint8)
    return paste_back(photo, Image.fromarray(relit), transform, keep_detail=True)


def changed_region(
    before: UInt8[np.ndarray, "size size 3"], after: UInt8[np.ndarray, "size size 3"]
) -> Float[np.ndarray, "size size"]:
    """Where two pictures differ visibly, with what they enclose: 1 there, fading to 0 outside, float32."""
    size = len(before)
    change = np.abs(after.astype(np.float32) - before.astype(np.float32)).max(axis=2) / 255
    gap, fade = max(1, round(size * _GAP / 2)), size * _FADE
    # Padded, since the border of the picture would erode what touches it.
    seen = np.pad(ndimage.gaussian_filter(change, fade / 2) > _SEEN, gap)
    # Closed by a disc. By distances, since a disc of hundreds of pixels laid at each pixel would take hours.
    widened = _distance_to(seen) <= gap
    closed = _distance_to(~widened) > gap
    region = ndimage.binary_fill_holes(closed[gap:-gap, gap:-gap])
    # Widened by what fades, so that the change itself is shown whole.
    return (1 - _distance_to(region) / (2 * fade)).clip(0, 1).astype(np.float32)


def _place(name: str, origin: Mapping[str, Any], photos: Path) -> PhotoPlace:
    noted = origin.get("path")
    if not isinstance(noted, str) or not noted:
        raise InputError(f"expected the embedding {name} to note its photo, it does not; embed the photo again")
    if photos.is_file():
        path = photos
    else:
        # As noted when it was embedded, perhaps from another folder above: of the places below this one the longest that is there.
        parts = [part for part in Path(noted).parts if part not in (Path(noted).anchor, "..")]
        candidates = [photos.joinpath(*parts[start:]) for start in range(len(parts))]
        path = next((candidate for candidate in candidates if candidate.is_file()), photos)
        if not path.is_file():
            raise InputError(f"expected the photo {noted} of the embedding {name} in {photos}, found none; name the folder with it")
    sha256, transform = origin.get("sha256"), origin.get("transform")
    return PhotoPlace(
        path,
        None if sha256 is None else str(sha256),
        None if transform is None else read_transform(transform, f"the embedding {name}"),
    )


def _whole(photo: Image.Image, size: int, path: Path) -> FaceTransform:
    """All of an aligned portrait as a crop of itself."""
    side = float(photo.width)
    if photo.width != photo.height:
        raise InputError(f"expected the square portrait that was embedded, {path} has {photo.width} x {photo.height} pixels; name that one")
    quad = [[0.0, 0.0], [0.0, side], [side, side], [side, 0.0]]
    return FaceTransform(path.name, size, quad, (0.0, 0.0, 0.0, 0.0), photo.size, 1.0, [[0.0, 0.0]] * 5, None)


def _distance_to(region: Bool[np.ndarray, "height width"]) -> Float[np.ndarray, "height width"]:
    """Of each pixel to the nearest of a region, in pixels; infinite where that is empty."""
    return ndimage.distance_transform_edt(~region) if region.any() else np.full(region.shape, np.inf)
