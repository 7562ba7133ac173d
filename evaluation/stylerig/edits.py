"""Measurement of edits: is each component changed as asked, and what else changes, against style mixing for the same error."""

import math
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from evaluation.frechet import frechet_distance
from evaluation.picture_readers import Reader, Reading, join, unit_of
from evaluation.reading_changes import median_of
from models.morphable import FaceParameters
from models.stylegan2 import Generator
from models.stylerig import ParameterReader, RigNetwork

# Edited codes of (codes to edit, codes whose component they are to take).
Transfer = Callable[[Tensor, Tensor], Tensor]

_AXES = ("pitch", "yaw", "roll")


def transfer_by(network: RigNetwork, face_reconstruction: ParameterReader, component: str) -> Transfer:
    """StyleRig's mixing (section 8.1): codes with one component of other codes, all else asked to stay as F reads it."""

    def transfer(codes: Tensor, sources: Tensor) -> Tensor:
        own, source = face_reconstruction.parameters_of(codes), face_reconstruction.parameters_of(sources)
        return network.edit(codes, own.pack(), own.with_components_from(source, (component,)).pack())

    return transfer


def coarse_layers_of(count: int) -> Transfer:
    """Style mixing (Karras et al. 2019): the first `count` layers of the sources."""

    def transfer(codes: Tensor, sources: Tensor) -> Tensor:
        return torch.cat([sources[:, :count], codes[:, count:]], dim=1)

    return transfer


def edited_by(
    network: RigNetwork,
    face_reconstruction: ParameterReader,
    codes: Float[Tensor, "batch layers width"],
    change: Callable[[FaceParameters], FaceParameters],
) -> Float[Tensor, "batch layers width"]:
    """Codes edited to what `change` makes of their own parameters, as F reads them."""
    own = face_reconstruction.parameters_of(codes)
    return network.edit(codes, own.pack(), change(own).pack())


@dataclass(frozen=True)
class TransferMeasurement:
    """What a transfer of a component did, medians over pairs; distances are in degrees for the rotation, else root mean
    squares over coefficients in spreads (see `evaluation.reading_changes`).

    Attributes:
        moved: Distance between the component achieved and the code's own.
        error: Distance between the component achieved and the source's.
        axis_error_deg: Absolute differences in pitch, yaw and roll; empty for other components than the rotation.
        changes: How far each property that should stay has moved: see `evaluation.picture_readers.Reader.changes`.
    """

    moved: float
    error: float
    axis_error_deg: dict[str, float]
    changes: dict[str, float]

    def as_dict(self, component: str) -> dict[str, Any]:
        """Plain values for JSON, named by what was measured: those of the rotation in degrees."""
        if component != "rotation":
            return {"moved": self.moved, "error": self.error, "changes": self.changes}
        return {
            "turn_deg": self.moved,
            "rotation_error_deg": self.error,
            "axis_error_deg": self.axis_error_deg,
            "changes": self.changes,
        }


@dataclass(frozen=True)
class EditMeasurement:
    """Edits of one component over unseen pairs, read by one reader.

    Attributes:
        component: What was edited.
        reader: Who read the pictures.
        pairs: Number of pairs (w, v): the component of v is asked of w.
        unedited: w itself against v: the error that an edit has to remove.
        edited: StyleRig's.
        mixing: Style mixing with 1, 2, ... coarse layers of v, up to the first whose error is no larger than StyleRig's. Coarse layers
            carry the pose; what finer ones carry, as the light, mixing of those alone could take at less change of the rest.
        error_ratio: Error edited over unedited; infinite where nothing was asked.
        slope: Achieved per asked, both from w's own, over all coefficients in spreads (least squares; 1 is exact); NaN where nothing
            was asked.
        yaw_slope: The same of the yaw alone; None for other components than the rotation.
        change_ratio: Change of each kept property by StyleRig over that by style mixing for the same error, interpolated between the
            numbers of layers on both sides of it. Infinite where style mixing changes nothing for it, as for an edit that is no
            better than none. Empty for readers of the pose alone.
        frechet_to_unedited: Fréchet distance between the reader's features of the edited pictures and those of w; None for readers
            without features and for a single pair.
        frechet_between_codes: That between the pictures of v and of w: what sampling alone causes.
        code_change: Root mean square change of the codes' entries, in units of that of the deviation of W.
    """

    component: str
    reader: str
    pairs: int
    unedited: TransferMeasurement
    edited: TransferMeasurement
    mixing: dict[int, TransferMeasurement]
    error_ratio: float
    slope: float
    yaw_slope: float | None
    change_ratio: dict[str, float]
    frechet_to_unedited: float | None
    frechet_between_codes: float | None
    code_change: float

    def as_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        steps = {name: getattr(self, name).as_dict(self.component) for name in ("unedited", "edited")}
        mixing = {count: step.as_dict(self.component) for count, step in self.mixing.items()}
        return {**asdict(self), "unit": unit_of(self.component), **steps, "mixing": mixing}


