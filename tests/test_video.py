"""Videos and GIFs: frames, sizes and rates read back, and files that are whole or not there."""

from collections.abc import Iterator
from pathlib import Path

import av
import numpy as np
import pytest
from PIL import Image

from evaluation.video import video_codec, with_palette, write_gif, write_mp4, write_video
from renderers.errors import InputError


def frames(count: int = 5, width: int = 48, height: int = 32) -> list[Image.Image]:
    """Flat pictures that grow redder."""
    colours = [(40 * index, 100, 200 - 40 * index) for index in range(count)]
    return [Image.fromarray(np.full((height, width, 3), colour, dtype=np.uint8)) for colour in colours]


def read_mp4(path: Path) -> tuple[list[np.ndarray], float]:
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        assert stream.pix_fmt == "yuv420p" and stream.average_rate is not None
        return [frame.to_ndarray(format="rgb24") for frame in container.decode(stream)], float(stream.average_rate)


def test_an_mp4_shows_its_frames_in_order(tmp_path):
    assert write_mp4(tmp_path / "a.mp4", iter(frames()), 12.5) == 5
    pictures, rate = read_mp4(tmp_path / "a.mp4")
    assert rate == 12.5 and len(pictures) == 5
    for picture, frame in zip(pictures, frames(), strict=True):
        assert picture.shape == (32, 48, 3) and abs(picture.astype(int) - np.asarray(frame)).max() < 8
    assert video_codec() in ("libx264", "mpeg4")


def test_odd_sizes_get_one_more_row_and_column(tmp_path):
    write_mp4(tmp_path / "a.mp4", frames(2, 47, 33), 25)
    assert read_mp4(tmp_path / "a.mp4")[0][0].shape == (34, 48, 3)


def test_a_gif_shows_its_frames_and_repeats(tmp_path):
    assert write_gif(tmp_path / "a.gif", frames(), 20) == 5
    with Image.open(tmp_path / "a.gif") as file:
        assert file.n_frames == 5 and file.info["duration"] == 50 and file.info["loop"] == 0
        file.seek(3)
        assert abs(np.asarray(file.convert("RGB")).astype(int) - np.asarray(frames()[3])).max() < 8
    palette = with_palette(frames()[0])
    assert palette.mode == "P" and with_palette(palette) is palette


def test_both_files_come_of_frames_made_once(tmp_path):
    assert write_video(tmp_path / "a.b", iter(frames()), 10) == 5
    assert {path.name for path in tmp_path.iterdir()} == {"a.b.mp4", "a.b.gif"}
    assert len(read_mp4(tmp_path / "a.b.mp4")[0]) == 5


@pytest.mark.parametrize("write", [write_mp4, write_gif, write_video])
def test_what_makes_no_video_is_refused_and_leaves_nothing(write, tmp_path):
    for pictures, fps in (
        ([], 25),
        (frames(1) + frames(1, 50), 25),
        (frames(), 0),
        (frames(), 1000),
        (frames(), float("nan")),
    ):
        with pytest.raises(InputError, match="expected"):
            write(tmp_path / "a.mp4", pictures, fps)
        assert not list(tmp_path.iterdir())


def test_an_interrupted_video_leaves_the_earlier_one(tmp_path):
    def broken() -> Iterator[Image.Image]:
        yield frames()[0]
        raise KeyboardInterrupt

    write_mp4(tmp_path / "a.mp4", frames(), 25)
    before = (tmp_path / "a.mp4").read_bytes()
    with pytest.raises(KeyboardInterrupt):
        write_mp4(tmp_path / "a.mp4", broken(), 25)
    assert (tmp_path / "a.mp4").read_bytes() == before and len(list(tmp_path.iterdir())) == 1
