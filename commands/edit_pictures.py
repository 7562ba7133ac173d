"""Pictures that ``lightning edit`` writes: of each code, of all side by side, in whole photos, and sweeps."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from jaxtyping import Float
from PIL import Image
from torch import Tensor

from commands.edit_files import GRID, PASTED, SWEEP
from evaluation.code_edits import CodeEdit
from evaluation.edit_pasting import PasteMode, PhotoPlace, paste_edit
from evaluation.edit_subjects import EditSubjects
from evaluation.edit_sweep import DirectionSweep, Sweep, sweep_frames
from evaluation.report import picture_grid
from evaluation.video import write_video
from models.stylegan2.sampling import pictures_of_codes
from models.stylerig.opening import OpenedRig

_GRID_CODES = 64
_GRID_WIDTH = 256
# Cells in a row: of pairs of before and after, or of portrait, embedding and edit.
_GRID_COLUMNS = {2: 8, 3: 9}


def draw_edits(
    opened: OpenedRig,
    subjects: EditSubjects,
    edited: Float[Tensor, "codes layers width"],
    pictures: bool,
    photos: Mapping[str, PhotoPlace],
    mode: PasteMode,
    noise: Literal["const", "none"],
    batch_size: int,
    folder: Path,
) -> None:
    """A picture of each edited code, the grid of the first, before and after, and photos with their edits.

    Args:
        opened: Whose generator draws.
        subjects: What was edited.
        edited: The codes after.
        pictures: False leaves out those of single codes.
        photos: Places of photos to paste edits into, by the names of codes.
        mode: How they are pasted.
        noise: Of the generator.
        batch_size: Pictures drawn together.
        folder: To write to.
    """
    codes = subjects.codes
    rows = range(len(codes)) if pictures else range(min(len(codes), _GRID_CODES))
    drawn = [row for row in range(len(codes)) if row in rows or codes.names[row] in photos]
    cells: list[Image.Image] = []
    for start in range(0, len(drawn), batch_size):
        batch = drawn[start : start + batch_size]
        after = _draw(opened, edited[batch], noise)
        compared = [row for row in batch if row < _GRID_CODES or codes.names[row] in photos]
        before = dict(zip(compared, _draw(opened, codes.w_plus[compared], noise) if compared else (), strict=True))
        for row, pixels in zip(batch, after, strict=True):
            name, picture = codes.names[row], Image.fromarray(pixels)
            if pictures:
                picture.save(folder / f"{name}.png")
            portrait = subjects.portrait(row)
            if row < _GRID_CODES:
                shown = [] if portrait is None else [Image.fromarray(portrait)]
                cells += [_thumbnail(each) for each in (*shown, Image.fromarray(before[row]), picture)]
            if name in photos:
                paste_edit(photos[name], before[row], pixels, mode).save(folder / f"{name}{PASTED}")
    labels = ["portrait", "embedding", "edited"] if subjects.embeddings else ["before", "after"]
    width = min(_GRID_COLUMNS[len(labels)], len(cells))
    grid = [cells[start : start + width] for start in range(0, len(cells), width)]
    picture_grid(grid, column_labels=labels * (width // len(labels))).save(folder / GRID)


def draw_sweeps(
    opened: OpenedRig,
    subjects: EditSubjects,
    chosen: slice,
    request: CodeEdit,
    sweeps: Sequence[Sweep | DirectionSweep],
    there_and_back: bool,
    noise: Literal["const", "none"],
    batch_size: int,
    fps: float,
    layout: Literal["grid", "each"],
    folder: Path,
) -> int:
    """Write the videos.

    Args:
        opened: The rig.
        subjects: What is edited.
        chosen: Of these, which are swept.
        request: What is asked in all frames.
        sweeps: What goes from one value to another, together.
        there_and_back: Return to the start.
        noise: Of the generator.
        batch_size: Pictures drawn together.
        fps: Frames a second.
        layout: One video of all side by side, or one of each.
        folder: To write to.

    Returns:
        The number of frames of each.
    """
    codes = subjects.codes
    parts = {SWEEP: chosen}
    if layout == "each":
        parts = {name: slice(row, row + 1) for row, name in enumerate(codes.names[chosen])}
    count = 0
    for name, rows in parts.items():
        of_rows = request.of_rows(rows)
        frames = sweep_frames(opened, codes.w_plus[rows], of_rows, sweeps, there_and_back, noise, batch_size)
        count = write_video(folder / name, frames, fps)
    return count


def _draw(opened: OpenedRig, codes: Float[Tensor, "batch layers width"], noise: Literal["const", "none"]) -> np.ndarray:
    with torch.no_grad():
        return pictures_of_codes(opened.generator, codes, noise).permute(0, 2, 3, 1).numpy()


def _thumbnail(picture: Image.Image) -> Image.Image:
    side = min(picture.width, _GRID_WIDTH)
    return picture.resize((side, side), Image.Resampling.LANCZOS)
