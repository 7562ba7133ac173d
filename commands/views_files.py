"""Files that ``lightning views`` writes, and what of them is in a folder already."""

import csv
from collections.abc import Sequence
from pathlib import Path

from models.weights import locate
from renderers.errors import InputError

SHEET, TABLE, SWEEP, TURNTABLE = "views.png", "views.csv", "sweep", "turntable"
_VIDEOS = (".mp4", ".gif")
# The table is known by these first columns: other commands write tables too.
_COLUMNS = ["name", "yaw_deg"]


def earlier_files(output: Path, codes: Path | None, names: Sequence[str], overwrite: bool) -> list[Path]:
    """What an earlier call wrote into the folder, to be deleted: files of names that its table has; others are not its own.

    Args:
        output: The folder.
        codes: File of the codes, or folder of embeddings; None for codes of seeds.
        names: Of the codes that this call shows.
        overwrite: Whether these files, and those of an earlier call, may be there.

    Raises:
        InputError: for a file, the folder of the codes or of another command's, one that holds such files, and a code of the name of
            the sheet.
    """
    for name in names:
        if f"{name}.png".casefold() == SHEET:
            raise InputError(
                f"expected codes of other names than views, which this command writes, got {name}; rename it"
            )
    if output.exists() and not output.is_dir():
        raise InputError(f"expected a folder to write to, {output} is a file; name another")
    if not output.exists():
        return []
    if codes is not None:
        source = locate(codes).resolve()
        # The pictures there are called as these.
        if output.resolve() == (source if source.is_dir() else source.parent):
            raise InputError(f"expected another folder than that of the codes, got {output}; name another")
    own = [
        output / name
        for name in (SHEET, TABLE, *(f"{stem}{suffix}" for stem in (SWEEP, TURNTABLE) for suffix in _VIDEOS))
    ]
    present = [path for path in (*own, *(output / f"{name}.png" for name in names)) if path.exists()]
    if present and not overwrite:
        raise InputError(
            f"expected a folder without views, {output} holds {present[0].name}; name another, or give --overwrite"
        )
    if present and (output / "codes.safetensors").exists() and not (output / TABLE).exists():
        raise InputError(
            f"expected a folder of views to overwrite, the pictures in {output} are of another command; name another"
        )
    return [*own, *_drawn(output / TABLE)]


def _drawn(table: Path) -> list[Path]:
    """Pictures of the codes of a table, if it is one of this command."""
    if not table.exists():
        return []
    # A name of other letters than UTF-8 has is not one of this command's.
    header, *rows = [*csv.reader(table.read_text(encoding="utf-8", errors="replace").splitlines())] or [[]]
    if header[: len(_COLUMNS)] != _COLUMNS:
        return []
    stems = [row[0] for row in rows if row and row[0] and not any(letter in row[0] for letter in "/\\")]
    return [table.with_name(f"{stem}.png") for stem in stems]
