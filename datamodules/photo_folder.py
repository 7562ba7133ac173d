"""Aligned photos in a folder: found, checked, decoded and kept in memory where they fit."""

import hashlib
import os
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TypeVar

import numpy as np
import torch
from jaxtyping import UInt8
from PIL import Image, UnidentifiedImageError
from torch import Tensor
from torch.utils.data import Dataset

from datamodules.photos.contact_sheet import CONTACT_SHEET
from datamodules.photos.decoding import decode_photo, list_photos
from renderers.errors import InputError

Item = TypeVar("Item")
Result = TypeVar("Result")


class UnusablePhoto(InputError):
    """A photo that cannot be used.

    A loader's worker hands an exception on as one of its class that is made from the text of its traceback, whose last line is the
    message: so only that is kept.
    """

    def __init__(self, message: str) -> None:
        super().__init__(message.strip().splitlines()[-1].rpartition(f"{type(self).__name__}: ")[2])


def find_photos(root: str | Path) -> list[Path]:
    """All photos under a folder, in the order of their paths; hidden files and the contact sheet of `lightning align` are left out.

    Raises:
        InputError: if there is no such folder, or no photo in it.
    """
    root = Path(root).expanduser()
    if not root.is_dir():
        raise InputError(f"expected a folder of aligned photos, got {root}, which is none; give the output of `lightning align`")
    return sorted(path for path in list_photos(root).values() if path != root / CONTACT_SHEET)


def split_photos(paths: Sequence[Path], root: str | Path, held_out: float) -> tuple[list[Path], list[Path]]:
    """Photos for training and photos held out, each in the given order.

    Those with the smallest hashes of their paths below `root` are held out: another run, or a copy of the folder elsewhere, holds out
    the same, and photos that are added later move few others.

    Args:
        paths: The photos.
        root: The folder that they were found in.
        held_out: Which part is held out, from 0 to below 1; at least one photo where it is above 0.

    Raises:
        InputError: if that part is out of range, or leaves no photo for training.
    """
    if not 0 <= held_out < 1:
        raise InputError(f"expected a validation_fraction from 0 to below 1, got {held_out}; 0.05 holds out a twentieth")
    count = max(round(len(paths) * held_out), 1) if held_out else 0
    if count >= len(paths):
        raise InputError(f"expected more than {count} photos, of which {count} are held out, got {len(paths)}; give more photos")
    root = Path(root).expanduser()
    keys = {path: hashlib.sha256(path.relative_to(root).as_posix().encode()).digest() for path in paths}
    chosen = set(sorted(paths, key=keys.__getitem__)[:count])
    return [path for path in paths if path not in chosen], [path for path in paths if path in chosen]


def check_photos(paths: Iterable[Path], image_size: int) -> None:
    """Read the headers of photos: all must be square and at least `image_size` pixels wide.

    Raises:
        UnusablePhoto: for the first that is not, with the number of such photos.
    """
    faults = [fault for fault in in_threads(lambda path: _fault(path, image_size), paths) if fault is not None]
    if faults:
        others = f" (and {len(faults) - 1} more like this)" if len(faults) > 1 else ""
        raise UnusablePhoto(faults[0] + others)


def read_photo(path: Path, image_size: int) -> UInt8[Tensor, "3 size size"]:
    """A square photo as RGB, brought to `image_size` pixels by an antialiased (Lanczos) filter where it is larger.

    Raises:
        UnusablePhoto: if it cannot be decoded.
    """
    try:
        picture = decode_photo(path).image
    except InputError as error:
        raise UnusablePhoto(str(error)) from error
    if picture.size != (image_size, image_size):
        picture = picture.resize((image_size, image_size), Image.Resampling.LANCZOS)
    return torch.from_numpy(np.array(picture)).permute(2, 0, 1).contiguous()


class PhotoDataset(Dataset[dict[str, Tensor]]):
    """Photos as dictionaries with ``image``, float (3, size, size) in [-1, 1].

    Args:
        paths: The photos, see `check_photos`.
        image_size: Height and width in pixels.
        mirror: Also serve every photo mirrored left to right: sample i + number of photos is the mirror image of sample i (as
            StyleGAN2-ADA mirrors). No random number is drawn, so samples are the same whatever loads them.
        in_memory: Decode all photos now and keep them, as one byte per colour.
    """

    def __init__(self, paths: Sequence[Path], image_size: int, mirror: bool = False, in_memory: bool = False) -> None:
        self.paths = tuple(paths)
        self.image_size = image_size
        self.mirror = mirror
        self._pictures: Tensor | None = None
        if in_memory:
            self._pictures = torch.empty((len(paths), 3, image_size, image_size), dtype=torch.uint8)
            for row, picture in zip(self._pictures, in_threads(self._read, self.paths), strict=True):
                row.copy_(picture)

    def __len__(self) -> int:
        return len(self.paths) * (1 + self.mirror)

    def __getitem__(self, index: int) -> dict[str, Tensor]:
        return {name: value[0] for name, value in self.__getitems__([index]).items()}

    def __getitems__(self, indices: list[int]) -> dict[str, Tensor]:
        """A whole batch at once."""
        sides = [divmod(index, len(self.paths)) for index in indices]
        pictures = torch.stack([self._picture(photo) for _, photo in sides])
        mirrored = torch.tensor([side > 0 for side, _ in sides])[:, None, None, None]
        return {"image": torch.where(mirrored, pictures.flip(-1), pictures).float() / 127.5 - 1}

    def _picture(self, photo: int) -> Tensor:
        return self._read(self.paths[photo]) if self._pictures is None else self._pictures[photo]

    def _read(self, path: Path) -> Tensor:
        return read_photo(path, self.image_size)


def in_threads(work: Callable[[Item], Result], items: Iterable[Item]) -> Iterable[Result]:
    """Results of `work` in order, by as many threads as there are processors: decoders run beside each other."""
    with ThreadPoolExecutor(max_workers=len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else None) as pool:
        yield from pool.map(work, items)


def _fault(path: Path, image_size: int) -> str | None:
    try:
        with Image.open(path) as file:
            width, height = file.size
    except (UnidentifiedImageError, OSError, ValueError, SyntaxError, Image.DecompressionBombError):
        return f"expected a picture, {path} ({path.stat().st_size} bytes) is none that can be read; mend or remove it"
    if width != height:
        return f"expected square aligned photos, {path} has {width} x {height} pixels; run `lightning align` first"
    if width < image_size:
        return (
            f"expected photos of at least {image_size} pixels, {path} has {width}; "
            f"align them with --size {image_size}, or train at a smaller image_size"
        )
    return None
