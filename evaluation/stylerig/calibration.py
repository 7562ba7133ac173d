"""Calibration of a rig: each slider is asked of unseen codes, and what the pictures show is read."""

from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType

import torch
from jaxtyping import Float
from torch import Tensor

from datamodules.latent_pairs import PairRecipe
from datamodules.portraits import PortraitSampler
from evaluation.picture_readers import JudgeReader, LandmarkReader, Reader, Reading, join
from evaluation.stylerig.calibrated_controls import AskedControl, slider_values
from models.morphable import FaceParameters, MorphableModel
from models.observers import Judge
from models.stylegan2 import Generator
from models.stylerig.calibration import RigCalibration, rig_digest
from models.stylerig.control_curves import TEACHER_SHARE, ControlCalibration, ControlCurve, CurveReader
from models.stylerig.rig import Rig
from models.stylerig.rig_network import RigNetwork
from models.stylerig.sliders import Slider
from renderers.errors import InputError

# Codes whose readings lie in the band of a curve.
_BAND = (0.1, 0.9)
# Portraits are drawn up to so many deviations of the number that moves a slider: what hardly any portrait shows.
_FURTHEST = 2.6
# Fewer portraits around a value than this have no median to speak of.
_FEWEST = 4
# Stream of portraits by seed: those that the judge and the generator were trained on have smaller ones.
_PORTRAIT_SEED = 91_000


@torch.no_grad()
def calibrate(
    rig: Rig,
    generator: Generator,
    face_model: MorphableModel,
    reader: Reader,
    controls: Sequence[AskedControl],
    portrait_curves: Mapping[str, ControlCurve] = MappingProxyType({}),
    recipe: PairRecipe = PairRecipe(),
    codes: int = 200,
    samples: int = 1000,
    batch_size: int = 50,
    announce: Callable[[str], None] = lambda text: None,
) -> RigCalibration:
    """Ask every value of every slider of unseen codes, as an absolute value and one slider at a time, and read the pictures.

    Args:
        rig: Of one network, which the calibration belongs to.
        generator: Of its codes.
        face_model: Of its parameters.
        reader: Reads the pictures, as the curve that counts; F reads the edited codes besides.
        controls: What to ask; those that the reader cannot read are left out.
        portrait_curves: Of the same reader, from `judge_curves`, to be kept beside.
        recipe: Of the codes; those of its test split were never trained on.
        codes: Number of codes that each value is asked of.
        samples: Number of other codes whose unedited pictures tell what the generator shows.
        batch_size: Pictures at a time.
        announce: Told what is being done.

    Raises:
        InputError: for a rig of several networks, fewer than 10 codes or 20 samples, or where no slider can be read.
    """
    network = _only(rig)
    if codes < 10 or samples < 20:
        raise InputError(f"expected at least 10 codes and 20 samples to calibrate with, got {codes} and {samples}; raise them")
    readable = [control for control in controls if control.component in reader.components]
    if not readable:
        raise InputError(
            f"expected a slider of what the reader tells, {', '.join(reader.components)}, got {len(controls)} others; "
            "name a judge that knows such pictures"
        )

    def seen(edited: Float[Tensor, "batch layers width"]) -> Reading:
        return join([reader.read(generator.synthesis(part).clamp(-1, 1), part) for part in edited.split(batch_size)])

    pairs = recipe.pairs(generator, "test", torch.arange(max(codes, samples), device=generator.mean_w.device))
    announce(f"reading {samples} of the generator's own pictures")
    # The second codes of the pairs; the first ones are edited.
    unedited, w = seen(pairs.v[:samples]), pairs.w[:codes]
    name, tails = _name_of(reader), (1 - TEACHER_SHARE) / 2
    calibrated = []
    for control in readable:
        announce(f"asking {len(control.asked)} values of {control.name} of {codes} codes")
        in_pictures, in_codes = [], []
        for asked in control.asked:
            edited = rig.edit_by(w, [Slider(control.name, asked)], face_model)
            in_pictures.append(slider_values(seen(edited), control.name, face_model))
            in_codes.append(slider_values(rig.parameters_of(edited), control.name, face_model))
        teacher = _quantiles(slider_values(unedited, control.name, face_model), (tails, 0.5, 1 - tails))
        curves = [curve_of(name, control.asked, in_pictures)]
        if name != "face reconstruction":
            curves.append(curve_of("face reconstruction", control.asked, in_codes))
        if control.name in portrait_curves:
            curves.append(portrait_curves[control.name])
        calibrated.append(ControlCalibration(control.name, control.unit, *teacher, tuple(curves)))
    return RigCalibration(rig_digest(network), codes, samples, tuple(calibrated))


