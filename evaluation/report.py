"""Report pages: one HTML file with its pictures inside, and files that are written whole or not at all."""

import base64
import html
import io
import json
import math
import os
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from PIL import Image, ImageDraw
from torch import Tensor

from renderers.errors import InputError
from renderers.images import to_unit

_STYLE = """
body { font: 15px/1.5 system-ui, sans-serif; max-width: 64rem; margin: 2rem auto; padding: 0 1rem; color: #222; background: #fff }
h1 { font-size: 1.6rem } h2 { font-size: 1.2rem; margin-top: 2.2rem; border-bottom: 1px solid #ccc }
table { border-collapse: collapse; margin: 1rem 0 } th, td { padding: .25rem .8rem; border-bottom: 1px solid #ddd; text-align: left }
td.number { text-align: right; font-variant-numeric: tabular-nums } td.good { color: #176b2c } td.bad { color: #a8201a }
.scroll { overflow-x: auto } body.wide { max-width: 100rem } h3 { font-size: 1rem; margin-top: 1.8rem }
.pictures { display: flex; flex-wrap: wrap; gap: .5rem 1.5rem; align-items: flex-start } .pictures figure { max-width: 100% }
figure { margin: 1rem 0 } figure img { max-width: 100%; image-rendering: auto } figcaption { color: #555; font-size: .9rem }
"""


@dataclass(frozen=True)
class Mark:
    """A cell of a table with a verdict.

    Attributes:
        text: What it says.
        good: Shown in green, or in red; None in neither.
    """

    text: str
    good: bool | None


class Report:
    """A page built from top to bottom, then written at once.

    Args:
        title: Of the page.
        wide: For pictures and tables of several things side by side.
    """

    def __init__(self, title: str, wide: bool = False) -> None:
        self._title = title
        self._wide = wide
        self._parts: list[str] = []

    def heading(self, text: str) -> None:
        """Start a section."""
        self._parts.append(f"<h2>{html.escape(text)}</h2>")

    def subheading(self, text: str) -> None:
        """Start a part of a section."""
        self._parts.append(f"<h3>{html.escape(text)}</h3>")

    def paragraph(self, text: str) -> None:
        """Add a paragraph of plain text."""
        self._parts.append(f"<p>{html.escape(text)}</p>")

    def table(
        self, header: Sequence[str], rows: Sequence[Sequence[str | float | bool | Mark]], summary: str | None = None
    ) -> None:
        """Add a table. Numbers are shown to three significant digits; booleans as reached or not reached.

        Args:
            header: Of the columns.
            rows: Cells.
            summary: Show this alone until the reader opens it; None shows the table.

        Raises:
            InputError: for a row of another length than the header.
        """
        for row in rows:
            if len(row) != len(header):
                raise InputError(
                    f"expected rows of {len(header)} cells, got {len(row)}: {list(row)}; fill every column"
                )
        cells = "".join(f"<th>{html.escape(name)}</th>" for name in header)
        body = "".join("<tr>" + "".join(_cell(value) for value in row) + "</tr>" for row in rows)
        table = f"<table><thead><tr>{cells}</tr></thead><tbody>{body}</tbody></table>"
        part = f'<div class="scroll">{table}</div>'
        self._parts.append(part if summary is None else f"<details><summary>{html.escape(summary)}</summary>{part}</details>")

    def picture(self, picture: Image.Image, caption: str) -> None:
        """Add a picture with what it shows."""
        self._parts.append(_figure(picture, caption))

    def pictures(self, captioned: Sequence[tuple[Image.Image, str]]) -> None:
        """Add pictures side by side, as many to a row as fit, each with what it shows."""
        self._parts.append(f'<div class="pictures">{"".join(_figure(*each) for each in captioned)}</div>')

    def text(self) -> str:
        """The whole page."""
        title = html.escape(self._title)
        body = '<body class="wide">' if self._wide else "<body>"
        return (
            f'<!doctype html>\n<html lang="en"><head><meta charset="utf-8"><title>{title}</title><style>{_STYLE}</style></head>'
            f"{body}<h1>{title}</h1>{''.join(self._parts)}</body></html>\n"
        )

    def write(self, path: Path) -> None:
        """Write the page; the file is the earlier one or the whole new one."""
        write_text(path, self.text())


