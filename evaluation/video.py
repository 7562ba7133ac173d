"""Moving pictures: MP4 files through FFmpeg's libraries (PyAV), GIF files through Pillow, each written whole or not at all."""

from collections.abc import Iterable, Iterator
from fractions import Fraction
from pathlib import Path
from typing import cast

import av
import numpy as np
from av.video.stream import VideoStream
from PIL import Image

from models.weights import whole_path
from renderers.errors import InputError

# H.264 plays everywhere; FFmpeg's own MPEG-4 is what builds without x264 have.
_CODECS = ("libx264", "mpeg4")
# Visually lossless for either codec, our choice: constant rate factor of x264, quantiser of MPEG-4 (1 is the best).
_QUALITY = {
    "libx264": {"crf": "16", "preset": "medium"},
    "mpeg4": {"qmin": "1", "qmax": "3"},
}
# Players show GIF frames of less than two hundredths of a second more slowly, at ten a second.
_FASTEST_GIF = 50
_FASTEST = 240


def video_codec() -> str:
    """The codec that MP4 files are written with: libx264 where FFmpeg was built with it, else mpeg4.

    Raises:
        InputError: where there is neither.
    """
    for codec in _CODECS:
        if codec in av.codecs_available:
            return codec
    raise InputError(f"expected FFmpeg with {' or '.join(_CODECS)} to write MP4, it has neither; install av from PyPI")


def write_mp4(path: Path, frames: Iterable[Image.Image], fps: float | int) -> int:
    """Write an MP4 video of `video_codec` (H.264 where FFmpeg has x264, which most players and browsers show), 4:2:0; frames are taken
    one at a time.

    Args:
        path: Where to write.
        frames: RGB pictures of one size. An odd last row or column is repeated once, because 4:2:0 stores colours in pairs of pixels.
        fps: Frames a second.

    Returns:
        The number of frames.

    Raises:
        InputError: for no frames, frames of different sizes, or a rate outside (0, 240].
    """
    _check_rate(fps, _FASTEST)
    codec = video_codec()
    count = 0
    with whole_path(path) as temporary:
        # The index goes to the front, so that a browser need not fetch the whole file first.
        with av.open(temporary, "w", format="mp4", options={"movflags": "+faststart"}) as container:
            stream: VideoStream | None = None
            for frame in _of_one_size(frames):
                pixels = _even(np.asarray(frame.convert("RGB")))
                if stream is None:
                    stream = cast(VideoStream, container.add_stream(codec, rate=Fraction(fps).limit_denominator(1001)))
                    stream.height, stream.width = pixels.shape[:2]
                    stream.pix_fmt = "yuv420p"
                    stream.options = {**_QUALITY[codec]}
                container.mux(stream.encode(av.VideoFrame.from_ndarray(pixels, format="rgb24")))
                count += 1
            if stream is None:
                raise InputError("expected at least one frame for a video, got none; give frames")
            container.mux(stream.encode())
    return count


def write_gif(path: Path, frames: Iterable[Image.Image], fps: float | int) -> int:
    """Write a GIF that repeats for ever, with 256 colours of each frame's own. Frames equal to the one before become a longer one.

    Args:
        path: Where to write.
        frames: Pictures of one size, RGB or from `with_palette`.
        fps: Frames a second, at most 50; the format rounds a frame's time to hundredths of a second.

    Returns:
        The number of frames given.

    Raises:
        InputError: for no frames, frames of different sizes, or a rate outside (0, 50].
    """
    _check_rate(fps, _FASTEST_GIF)
    pictures = [with_palette(frame) for frame in _of_one_size(frames)]
    if not pictures:
        raise InputError("expected at least one frame for a GIF, got none; give frames")
    with whole_path(path) as temporary:
        duration = 10 * max(1, round(100 / fps))
        pictures[0].save(
            temporary, format="GIF", save_all=True, append_images=pictures[1:], duration=duration, loop=0, disposal=1
        )
    return len(pictures)


def write_video(stem: Path, frames: Iterable[Image.Image], fps: float | int) -> int:
    """Write ``stem.mp4`` and ``stem.gif`` of the same frames, each made once; what is kept meanwhile is a byte per pixel.

    Args:
        stem: Path without a suffix.
        frames: RGB pictures of one size.
        fps: Frames a second, at most 50, the fastest of a GIF.

    Returns:
        The number of frames.

    Raises:
        InputError: as `write_mp4` and `write_gif`.
    """
    _check_rate(fps, _FASTEST_GIF)
    kept: list[Image.Image] = []

    def keep() -> Iterator[Image.Image]:
        for frame in frames:
            kept.append(with_palette(frame))
            yield frame

    # Names may have dots: a suffix is added, not exchanged.
    count = write_mp4(stem.with_name(f"{stem.name}.mp4"), keep(), fps)
    write_gif(stem.with_name(f"{stem.name}.gif"), kept, fps)
    return count


def with_palette(frame: Image.Image) -> Image.Image:
    """A picture of the 256 colours that suit it best, dithered, as GIF stores it; one with a palette is returned as it is."""
    if frame.mode == "P":
        return frame
    return frame.convert("RGB").quantize(256, Image.Quantize.MEDIANCUT, dither=Image.Dither.FLOYDSTEINBERG)


def check_gif_rate(fps: float | int) -> None:
    """Raise InputError for a rate that a GIF cannot have, before its frames are made."""
    _check_rate(fps, _FASTEST_GIF)


def _check_rate(fps: float | int, fastest: int) -> None:
    if not 0 < fps <= fastest:
        raise InputError(f"expected more than 0 and at most {fastest} frames a second, got {fps}; change --fps")


def _of_one_size(frames: Iterable[Image.Image]) -> Iterator[Image.Image]:
    size: tuple[int, int] | None = None
    for frame in frames:
        if size is not None and frame.size != size:
            raise InputError(f"expected frames of one size, {size} pixels, got one of {frame.size}; resize it")
        size = frame.size
        yield frame


def _even(pixels: np.ndarray) -> np.ndarray:
    height, width = pixels.shape[:2]
    if height % 2 == 0 and width % 2 == 0:
        return pixels
    return np.pad(pixels, ((0, height % 2), (0, width % 2), (0, 0)), mode="edge")