@torch.no_grad()
def judge_curves(
    judge: Judge,
    sampler: PortraitSampler,
    controls: Sequence[AskedControl],
    image_size: int,
    portraits: int = 120,
    seed: int = _PORTRAIT_SEED,
    batch_size: int = 16,
) -> dict[str, ControlCurve]:
    """What the judge reads of portraits that truly have the values asked: its own share in a calibration.

    The same people are drawn with the one latent number that moves a slider spread evenly, so that its whole range is shown; the
    true values, which other numbers move as well, are gathered around those asked.

    Args:
        judge: Reads the portraits.
        sampler: Draws them; its face model has the sliders.
        controls: Those without such a number are left out, and so are values that fewer than four portraits come near.
        image_size: Pixels.
        portraits: Number per slider.
        seed: Of the portraits.
        batch_size: Portraits drawn at a time.

    Returns:
        Slider to curve.
    """
    people, curves = torch.arange(portraits), {}
    for control in controls:
        if control.portrait_number is None:
            continue
        part, place = control.portrait_number
        latents = sampler.latents(people, torch.zeros_like(people), seed)
        latents[:, sampler.layout.slices[part].start + place] = torch.linspace(-_FURTHEST, _FURTHEST, portraits).to(latents)
        reading = join([judge(sampler.render(rows, image_size).image) for rows in latents.split(batch_size)])
        true: FaceParameters = sampler.face_parameters(latents)
        read, truth = (slider_values(each, control.name, sampler.face_model) for each in (reading, true))
        asked, values = gathered(truth, read, control.asked)
        if len(asked) >= 3:
            curves[control.name] = curve_of("judge on true portraits", asked, values)
    return curves


def gathered(
    true: Float[Tensor, " samples"], read: Float[Tensor, " samples"], asked: Sequence[float]
) -> tuple[tuple[float, ...], list[Float[Tensor, " _"]]]:
    """Readings gathered around the values asked, each moved by as much as its true value is off the one asked.

    Returns:
        The values that at least four true ones are nearest to, and the readings of each.
    """
    grid = torch.tensor(asked, dtype=true.dtype, device=true.device)
    distance, nearest = (true[:, None] - grid).abs().min(dim=1)
    near = distance <= (grid[1:] - grid[:-1]).min() / 2
    kept, values = [], []
    for place, value in enumerate(asked):
        rows = (nearest == place) & near
        if int(rows.sum()) >= _FEWEST:
            kept.append(value)
            values.append(read[rows] - true[rows] + value)
    return tuple(kept), values


def curve_of(reader: CurveReader, asked: Sequence[float], values: Sequence[Float[Tensor, " _"]]) -> ControlCurve:
    """The curve of values read, a row of them for each value asked."""
    low, median, high = zip(*(_quantiles(each, (_BAND[0], 0.5, _BAND[1])) for each in values), strict=True)
    return ControlCurve(reader, tuple(asked), median, low, high)


def _quantiles(values: Float[Tensor, " samples"], shares: tuple[float, float, float]) -> tuple[float, float, float]:
    low, median, high = values.double().quantile(values.new_tensor(shares, dtype=torch.float64)).tolist()
    return low, median, high


def _name_of(reader: Reader) -> CurveReader:
    if isinstance(reader, JudgeReader):
        return "judge"
    return "landmarks" if isinstance(reader, LandmarkReader) else "face reconstruction"


def _only(rig: Rig) -> RigNetwork:
    if len(rig.networks) != 1:
        raise InputError(f"expected a rig of one network to calibrate, got {len(rig.networks)}; calibrate each by itself")
    network = rig.networks[0]
    assert isinstance(network, RigNetwork)
    return network
