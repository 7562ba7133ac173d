"""Files that ``lightning edit`` writes, and what of them is in a folder already."""

import csv
from collections.abc import Sequence
from pathlib import Path

from models.weights import locate
from renderers.errors import InputError

CODES, TABLE, GRID, SWEEP = "codes.safetensors", "edits.csv", "grid.png", "sweep"
_VIDEOS = (".mp4", ".gif")
# Of a photo with the edit pasted in.
PASTED = ".photo.png"


def names_of_files(pictures: Sequence[str], swept: Sequence[str], pasted: Sequence[str] = ()) -> list[str]:
    """Files named after codes.

    Args:
        pictures: Names of codes of which a picture is written.
        swept: Names of codes of which a sweep is written.
        pasted: Names of codes whose edit is pasted into a photo.

    Raises:
        InputError: for a code of the name of the command's own picture.
    """
    for name in pictures:
        if f"{name}.png".casefold() == GRID:
            raise InputError(f"expected codes of other names than grid, which this command writes, got {name}; rename it")
    files = [f"{name}.png" for name in pictures] + [f"{name}{suffix}" for name in swept for suffix in _VIDEOS]
    photos = [f"{name}{PASTED}" for name in pasted]
    for name, photo in zip(pasted, photos, strict=True):
        if photo in files:
            raise InputError(f"expected codes of other names than {name}.photo beside {name}, whose photo is called so; rename it")
    return files + photos


def earlier_files(
    output: Path, codes: Path, of_codes: Sequence[str], overwrite: bool, photos: Sequence[Path] = ()
) -> list[Path]:
    """What an earlier call wrote into the folder, to be deleted: files of names that its table has; others are not its own.

    Args:
        output: The folder.
        codes: File of the codes to edit, or folder of embeddings.
        of_codes: Files that this call writes besides those of fixed names.
        overwrite: Whether these, and those of an earlier call, may be there.
        photos: That edits are pasted into.

    Raises:
        InputError: for a file, the folder of the codes, of the photos or of another command's, and one that holds such files.
    """
    if output.exists() and not output.is_dir():
        raise InputError(f"expected a folder to write to, {output} is a file; name another")
    if not output.exists():
        return []
    source = locate(codes).resolve()
    if output.resolve() == (source if source.is_dir() else source.parent):
        raise InputError(f"expected another folder than that of the codes to edit, got {output}; name another")
    # Pictures here could replace photos, and the next 'lightning fit' would take them for photos.
    if output.resolve() in {photo.resolve().parent for photo in photos}:
        raise InputError(f"expected another folder than that of the photos to paste into, got {output}; name another")
    own = [output / name for name in (CODES, TABLE, GRID, *(f"{SWEEP}{suffix}" for suffix in _VIDEOS))]
    present = [path for path in (*own, *(output / name for name in of_codes)) if path.exists()]
    if present and not overwrite:
        raise InputError(
            f"expected a folder without edits, {output} holds {present[0].name}; name another, or give --overwrite"
        )
    if (output / CODES).exists() and not (output / TABLE).exists():
        raise InputError(
            f"expected a folder of edits to overwrite, the codes in {output} are of another command; name another"
        )
    drawn = []
    if (output / TABLE).exists():
        # A name of other letters than UTF-8 has is not one of this command's.
        rows = list(csv.reader((output / TABLE).read_text(encoding="utf-8", errors="replace").splitlines()))[1:]
        stems = [row[0] for row in rows if row and not any(letter in row[0] for letter in "/\\")]
        drawn = [output / f"{stem}{suffix}" for stem in stems for suffix in (".png", PASTED, *_VIDEOS)]
    return [*own, *drawn]
