"""What one control of a rig does: curves of the value asked against the value read, and the range that they support."""

import bisect
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from renderers.errors import InputError

# Who measured. Portraits are drawn with the value itself, so their curve shows the errors of the judge alone.
CurveReader = Literal["judge", "landmarks", "face reconstruction", "judge on true portraits"]
READERS: tuple[CurveReader, ...] = ("judge", "landmarks", "face reconstruction", "judge on true portraits")
# Our choices. Where a control moves the picture by less than this share of its gain, it is as good as at its end; ...
SATURATED = 0.25
# ... one that moves it by less than this per unit asked is no control; ...
LEAST_GAIN = 0.1
# ... and a reader that sees less than this of what portraits truly have cannot tell.
LEAST_READ = 0.25
# Share of the width of the teacher's range by which a picture may differ from what was asked before that is worth a word.
TOLERANCE = 0.2
# Share of the generator's pictures whose values are within the teacher's range.
TEACHER_SHARE = 0.99


@dataclass(frozen=True)
class ControlCurve:
    """Values asked against values read.

    Attributes:
        reader: Who read the pictures.
        asked: Increasing, at least three.
        median: Of the values read over all codes, one per value asked.
        lower, upper: Their 10 % and 90 % quantiles.
    """

    reader: CurveReader
    asked: tuple[float, ...]
    median: tuple[float, ...]
    lower: tuple[float, ...]
    upper: tuple[float, ...]

    def __post_init__(self) -> None:
        lines = (self.asked, self.median, self.lower, self.upper)
        if len(self.asked) < 3 or len({len(line) for line in lines}) > 1:
            raise InputError(
                f"expected a curve of at least 3 values asked and as many read, got {[len(line) for line in lines]}; ask more values"
            )
        if not all(math.isfinite(value) for line in lines for value in line):
            raise InputError(
                f"expected finite values of a curve by the {self.reader}, got some that are not; measure it again"
            )
        if not all(first < second for first, second in zip(self.asked, self.asked[1:], strict=False)):
            raise InputError(f"expected increasing values asked, got {list(self.asked)}; sort them and ask each once")
        if not all(low <= mid <= high for low, mid, high in zip(self.lower, self.median, self.upper, strict=True)):
            raise InputError(
                f"expected medians between their quantiles of a curve by the {self.reader}, got others; measure it again"
            )
        if self.reader not in READERS:
            raise InputError(f"expected a reader among {', '.join(READERS)}, got {self.reader!r}; rename it")

    def at(self, asked: float) -> float:
        """The median read where a value is asked, linear between those measured and level beyond them."""
        return _interpolate(asked, self.asked, self.median)

    def slope(self, low: float, high: float) -> float:
        """Least-squares slope over the values asked from `low` to `high`, or over the three nearest to the middle if fewer are there."""
        inside = [index for index, value in enumerate(self.asked) if low <= value <= high]
        if len(inside) < 3:
            middle = (low + high) / 2
            inside = sorted(range(len(self.asked)), key=lambda index: abs(self.asked[index] - middle))[:3]
        x, y = ([line[index] for index in inside] for line in (self.asked, self.median))
        mean_x, mean_y = sum(x) / len(x), sum(y) / len(y)
        return sum((a - mean_x) * (b - mean_y) for a, b in zip(x, y, strict=True)) / sum((a - mean_x) ** 2 for a in x)