def write_text(path: Path, text: str) -> None:
    """Write a text file atomically."""
    write_texts({path: text})


def write_texts(texts: Mapping[Path, str]) -> None:
    """Write text files that belong together: none takes its name before all of them are on disk."""
    temporaries: dict[Path, Path] = {}
    try:
        for path, text in texts.items():
            path.parent.mkdir(parents=True, exist_ok=True)
            handle, temporary = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
            temporaries[path] = Path(temporary)
            with os.fdopen(handle, "w", encoding="utf-8") as file:
                file.write(text)
            # mkstemp makes files that only their owner can read.
            os.chmod(temporary, 0o644)
        for path, written in temporaries.items():
            os.replace(written, path)
    finally:
        for written in temporaries.values():
            written.unlink(missing_ok=True)


def json_text(value: Any) -> str:
    """Indented JSON of plain values; numbers that JSON lacks (infinite, not a number) are null."""
    return json.dumps(_with_nulls(value), indent=2, allow_nan=False) + "\n"


def _with_nulls(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _with_nulls(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_with_nulls(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def to_picture(image: Float[Tensor, "3 height width"], size: int | None = None) -> Image.Image:
    """A picture of an image in [-1, 1], enlarged or reduced to `size` pixels of width where given."""
    pixels = (to_unit(image.detach().float().cpu()).clamp(0, 1) * 255).round().to(torch.uint8).permute(1, 2, 0)
    picture = Image.fromarray(np.ascontiguousarray(pixels.numpy()))
    if size is None:
        return picture
    return picture.resize((size, round(size * picture.height / picture.width)), Image.Resampling.BICUBIC)


def picture_grid(
    rows: Sequence[Sequence[Image.Image | None]],
    row_labels: Sequence[str] = (),
    column_labels: Sequence[str] = (),
    gap: int = 2,
) -> Image.Image:
    """Pictures of one size in rows, with labels at the left and above; None leaves a place empty.

    Raises:
        InputError: for no pictures at all.
    """
    first = next((picture for row in rows for picture in row if picture is not None), None)
    if first is None:
        raise InputError("expected at least one picture for a grid, got none; give pictures")
    # Of the default font: 7 pixels a letter.
    left = 8 + 7 * max(len(label) for label in row_labels) if row_labels else 0
    top = 18 if column_labels else 0
    width, height = first.width + gap, first.height + gap
    columns = max(len(row) for row in rows)
    grid = Image.new("RGB", (left + columns * width, top + len(rows) * height), "white")
    draw = ImageDraw.Draw(grid)
    for index, label in enumerate(column_labels):
        draw.text((left + index * width + 2, 3), label, fill="black")
    for row_index, row in enumerate(rows):
        if row_labels:
            draw.text((3, top + row_index * height + first.height // 2 - 6), row_labels[row_index], fill="black")
        for column, picture in enumerate(row):
            if picture is not None:
                grid.paste(picture, (left + column * width, top + row_index * height))
    return grid


def _figure(picture: Image.Image, caption: str) -> str:
    buffer = io.BytesIO()
    picture.save(buffer, format="PNG", optimize=True)
    data = base64.b64encode(buffer.getvalue()).decode()
    text = html.escape(caption)
    return f'<figure><img src="data:image/png;base64,{data}" alt="{text}"><figcaption>{text}</figcaption></figure>'


def _cell(value: str | float | bool | Mark) -> str:
    if isinstance(value, Mark):
        shade = "" if value.good is None else f' class="{"good" if value.good else "bad"}"'
        return f"<td{shade}>{html.escape(value.text)}</td>"
    if isinstance(value, bool):
        return f'<td class="{"good" if value else "bad"}">{"reached" if value else "not reached"}</td>'
    if isinstance(value, str):
        return f"<td>{html.escape(value)}</td>"
    return f'<td class="number">{value:.3g}</td>'
