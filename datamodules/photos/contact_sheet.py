"""Many crops on one picture, to be looked at."""

from collections.abc import Sequence
from pathlib import Path

from PIL import Image, ImageDraw, ImageFont

from datamodules.photos.decoding import one_line
from datamodules.photos.records import write_atomically
from renderers.errors import InputError

# The name under which `lightning align` writes one beside the crops.
CONTACT_SHEET = "contact_sheet.jpg"
CAPTION = 14
BACKGROUND, INK = (250, 250, 250), (40, 40, 40)


def contact_sheet(crops: Sequence[tuple[str, Path]], columns: int = 8, cell: int = 128) -> Image.Image:
    """Pictures in rows, each above its caption.

    Args:
        crops: caption and file of each.
        columns: per row, at most.
        cell: side of a picture on the sheet, in pixels.

    Raises: `InputError` for no pictures, sizes below 1, or a file that is no whole picture.
    """
    if not crops or columns < 1 or cell < 1:
        raise InputError(
            f"expected pictures, columns and cells, got {len(crops)}, {columns} and {cell}; give at least one each"
        )
    columns = min(columns, len(crops))
    rows = -(-len(crops) // columns)
    sheet = Image.new("RGB", (columns * cell, rows * (cell + CAPTION)), BACKGROUND)
    draw, font = ImageDraw.Draw(sheet), ImageFont.load_default(size=CAPTION - 4)
    for number, (caption, path) in enumerate(crops):
        left, top = number % columns * cell, number // columns * (cell + CAPTION)
        try:
            with Image.open(path) as file:
                picture = file.convert("RGB").resize((cell, cell), Image.Resampling.LANCZOS)
        except (OSError, ValueError, SyntaxError) as error:
            raise InputError(
                f"expected a whole picture in {path}, could not read it ({one_line(error)}); remove it and make it again"
            ) from error
        sheet.paste(picture, (left, top))
        draw.text((left + 2, top + cell), _fitting(caption, font, cell - 4), INK, font)
    return sheet


def _fitting(caption: str, font: ImageFont.ImageFont | ImageFont.FreeTypeFont, width: int) -> str:
    """The caption, without its beginning where it is too long."""
    # A file name may hold bytes that are no text, which the font cannot draw.
    caption = caption.encode("utf-8", "replace").decode()
    shown = caption
    while font.getlength(shown) > width and len(shown) > 2:
        shown = "…" + shown[2:]
    return shown


def write_contact_sheet(path: Path, crops: Sequence[tuple[str, Path]], columns: int = 8, cell: int = 128) -> Path:
    """Write a contact sheet as a JPEG file, whole or not at all."""
    sheet = contact_sheet(crops, columns, cell)
    write_atomically(path, lambda file: sheet.save(file, format="JPEG", quality=90))
    return path
