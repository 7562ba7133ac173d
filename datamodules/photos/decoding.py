"""Photos from files, of whatever kind, as upright 8-bit RGB pictures; and which files of a folder are photos."""

import hashlib
import io
import warnings
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image, ImageCms

from renderers.errors import InputError

# Formats that hold photographs and that Pillow decodes itself. Others stay closed: EPS, for one, would run Ghostscript.
# A telephone's MPO opens as JPEG; AVIF came with Pillow 11.3.
FORMATS = ("JPEG", "PNG", "WEBP", "TIFF", "BMP", "GIF", "PPM", "JPEG2000", "AVIF")
SUFFIXES = frozenset(
    ".jpg .jpeg .jpe .jfif .mpo .png .webp .tif .tiff .bmp .gif .ppm .pgm .pbm .jp2 .j2k .avif".split()
)
# Photos of the usual telephones and Apple software: reported as unreadable rather than left out without a word.
UNREADABLE_SUFFIXES = frozenset(".heic .heif".split())
# Pillow refuses more at opening, whatever is asked of it.
PILLOW_LIMIT = 178_956_970
# Above any camera in use; the largest medium-format sensors have 151 million pixels.
DEFAULT_MAX_PIXELS = 160_000_000
ORIENTATION_TAG = 0x0112
# EXIF 2.3, section 4.6.4: what makes a picture of each orientation upright.
UPRIGHT = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
# Colour space of an ICC profile and the mode of pictures that it describes.
PROFILED_MODES = {"RGB": "RGB", "CMYK": "CMYK", "GRAY": "L"}


@dataclass(frozen=True)
class Photo:
    """A decoded photo.

    Attributes:
        image: upright, mode RGB, sRGB colours; of an animation the first frame.
        sha256: of the file.
    """

    image: Image.Image
    sha256: str


def list_photos(source: Path, output: Path | None = None) -> dict[str, Path]:
    """Photos of a file or folder (with its subfolders) by a name of their own, in the order of their paths.

    The name is the path below `source` without its suffix, for instance ``holiday/beach``; where two photos would share it,
    with the suffix. Hidden files, other kinds of file, and what lies in `output` are left out.

    Raises: `InputError` if there is no photo, or if all of `source` lies in `output`.
    """
    if source.is_file():
        return {source.stem: source}
    if not source.is_dir():
        raise InputError(f"expected a photo or a folder of photos, found nothing at {source}; correct the path")
    output = output.resolve() if output else None
    if output and output in (source.resolve(), *source.resolve().parents):
        raise InputError(
            f"expected a folder for the crops that does not hold the photos, got {output} for those in {source}; name another folder"
        )
    found: dict[Path, list[Path]] = {}
    for path in sorted(source.rglob("*")):
        relative = path.relative_to(source)
        if any(part.startswith(".") for part in relative.parts) or (output and output in path.resolve().parents):
            continue
        if path.suffix.lower() in SUFFIXES | UNREADABLE_SUFFIXES and path.is_file():
            found.setdefault(relative.parent, []).append(path)
    if not found:
        raise InputError(
            f"expected photos in {source}, found none ({', '.join(sorted(SUFFIXES))}); name another folder"
        )
    named = {}
    for folder, paths in found.items():
        # Without regard to case, since the crops may be written to a file system that has none.
        stems = [path.stem.casefold() for path in paths]
        taken = {path.name.casefold() for path in paths}
        for path, stem in zip(paths, stems, strict=True):
            unique = stems.count(stem) == 1 and stem not in taken
            named[(folder / (path.stem if unique else path.name)).as_posix()] = path
    return dict(sorted(named.items(), key=lambda item: item[1]))


def decode_photo(path: Path, max_pixels: int = DEFAULT_MAX_PIXELS) -> Photo:
    """Read and decode a photo.

    Args:
        path: the file.
        max_pixels: larger pictures are refused before they are decoded.

    Raises: `InputError` if the file is missing, no picture of a known format, damaged, or too large.
    """
    try:
        content = path.read_bytes()
    except OSError as error:
        raise InputError(
            f"expected a photo at {path}, could not read it ({error.strerror}); correct the path"
        ) from error
    return decode_bytes(content, path, max_pixels)


