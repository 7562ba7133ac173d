"""Files that ``lightning lift`` writes, and what of them is in a folder already."""

import csv
import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from PIL import Image

from evaluation.lifted_gan.views import LiftedCodes, LiftedViews
from evaluation.report import to_picture, write_text
from models.meshes import TexturedMesh, write_glb, write_obj, write_ply
from models.weights import locate
from renderers.errors import InputError
from renderers.images import to_unit

MeshFormat = Literal["none", "glb", "obj", "ply"]

SHEET, TABLE, INTERPOLATION, TURNTABLE, SWEEP = "lift.png", "lift.csv", "interpolation", "turntable", "sweep"
STYLE = ".style.png"
_MAPS = (".albedo.png", ".normals.png", ".depth.png", ".map.png", ".npz")
_MESHES: dict[MeshFormat, tuple[str, ...]] = {
    "none": (),
    "glb": (".glb",),
    "obj": (".obj", ".mtl", ".diffuse.png"),
    "ply": (".ply",),
}
_OF_CODES = frozenset((".png", STYLE, *_MAPS, *(each for files in _MESHES.values() for each in files)))
_VIDEOS = tuple(f"{stem}{suffix}" for stem in (TURNTABLE, SWEEP, INTERPOLATION) for suffix in (".mp4", ".gif"))
_FIXED = (SHEET, TABLE, f"{INTERPOLATION}.png", *_VIDEOS)
# The last column, which says what was written of each code; the table is known by it and the first.
_FILES = "files"
_SIXTEEN_BITS = 65535


def endings(maps: bool, mesh: MeshFormat, style: bool) -> list[str]:
    """What is added to a code's name for each of its files."""
    return [".png", *(_MAPS if maps else ()), *_MESHES[mesh], *((STYLE,) if style else ())]


def earlier_files(
    output: Path, source: Path | None, names: Sequence[str], ends: Sequence[str], overwrite: bool
) -> list[Path]:
    """What an earlier call wrote into the folder, to be deleted: what its table names; other files are not its own.

    Args:
        output: The folder.
        source: File of the codes, or folder of embeddings or photos; None for codes of seeds.
        names: Of the codes of this call; none while they are not known yet.
        ends: Of `endings`.
        overwrite: Whether these files, and those of an earlier call, may be there.

    Raises:
        InputError: for a file, the folder of the codes or photos, one that holds such files, files of such names by somebody else, which
            nothing overwrites, and a code whose file would be called as one of the command's own.
    """
    files = [f"{name}{end}" for name in names for end in ends]
    for file in files:
        if file.casefold() in _FIXED:
            raise InputError(
                f"expected codes of other names than {Path(file).stem}, which this command writes itself; rename it"
            )
    twice = next((file for file in files if files.count(file) > 1), None) if len(set(files)) < len(files) else None
    if twice is not None:
        raise InputError(f"expected codes whose files differ, got two that write {twice}; rename one")
    if output.exists() and not output.is_dir():
        raise InputError(f"expected a folder to write to, {output} is a file; name another")
    if not output.exists():
        return []
    if source is not None:
        place = locate(source).resolve()
        # The pictures there are called as these.
        if output.resolve() == (place if place.is_dir() else place.parent):
            raise InputError(f"expected another folder than that of the codes or photos, got {output}; name another")
    fixed, of_codes = [output / name for name in _FIXED], _of_table(output / TABLE)
    own = [] if of_codes is None else [*fixed, *of_codes]
    wanted = [*fixed, *(output / file for file in files)]
    present = [path for path in (*own, *wanted) if path.exists()]
    if present and not overwrite:
        raise InputError(
            f"expected a folder without lifted faces, {output} holds {present[0].name}; name another, or give --overwrite"
        )
    foreign = next((path for path in wanted if path.exists() and path not in own), None)
    if foreign is not None:
        raise InputError(
            f"expected a folder of lifted faces to overwrite, {foreign.name} in {output} is not by this command; name another"
        )
    return own


def write_table(
    folder: Path, names: Sequence[str], columns: Mapping[str, Sequence[float]], ends: Sequence[str]
) -> None:
    """Write the table: a row for each code, its readings, and what was written of it."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["name", *columns, _FILES])
    for row, name in enumerate(names):
        writer.writerow([name, *(f"{values[row]:.4f}" for values in columns.values()), " ".join(ends)])
    write_text(folder / TABLE, text.getvalue())


def write_maps(folder: Path, names: Sequence[str], views: LiftedViews, lifted: LiftedCodes) -> None:
    """Of each code pictures of its maps, the depth in 16 bits (black the settings' `max_depth`, white `min_depth`), and all of them as
    numbers in NAME.npz: depth (H, W), normals (H, W, 3), albedo (H, W, 3) in [0, 1] not clamped, transformation (H, W)."""
    pictures, normals, settings = views.maps(lifted), views.normals(lifted), views.model.settings
    near = (settings.max_depth - lifted.output.depth) / (settings.max_depth - settings.min_depth)
    depth = (near.clamp(0, 1) * _SIXTEEN_BITS).round().to(torch.int32).cpu().numpy().astype(np.uint16)
    for row, name in enumerate(names):
        for part in ("albedo", "normals", "map"):
            to_picture(pictures[part][row]).save(folder / f"{name}.{part}.png")
        Image.fromarray(depth[row]).save(folder / f"{name}.depth.png")
        np.savez_compressed(
            folder / f"{name}.npz",
            depth=lifted.output.depth[row].cpu().numpy(),
            normals=normals[row].cpu().numpy(),
            albedo=to_unit(lifted.output.albedo[row]).permute(1, 2, 0).cpu().numpy(),
            transformation=lifted.output.transformation[row, 0].cpu().numpy(),
        )


def write_mesh(folder: Path, mesh: TexturedMesh, format: MeshFormat) -> None:
    """Write a mesh under its name."""
    writers = {"glb": write_glb, "obj": write_obj, "ply": write_ply}
    writers[format](mesh, folder / f"{mesh.name}.{format}")


def _of_table(table: Path) -> list[Path] | None:
    """Files of the codes of a table; None for no table, and one that is not by this command."""
    if not table.exists():
        return None
    # A name of other letters than UTF-8 has is not one of this command's.
    header, *rows = [*csv.reader(table.read_text(encoding="utf-8", errors="replace").splitlines())] or [[]]
    if header[:1] != ["name"] or header[-1:] != [_FILES]:
        return None
    return [
        table.parent / f"{row[0]}{end}"
        for row in rows
        if len(row) == len(header) and not any(letter in row[0] for letter in "/\\")
        for end in row[-1].split()
        if end in _OF_CODES
    ]
