"""Moving pictures of a rig: codes edited by sliders that go from one value to another."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from jaxtyping import Float
from PIL import Image
from torch import Tensor

from evaluation.code_edits import CodeEdit
from evaluation.moving_views import MOST_FRAMES, side_by_side
from models.latent_directions import LatentDirection, LatentMove
from models.stylegan2.generator import NoiseMode
from models.stylegan2.sampling import pictures_of_codes
from models.stylerig.opening import OpenedRig
from models.stylerig.sliders import Slider
from renderers.errors import InputError


@dataclass(frozen=True)
class Sweep:
    """A slider that moves evenly from one value to another.

    Attributes:
        name: Of the slider.
        start, end: Values of the first and the last frame, in the slider's unit.
        frames: At least two.
        relative: As of `Slider`.

    Raises:
        InputError: for values that the slider does not take, or a number of frames outside 2 to 12,000.
    """

    name: str
    start: float
    end: float
    frames: int
    relative: bool = False

    def __post_init__(self) -> None:
        _check_frames(self.name, self.frames)
        for frame in (0, self.frames - 1):
            self.at(frame)

    def at(self, frame: int) -> Slider:
        """The slider in a frame, counted from 0."""
        share = frame / (self.frames - 1)
        return Slider(self.name, (1 - share) * self.start + share * self.end, self.relative)


@dataclass(frozen=True)
class DirectionSweep:
    """A move along a linear direction whose amount goes evenly from one value to another.

    Attributes:
        direction: Along which.
        name: As it was asked for.
        start, end: Amounts of the first and the last frame, in the direction's spreads.
        frames: At least two.

    Raises:
        InputError: for amounts that are not finite, or a number of frames outside 2 to 12,000.
    """

    direction: LatentDirection
    name: str
    start: float
    end: float
    frames: int

    def __post_init__(self) -> None:
        _check_frames(self.name, self.frames)
        for frame in (0, self.frames - 1):
            self.at(frame)

    def at(self, frame: int) -> LatentMove:
        """The move in a frame, counted from 0."""
        share = frame / (self.frames - 1)
        return LatentMove(self.direction, (1 - share) * self.start + share * self.end)


def sweep_frames(
    opened: OpenedRig,
    codes: Float[Tensor, "codes layers width"],
    edit: CodeEdit,
    sweeps: Sequence[Sweep | DirectionSweep],
    there_and_back: bool = False,
    noise: NoiseMode = "const",
    batch_size: int = 16,
) -> Iterator[Image.Image]:
    """Frames of sweeps that run together, in each the pictures of all codes, side by side as nearly square as they go.

    Args:
        opened: The rig.
        codes: At least one; of several, pictures are reduced to 256 pixels.
        edit: What is asked in all frames; sweeps come on top.
        sweeps: At least one, all of as many frames.
        there_and_back: Return to the start, with neither end shown twice in a row when it repeats.
        noise: Of the generator.
        batch_size: Pictures drawn together.
    """
    count = sweeps[0].frames
    kept: list[Image.Image] = []
    for frame in range(count):
        moved = edit.with_steps([sweep.at(frame) for sweep in sweeps])
        pictures = [
            picture
            for start in range(0, len(codes), batch_size)
            for picture in _pictures(opened, codes, moved, slice(start, start + batch_size), noise)
        ]
        picture = side_by_side(pictures)
        if there_and_back and 0 < frame < count - 1:
            kept.append(picture)
        yield picture
    yield from reversed(kept)


def sweep_steps(sweeps: Sequence[Sweep], there_and_back: bool) -> list[tuple[Slider, ...]]:
    """What each frame of sweeps that run together asks, none for no sweeps; returning, neither end is shown twice in a row when it
    repeats."""
    frames = [tuple(each.at(frame) for each in sweeps) for frame in range(sweeps[0].frames)] if sweeps else []
    return [*frames, *frames[-2:0:-1]] if there_and_back else frames


def _check_frames(name: str, frames: int) -> None:
    if not 2 <= frames <= MOST_FRAMES:
        raise InputError(f"expected 2 to {MOST_FRAMES} frames of a sweep of {name}, got {frames}; correct them")


def _pictures(opened: OpenedRig, codes: Tensor, edit: CodeEdit, rows: slice, noise: NoiseMode) -> list[Image.Image]:
    edited, _, _ = edit.of_rows(rows).run(opened, codes[rows].to(opened.generator.mean_w.device))
    return [
        Image.fromarray(pixels)
        for pixels in pictures_of_codes(opened.generator, edited, noise).permute(0, 2, 3, 1).numpy()
    ]
