"""Moving views of faces: what the frames of a turntable ask, and pictures of several faces side by side in a frame."""

import math
from collections.abc import Callable, Iterable, Iterator, Sequence

from PIL import Image
from torch import Tensor

from evaluation.report import picture_grid, to_picture
from models.stylerig.sliders import Slider
from renderers.errors import InputError

# Eight minutes at 25 frames a second; beyond it a slip of the keyboard is likelier than a wish.
MOST_FRAMES = 12_000
# Pictures of a frame or sheet that shows several faces are reduced to this width.
_WIDTH = 256


def turntable(yaw_deg: float, frames: int) -> list[tuple[Slider, ...]]:
    """Heads that swing once from the front to one side, to the other and back, slowest at the ends; a loop without a jerk.

    Args:
        yaw_deg: The furthest yaw; negative begins to the image's left.
        frames: Of the loop.

    Raises:
        InputError: for fewer than four frames or more than 12,000, and an angle beyond 180 degrees.
    """
    if not 4 <= frames <= MOST_FRAMES:
        raise InputError(f"expected 4 to {MOST_FRAMES} frames of a turntable, got {frames}; correct them")
    return [(Slider("yaw", yaw_deg * math.sin(2 * math.pi * frame / frames)),) for frame in range(frames)]


def view_frames(
    draw: Callable[[Sequence[Slider]], Iterable[Tensor]], steps: Iterable[Sequence[Slider]]
) -> Iterator[Image.Image]:
    """Frames of a video, in each the views of all faces, drawn as it is needed.

    Args:
        draw: Gives (3, H, W) in [-1, 1] of each face under what a frame asks.
        steps: What each frame asks.
    """
    for step in steps:
        yield side_by_side([to_picture(image) for image in draw(step)])


def side_by_side(pictures: Sequence[Image.Image]) -> Image.Image:
    """Square pictures as nearly square as they go, each reduced to 256 pixels; one alone stays as it is."""
    if len(pictures) == 1:
        return pictures[0]
    small = [thumbnail(picture) for picture in pictures]
    columns = math.ceil(math.sqrt(len(small)))
    return picture_grid([small[start : start + columns] for start in range(0, len(small), columns)])


def thumbnail(picture: Image.Image) -> Image.Image:
    """A square picture reduced to 256 pixels where it has more."""
    side = min(picture.width, _WIDTH)
    return picture.resize((side, side), Image.Resampling.LANCZOS)