@torch.no_grad()
def read_codes(
    generator: Generator, reader: Reader, codes: Float[Tensor, "codes layers width"], batch_size: int = 50
) -> Reading:
    """What a reader sees in the pictures of codes, clamped to [-1, 1]."""
    return join([reader.read(generator.synthesis(part).clamp(-1, 1), part) for part in codes.split(batch_size)])


@torch.no_grad()
def measure_edits(
    generator: Generator,
    transfer: Transfer,
    reader: Reader,
    w: Float[Tensor, "pairs layers width"],
    v: Float[Tensor, "pairs layers width"],
    component: str,
    batch_size: int = 50,
) -> EditMeasurement:
    """Ask a component of v of w, pair by pair, and read what came.

    Args:
        generator: The generator of the codes.
        transfer: The edit to measure.
        reader: Reads pictures: the judge, which took no part in the training, where it knows such pictures.
        w, v: Codes of unseen pairs.
        component: What is edited, one of the reader's.
        batch_size: Pictures at a time.
    """

    def read(codes: Tensor) -> Reading:
        return read_codes(generator, reader, codes, batch_size)

    def compare(result: Reading) -> TransferMeasurement:
        return compare_readings(reader, result, own, source, component)

    edited_codes = torch.cat([transfer(*parts) for parts in zip(w.split(batch_size), v.split(batch_size), strict=True)])
    own, source, edited = read(w), read(v), read(edited_codes)
    unedited_result, edited_result = compare(own), compare(edited)
    mixing: dict[int, TransferMeasurement] = {}
    for count in range(1, generator.num_layers + 1):
        mixing[count] = compare(read(coarse_layers_of(count)(w, v)))
        if mixing[count].error <= edited_result.error:
            break
    numbers = [reader.coefficients(component, reading) for reading in (own, source, edited)]
    asked, achieved = numbers[1] - numbers[0], numbers[2] - numbers[0]
    same_error = _changes_at(edited_result.error, [unedited_result, *mixing.values()])
    return EditMeasurement(
        component=component,
        reader=reader.name,
        pairs=len(w),
        unedited=unedited_result,
        edited=edited_result,
        mixing=mixing,
        error_ratio=_ratio(edited_result.error, unedited_result.error),
        slope=_slope(asked, achieved),
        yaw_slope=_slope(asked[:, 1], achieved[:, 1]) if component == "rotation" else None,
        change_ratio={name: _ratio(edited_result.changes[name], same_error[name]) for name in same_error},
        frechet_to_unedited=_frechet(reader, edited, own),
        frechet_between_codes=_frechet(reader, source, own),
        code_change=float(((edited_codes - w).square().mean() / generator.std_w.square().mean()).sqrt()),
    )


def compare_readings(
    reader: Reader, result: Reading, own: Reading, source: Reading, component: str = "rotation"
) -> TransferMeasurement:
    """What a result shows against what it was made of (`own`) and what it was asked (`source`)."""
    moved, error = (median_of(reader.distance(component, result, other)) for other in (own, source))
    axes: Sequence[float] = ()
    if component == "rotation":
        axes = [median_of(axis) for axis in (result.rotation - source.rotation).rad2deg().abs().unbind(dim=1)]
    changes = {name: median_of(change) for name, change in reader.changes(own, result, component).items()}
    return TransferMeasurement(moved, error, dict(zip(_AXES, axes, strict=False)), changes)


def _slope(asked: Tensor, achieved: Tensor) -> float:
    # Tensors divide zero by zero to NaN.
    return float((asked * achieved).sum() / asked.square().sum())


def _ratio(value: float, reference: float) -> float:
    return value / reference if reference > 0 else math.inf


def _frechet(reader: Reader, first: Reading, second: Reading) -> float | None:
    features = [reader.features(reading) for reading in (first, second)]
    if features[0] is None or features[1] is None or len(features[0]) < 2:
        return None
    # On the CPU, as Apple's devices have no float64.
    return frechet_distance(features[0].cpu(), features[1].cpu())


def _changes_at(error: float, steps: list[TransferMeasurement]) -> dict[str, float]:
    """Changes of style mixing at an error, linear between the last two steps, which lie on both sides of it."""
    before, after = steps[-2], steps[-1]
    span = before.error - after.error
    share = (before.error - error) / span if span > 0 else 1.0
    share = min(max(share, 0.0), 1.0)
    return {name: before.changes[name] + share * (after.changes[name] - before.changes[name]) for name in after.changes}