@dataclass(frozen=True)
class ControlCalibration:
    """What one control does.

    Two things bound what can be asked of it. The teacher, that is the generator: a value that hardly any of its pictures shows
    cannot be learnt from it. And the response: beyond some value asked, pictures follow no more, or turn back. A value is
    supported where neither speaks against it. All of it is in the eyes of the reader of the first curve, whose own errors a
    curve on true portraits tells.

    Attributes:
        control: Name of the slider.
        unit: ``deg``, ``sd`` for standard deviations, or nothing for strengths and shares.
        teacher_low, teacher_median, teacher_high: Median of the values over the generator's own unedited pictures, and the
            interval that holds the central 99 % of them.
        curves: By one reader each; the first is the one that counts.
    """

    control: str
    unit: str
    teacher_low: float
    teacher_median: float
    teacher_high: float
    curves: tuple[ControlCurve, ...]

    def __post_init__(self) -> None:
        if not self.control or not self.control.isprintable() or not self.unit.isprintable():
            raise InputError(
                f"expected the name of a control and its unit, got {self.control!r} and {self.unit!r}; name both"
            )
        if not self.curves or len({curve.reader for curve in self.curves}) < len(self.curves):
            raise InputError(
                f"expected curves of {self.control} by different readers, got {len(self.curves)}; measure each once"
            )
        ends = (self.teacher_low, self.teacher_median, self.teacher_high)
        if not all(math.isfinite(end) for end in ends) or list(ends) != sorted(ends):
            raise InputError(
                f"expected low, median and high of the teacher's {self.control}, got {list(ends)}; measure it again"
            )

    @property
    def curve(self) -> ControlCurve:
        """The curve that counts."""
        return self.curves[0]

    def curve_by(self, reader: CurveReader) -> ControlCurve | None:
        """The curve by a reader, where it was measured."""
        return next((curve for curve in self.curves if curve.reader == reader), None)

    @property
    def gain(self) -> float:
        """Change read per change asked inside the teacher's range (least squares); 1 is exact."""
        return self.curve.slope(self.teacher_low, self.teacher_high)

    @property
    def reader_gain(self) -> float | None:
        """Change read per change of portraits that truly have the values: the reader's share in `gain`; None where not measured."""
        portraits = self.curve_by("judge on true portraits")
        return None if portraits is None else portraits.slope(self.teacher_low, self.teacher_high)

    @property
    def readable(self) -> bool:
        """Whether the reader sees this property at all, as far as that is known."""
        return self.reader_gain is None or self.reader_gain >= LEAST_READ

    @property
    def responds(self) -> bool:
        """Whether the control is seen to move anything to speak of."""
        return self.readable and self.gain >= LEAST_GAIN

    @property
    def teacher_range(self) -> tuple[float, float]:
        """The interval that holds the central 99 % of the generator's own pictures."""
        return self.teacher_low, self.teacher_high

    @property
    def response_range(self) -> tuple[float, float]:
        """The values asked between which pictures follow.

        From the steepest step of the curve inside the teacher's range outwards, up to the first step over which the median read
        turns back, or rises by less than a quarter of `gain` per unit asked although it is not where it was asked to be (to within
        a fifth of the width of the teacher's range). Both ends are values asked; they are equal for a control that does not
        respond. An end that is the first or the last value asked says that nothing was seen beyond.
        """
        asked, _ = self._followed()
        return asked[0], asked[-1]

    @property
    def supported_range(self) -> tuple[float, float]:
        """`teacher_range` and `response_range` in common; the teacher's median alone where that is nothing."""
        low = max(self.teacher_low, self.response_range[0])
        high = min(self.teacher_high, self.response_range[1])
        return (low, high) if low < high and self.responds else (self.teacher_median, self.teacher_median)

    @property
    def _tolerance(self) -> float:
        return TOLERANCE * (self.teacher_high - self.teacher_low)

    def _followed(self) -> tuple[Sequence[float], Sequence[float]]:
        """The part of the curve that `response_range` describes: values asked and medians read, both increasing."""
        asked, median = self.curve.asked, self.curve.median
        slopes = [
            (after - before) / (end - start)
            for before, after, start, end in zip(median, median[1:], asked, asked[1:], strict=False)
        ]
        near = [abs(read - value) <= self._tolerance for value, read in zip(asked, median, strict=True)]
        follows = [
            slope > 0 and (slope >= SATURATED * self.gain or (near[step] and near[step + 1]))
            for step, slope in enumerate(slopes)
        ]
        inside = [
            step
            for step in range(len(slopes))
            if asked[step] < self.teacher_high and asked[step + 1] > self.teacher_low
        ]
        first = last = max(inside or range(len(slopes)), key=slopes.__getitem__)
        # The gain looks at three values at least, of which some may lie outside a narrow teacher's range within which nothing rises.
        if not self.responds or slopes[first] <= 0:
            nearest = min(range(len(asked)), key=lambda index: abs(asked[index] - self.teacher_median))
            return asked[nearest : nearest + 1], median[nearest : nearest + 1]
        while last + 1 < len(follows) and follows[last + 1]:
            last += 1
        while first > 0 and follows[first - 1]:
            first -= 1
        return asked[first : last + 2], median[first : last + 2]

    def asked_for(self, wanted: float, clamp: bool = False) -> float:
        """The value to ask so that the median picture shows `wanted`: the inverse of the curve over `response_range`.

        Args:
            wanted: Value to be read in the picture.
            clamp: Take the nearest value within reach in place of an error.

        Raises:
            InputError: for a value out of reach.
        """
        asked, median = self._followed()
        if not clamp and not median[0] <= wanted <= median[-1]:
            raise InputError(
                f"expected a {self.control} that the rig reaches, {self.said(median[0])} to {self.said(median[-1])}, "
                f"got {self.said(wanted)}; ask for one of these"
            )
        return _interpolate(wanted, median, asked)

    def warning(self, asked: Sequence[float]) -> str | None:
        """One plain line where values asked leave the supported range, or where pictures are known to differ much from them; None
        where there is nothing to say."""
        if not asked:
            return None
        if not self.readable:
            return (
                f"{self.control}: how far it goes is not known, the {self.curve.reader} reads {self.reader_gain:.2f} per 1 that portraits "
                "truly have"
            )
        low, high = self.supported_range
        beyond = [max(low - value, value - high, 0.0) for value in asked]
        missed = [abs(self.curve.at(value) - value) for value in asked]
        over = any(beyond)
        flagged = [value > 0 for value in beyond] if over else [value > self._tolerance for value in missed]
        if not any(flagged):
            return None
        worst = asked[max(range(len(asked)), key=(beyond if over else missed).__getitem__)]
        of = "" if len(asked) == 1 else f" for {sum(flagged)} of {len(asked)} codes"
        start, expected = (
            f"{self.control}: asked {self.said(worst)}{of}",
            f"expect about {self.said(self.curve.at(worst))}",
        )
        if not self.responds:
            return f"{start}, but this rig hardly moves it ({self.gain:.2f} per 1 asked); {expected}"
        if not over:
            return f"{start}, but this rig moves it by {self.gain:.2f} per 1 asked; {expected}"
        reason = "beyond that, pictures follow no more"
        if worst > self.teacher_high or worst < self.teacher_low:
            side, end = ("below", self.teacher_high) if worst > self.teacher_high else ("above", self.teacher_low)
            reason = f"nearly all of the generator's own pictures stay {side} {self.said(end)}"
        return f"{start}, supported is {self.said(low)} to {self.said(high)}: {reason}; {expected}"

    def said(self, value: float) -> str:
        """A value with its unit."""
        return f"{value:.0f} deg" if self.unit == "deg" else f"{value:.2f}{f' {self.unit}' if self.unit else ''}"


def _interpolate(value: float, x: Sequence[float], y: Sequence[float]) -> float:
    """Linear between points of increasing `x`, level beyond them."""
    if value <= x[0]:
        return y[0]
    if value >= x[-1]:
        return y[-1]
    after = bisect.bisect_right(x, value)
    share = (value - x[after - 1]) / (x[after] - x[after - 1])
    return y[after - 1] + share * (y[after] - y[after - 1])
