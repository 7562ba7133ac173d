"""The README's picture of alignment: python benchmarks/align_picture.py PHOTO OUT.jpg; without PHOTO, scikit-image's astronaut.

Four panels: the photo with its largest face's quad and five points, the crop, the crop made grey, and that pasted back.
"""

import argparse
import sys
import tempfile
from pathlib import Path

from PIL import Image, ImageDraw

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import torch

from datamodules.photos import AlignSettings, align_photos, decode_photo, list_photos, paste_back, read_record
from renderers.errors import InputError

PANEL, GAP = 384, 8
YELLOW = (255, 215, 0)


def panels(path: Path, size: int) -> list[Image.Image]:
    """The four pictures of a photo.

    Raises: `InputError` if it cannot be read or shows no face.
    """
    photo = decode_photo(path).image
    with tempfile.TemporaryDirectory() as folder:
        output = Path(folder)
        (outcome,) = align_photos(list_photos(path), path, output, AlignSettings(size=size, faces="largest"))
        if outcome.failure:
            raise InputError(f"expected a face in {path}, got none ({outcome.failure}); name another photo")
        (face,) = read_record(output / f"{outcome.name}.faces.json").faces
        crop = Image.open(output / face.crop).convert("RGB")
    found, line = photo.copy(), max(2, max(photo.size) // 250)
    draw = ImageDraw.Draw(found)
    corners = [(x, y) for x, y in face.quad]
    draw.line([*corners, corners[0]], YELLOW, line)
    for x, y in face.to_photo(torch.tensor(face.points)).tolist():
        draw.ellipse((x - 2 * line, y - 2 * line, x + 2 * line, y + 2 * line), fill=YELLOW)
    edited = crop.convert("L").convert("RGB")
    return [found, crop, edited, paste_back(photo, edited, face)]


def main(arguments: list[str] | None = None) -> None:
    """Write the picture."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("photo", type=Path, nargs="?", help="with a face; scikit-image's astronaut by default")
    parser.add_argument("out", type=Path, help="picture to write")
    options = parser.parse_args(arguments)
    try:
        if options.photo is None:
            from skimage.data import astronaut

            with tempfile.TemporaryDirectory() as folder:
                photo = Path(folder) / "astronaut.png"
                Image.fromarray(astronaut()).save(photo)
                pictures = panels(photo, PANEL)
        else:
            pictures = panels(options.photo, PANEL)
    except InputError as error:
        parser.error(str(error))
    row = [picture.resize((round(picture.width * PANEL / picture.height), PANEL)) for picture in pictures]
    sheet = Image.new("RGB", (sum(p.width for p in row) + GAP * (len(row) - 1), PANEL), "white")
    left = 0
    for picture in row:
        sheet.paste(picture, (left, 0))
        left += picture.width + GAP
    sheet.save(options.out, quality=90)


if __name__ == "__main__":
    main()
