"""What earlier runs left in a folder of crops: unfinished files, and crops under a name that their photo has no longer."""

import time
from collections.abc import Iterable
from pathlib import Path

from datamodules.photos.records import PART_PREFIX, PART_SUFFIX, SUFFIX, PhotoRecord, read_record
from renderers.errors import InputError

# Seconds. Any file is written in less; younger ones may be in the hands of another run.
ABANDONED = 3600.0


def remove_unfinished(output: Path) -> None:
    """Remove files that a killed run was writing."""
    oldest = time.time() - ABANDONED
    for path in output.rglob(f"{PART_PREFIX}*{PART_SUFFIX}"):
        try:
            if path.stat().st_mtime < oldest:
                path.unlink()
        except FileNotFoundError:
            # Another run was faster.
            pass


def remove_renamed(output: Path, photos: dict[str, str]) -> tuple[list[str], list[str]]:
    """Remove crops and records of photos that a finished run has written under another name.

    A photo is named by its path without suffix until a second one, ``a.jpeg`` beside ``a.jpg``, takes that name as well; from
    then on the same face would be there twice. Only what a record names is removed, and only where the record under the
    photo's present name has the same path and content: the folder may hold crops of other folders of photos too.

    Args:
        output: folder of crops and records.
        photos: path of every photo of the run, below the folder that was aligned, by its name.

    Returns: names whose crops were removed; and names of records that stay though no photo of the run has them.
    """
    names = {photo: name for name, photo in photos.items()}
    removed, strange = [], []
    for path, record in _records(output):
        name = path.relative_to(output).as_posix().removesuffix(SUFFIX)
        if name in photos:
            continue
        present = names.get(record.photo)
        if present is None or not _has_content(output / f"{present}{SUFFIX}", record.sha256):
            strange.append(name)
            continue
        for face in record.faces:
            if face.crop.startswith(f"{Path(name).name}_"):
                (path.parent / face.crop).unlink(missing_ok=True)
        path.unlink()
        removed.append(name)
    return removed, strange


def _records(output: Path) -> Iterable[tuple[Path, PhotoRecord]]:
    for path in sorted(output.rglob(f"*{SUFFIX}")):
        try:
            yield path, read_record(path)
        except InputError:
            # Damaged, or someone else's file.
            continue


def _has_content(path: Path, sha256: str) -> bool:
    try:
        return read_record(path).sha256 == sha256
    except InputError:
        return False