def decode_bytes(content: bytes, path: Path, max_pixels: int = DEFAULT_MAX_PIXELS) -> Photo:
    """Decode a file's content, as `decode_photo` does; `path` names it in errors."""
    # An upper bound on Pillow's own warning and error: ours comes before both and says what to do.
    limit = min(max_pixels, PILLOW_LIMIT)
    Image.init()
    formats = [name for name in FORMATS if name in Image.OPEN]
    try:
        with warnings.catch_warnings():
            # Damaged metadata and the like, of which a pipeline of many photos says nothing as long as the pixels are whole.
            warnings.simplefilter("ignore")
            with Image.open(io.BytesIO(content), formats=formats) as file:
                if file.width * file.height > limit:
                    raise InputError(
                        f"expected at most {limit / 1e6:g} million pixels, {path} has {file.width}x{file.height}; reduce the photo"
                    )
                file.load()
                image = _upright(file, _rgb(file))
    except InputError:
        raise
    except Image.DecompressionBombError as error:
        raise InputError(
            f"expected at most {limit / 1e6:g} million pixels, {path} has more; reduce the photo"
        ) from error
    except MemoryError as error:
        raise InputError(f"expected a photo that fits the memory, {path} does not; reduce the photo") from error
    except Exception as error:  # damaged files raise a dozen kinds of exception in Pillow's decoders
        raise InputError(
            f"expected a whole {', '.join(formats)} file, {path} is none ({_what_is_wrong(error)}); convert or replace it"
        ) from error
    return Photo(image, hashlib.sha256(content).hexdigest())


def one_line(error: BaseException) -> str:
    """The message of an exception on one line, or its kind where it has none."""
    return " ".join(str(error).split()) or type(error).__name__


def _what_is_wrong(error: Exception) -> str:
    return "another format" if isinstance(error, Image.UnidentifiedImageError) else one_line(error)[:150]


def _upright(file: Image.Image, image: Image.Image) -> Image.Image:
    try:
        orientation = file.getexif().get(ORIENTATION_TAG, 1)
    except Exception:  # metadata that cannot be read does not make the pixels unusable
        orientation = 1
    turn = UPRIGHT.get(orientation)
    return image if turn is None else image.transpose(turn)


def _rgb(file: Image.Image) -> Image.Image:
    """8-bit sRGB of any mode; transparent parts show white."""
    image = _with_alpha(file, _eight_bit(file))
    if image.mode in ("RGBA", "LA", "PA", "La", "RGBa"):
        image = image.convert("RGBA")
        white = Image.new("RGBA", image.size, "white")
        image = Image.alpha_composite(white, image).convert("RGB")
    elif image.mode not in PROFILED_MODES.values():
        image = image.convert("RGB")
    return _srgb(image, file.info.get("icc_profile"))


def _with_alpha(file: Image.Image, image: Image.Image) -> Image.Image:
    """A picture whose file declares one of its colours, or shares of its palette, transparent, as RGBA; others as they are."""
    transparent = file.info.get("transparency")
    if transparent is None or "A" in image.getbands():
        return image
    if file.mode.startswith("I"):
        # Compared before the reduction to 8 bits, in which neighbours of the transparent grey fall together with it.
        alpha = Image.fromarray(np.where(np.asarray(file) == transparent, 0, 255).astype(np.uint8))
        image = image.convert("RGB")
        image.putalpha(alpha)
        return image
    try:
        return image.convert("RGBA")
    except (ValueError, TypeError):  # a declaration that does not fit the mode leaves the pixels usable
        return image


def _eight_bit(image: Image.Image) -> Image.Image:
    """Grey pictures of 16, 32 or floating-point bits as 8 bits; all others as they are.

    Whole numbers above 255 count as 16-bit. Floating-point pictures hold 0..1 where nothing is above 1, else 0..255.
    """
    if not (image.mode.startswith("I") or image.mode == "F"):
        return image
    values = np.asarray(image).astype(np.float32)
    highest = float(np.nanmax(values, initial=0.0))
    if image.mode == "F":
        scale = 255.0 if highest <= 1 else 1.0
    else:
        scale = 255 / 65535 if highest > 255 or image.mode.startswith("I;16") else 1.0
    return Image.fromarray(np.nan_to_num(values * scale).round().clip(0, 255).astype(np.uint8))


def _srgb(image: Image.Image, profile: bytes | None) -> Image.Image:
    """Colours by the embedded ICC profile, if there is one that fits, to sRGB."""
    if profile:
        try:
            source = ImageCms.ImageCmsProfile(io.BytesIO(profile))
            fits = PROFILED_MODES.get(source.profile.xcolor_space.strip()) == image.mode
            if fits and "sRGB" not in (source.profile.profile_description or ""):
                converted = ImageCms.profileToProfile(image, source, ImageCms.createProfile("sRGB"), outputMode="RGB")
                assert converted is not None
                return converted
        except (ImageCms.PyCMSError, OSError):
            # A profile that cannot be used: show the colours as they are, as viewers do.
            pass
    return image.convert("RGB")
