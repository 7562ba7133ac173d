"""Figures of a method: a picture with the numbers behind it, written as PNG and CSV into a run's folder and read back for reports."""

import csv
import io
import json
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from PIL import Image

from evaluation.report import json_text, write_texts
from lightning_modules.checkpointing import whole_file
from renderers.errors import InputError

FOLDER = "figures"
_INDEX = "figures.json"

Cell = str | float | int


@dataclass(frozen=True)
class Figure:
    """A picture and its numbers.

    Attributes:
        name: Stem of its files, lower case with underscores: figures of two runs that show the same thing have the same name.
        title: What it shows, and which figure of the paper that is.
        caption: How to read it: units, number of samples, who measured.
        columns: Names of the numbers, with units.
        rows: Numbers, one per column.
        picture: None where there are numbers alone.
    """

    name: str
    title: str
    caption: str
    columns: tuple[str, ...]
    rows: tuple[tuple[Cell, ...], ...]
    picture: Image.Image | None = None

    def __post_init__(self) -> None:
        if not re.fullmatch(r"[a-z0-9_]+", self.name):
            raise InputError(f"expected a figure's name of a-z, 0-9 and underscores, got {self.name!r}; rename it")
        for row in self.rows:
            if len(row) != len(self.columns):
                raise InputError(f"expected rows of {len(self.columns)} numbers in {self.name}, got {len(row)}; fill every column")

    def csv_text(self) -> str:
        """The numbers as CSV with a header."""
        text = io.StringIO()
        writer = csv.writer(text, lineterminator="\n")
        writer.writerow(self.columns)
        writer.writerows(self.rows)
        return text.getvalue()


def write_figures(run_folder: Path, figures: Sequence[Figure], alone: bool = False) -> Path:
    """Write figures as ``figures/<name>.png`` and ``figures/<name>.csv`` with an index, replacing those of the same names.

    Args:
        run_folder: Where the folder of figures is made.
        figures: What to write.
        alone: Leave other figures out of the index, which show another state of what is measured; their files stay.

    Returns:
        The folder.

    Raises:
        InputError: where figures are there that are broken, unless these are left out.
    """
    folder = run_folder / FOLDER
    folder.mkdir(parents=True, exist_ok=True)
    earlier = read_figures(run_folder) if (folder / _INDEX).exists() and not alone else ()
    kept = {figure.name: figure for figure in earlier}
    kept.update({figure.name: figure for figure in figures})
    for figure in figures:
        if figure.picture is not None:
            with whole_file(folder / f"{figure.name}.png") as file:
                figure.picture.save(file, format="PNG", optimize=True)
    index = [
        {"name": figure.name, "title": figure.title, "caption": figure.caption, "picture": figure.picture is not None}
        for figure in kept.values()
    ]
    texts = {folder / f"{figure.name}.csv": figure.csv_text() for figure in figures}
    # The index last: what it names is there.
    write_texts({**texts, folder / _INDEX: json_text(index)})
    return folder


def read_figures(run_folder: Path) -> list[Figure]:
    """The figures of a run, in the order in which they were written.

    Raises:
        InputError: where the index or a file that it names is missing or broken.
    """
    folder = run_folder / FOLDER
    try:
        index = json.loads((folder / _INDEX).read_text(encoding="utf-8"))
        return [_read(folder, entry) for entry in index]
    except FileNotFoundError as error:
        raise InputError(
            f"expected figures in {folder}, {error.filename} is missing; remove that folder and run 'lightning test' with figures in "
            "its config"
        ) from error
    except (OSError, ValueError, LookupError, TypeError, SyntaxError, Image.DecompressionBombError) as error:
        raise InputError(
            f"expected figures in {folder}, they cannot be read ({error}); remove that folder and run the test again"
        ) from error


def numbers_of(figures: Sequence[Figure], about: Mapping[str, Sequence[str]]) -> dict[str, float]:
    """The numbers of tables, each named ``<table>/<what its row is about>/<column>``; those that nobody read are left out.

    Args:
        figures: Tables, and others, which are left out.
        about: Names of the tables, and the columns that say what a row is about.
    """
    numbers: dict[str, float] = {}
    for figure in figures:
        for row in figure.rows if figure.name in about else ():
            cells = dict(zip(figure.columns, row, strict=True))
            place = "/".join([figure.name, *(str(cells.pop(column)) for column in about[figure.name])])
            values = {
                column: cell for column, cell in cells.items() if not isinstance(cell, str) and math.isfinite(cell)
            }
            numbers |= {f"{place}/{column}": float(value) for column, value in values.items()}
    return numbers


def _read(folder: Path, entry: dict[str, object]) -> Figure:
    name = str(entry["name"])
    if not re.fullmatch(r"[a-z0-9_]+", name):
        raise ValueError(f"a figure is called {name!r}")
    rows = list(csv.reader((folder / f"{name}.csv").read_text(encoding="utf-8").splitlines()))
    picture = None
    if entry["picture"]:
        with Image.open(folder / f"{name}.png") as opened:
            picture = opened.convert("RGB")
    numbers = tuple(tuple(_cell(text) for text in row) for row in rows[1:])
    return Figure(name, str(entry["title"]), str(entry["caption"]), tuple(rows[0]), numbers, picture)


def _cell(text: str) -> Cell:
    try:
        return float(text)
    except ValueError:
        return text
