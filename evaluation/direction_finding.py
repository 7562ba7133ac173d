"""Linear directions of W, found from what a reader sees of many codes (InterFaceGAN, Shen et al., CVPR 2020; StyleFaceUV, section 3.2).

Of all codes only readings are kept: codes follow from their indices, and those of the extremes are made again. So memory does not
grow with the width of the codes times their number: 200,000 codes take no more than a batch and the extremes.
"""

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Float, Int64
from sklearn.svm import LinearSVC
from torch import Tensor

from datamodules.latent_pairs import PairRecipe, Split
from models.latent_directions import DirectionQuality, LatentDirection, LatentDirections
from models.morphable import FaceParameters, MorphableModel
from models.stylefaceuv.loading import CodeReader
from models.stylegan2 import Generator
from models.stylegan2.digest import generator_digest
from models.stylerig.sliders import read_slider, unit_of
from renderers.errors import InputError

# Fewer codes at either extreme do not tell a direction from chance.
_LEAST_EXTREMES = 10
# A light from behind is read as one from either side: left and right meet there.
_WIDEST_AZIMUTH_DEG = 90.0
# Newton steps of the solver; a dozen do.
_SVM_STEPS = 2000


@dataclass(frozen=True)
class DirectionSettings:
    """How directions are found.

    Attributes:
        attributes: Sliders to read, as `models.stylerig.sliders.Slider` names them.
        codes: Codes of W that are read. InterFaceGAN takes 500,000, StyleFaceUV 200,000.
        held_out: Further codes, on which the directions are measured.
        share: Of the codes, at either extreme; both papers take 2 %.
        penalty: C of the support-vector machine, on codes in units of their deviation. The papers leave it open: 1 is scikit-learn's.
    """

    attributes: tuple[str, ...] = ("yaw", "pitch", "smile", "light_azimuth")
    codes: int = 50_000
    held_out: int = 10_000
    share: float = 0.02
    penalty: float = 1.0

    def __post_init__(self) -> None:
        if not self.attributes or len(set(self.attributes)) < len(self.attributes):
            raise InputError(
                f"expected attributes to find directions of, each once, got {', '.join(self.attributes) or 'none'}; name some"
            )
        if not (0 < self.share <= 0.5 and math.isfinite(self.penalty) and self.penalty > 0):
            raise InputError(
                f"expected a share above 0, to 0.5, and a penalty above 0, got {self.share} and {self.penalty}; correct them"
            )
        if min(self.codes, self.held_out) * self.share < _LEAST_EXTREMES:
            raise InputError(
                f"expected {_LEAST_EXTREMES} codes or more at either extreme, {self.codes} codes and {self.held_out} held out give "
                f"{int(min(self.codes, self.held_out) * self.share)}; raise the numbers of codes or the share"
            )


class _Moments(NamedTuple):
    mean: Float[Tensor, " width"]
    covariance: Float[Tensor, "width width"]


class _Extremes(NamedTuple):
    """Indices of the codes with the least and with the most of an attribute."""

    low: Int64[Tensor, " codes"]
    high: Int64[Tensor, " codes"]


@torch.no_grad()
def find_directions(
    generator: Generator,
    reader: CodeReader,
    face_model: MorphableModel,
    settings: DirectionSettings = DirectionSettings(),
    seed: int = 0,
    batch_size: int = 64,
    say: Callable[[str], None] = lambda text: None,
) -> LatentDirections:
    """Directions of attributes: normals of linear support-vector machines between the extremes of what is read of random codes.

    Args:
        generator: In whose W.
        reader: Reads codes: F, F3D, or a face encoder through their pictures; on the generator's device.
        face_model: Of what is read.
        settings: See there.
        seed: Of the codes.
        batch_size: Codes that are read together.
        say: Is told what happens.

    Raises:
        InputError: for unknown attributes, one that the generator does not vary, or an impossible batch.
    """
    if batch_size < 1:
        raise InputError(f"expected a batch of one code or more, got {batch_size}; raise it")
    # One latent for all layers: codes of W itself, as both papers take them.
    source = _Codes(generator, PairRecipe(seed=seed, max_latents=1), batch_size)
    say(f"reading {settings.codes:,} codes")
    readings, moments = _read(source, reader, face_model, settings.attributes, "train", settings.codes)
    extremes = {name: _extremes(values, settings.share, name) for name, values in readings.items()}
    say(f"reading {settings.held_out:,} held-out codes")
    unseen, _ = _read(source, reader, face_model, settings.attributes, "validate", settings.held_out)
    planes = {
        name: _separate(source.at("train", ends.low), source.at("train", ends.high), moments, settings.penalty)
        for name, ends in extremes.items()
    }
    normals = torch.stack([plane.normal for plane in planes.values()], dim=1)
    positions = torch.empty(settings.held_out, len(planes), dtype=torch.float64)
    for rows, codes in zip(positions.split(batch_size), source.all("validate", settings.held_out), strict=True):
        rows.copy_(codes.double() @ normals)
    found = []
    for (name, plane), along in zip(planes.items(), positions.T, strict=True):
        spread = float((plane.normal @ moments.covariance @ plane.normal).sqrt())
        ends = extremes[name]
        shown = (float(readings[name][ends.low].mean()), float(readings[name][ends.high].mean()))
        quality = _quality(
            (along - plane.boundary) / spread, unseen[name], settings.share, name, shown, plane.margin / spread
        )
        found.append(LatentDirection(name, plane.normal.float(), spread, plane.boundary, quality))
    origin = {
        "codes": settings.codes,
        "held_out": settings.held_out,
        "share": settings.share,
        "penalty": settings.penalty,
        "seed": seed,
    }
    return LatentDirections(tuple(found), generator_digest(generator), origin)


class _Plane(NamedTuple):
    """A separating hyperplane; float64.

    Attributes:
        normal: Unit normal, towards more of the attribute.
        boundary: w . n on it.
        margin: Distance of the machine's margin from it, in W.
    """

    normal: Float[Tensor, " width"]
    boundary: float
    margin: float


class _Codes:
    """Codes of W by split and index, on the CPU: pair i holds codes 2 i and 2 i + 1."""

    def __init__(self, generator: Generator, recipe: PairRecipe, batch_size: int) -> None:
        self.generator, self.recipe, self.batch_size = generator, recipe, batch_size

    def all(self, split: Split, count: int) -> Iterator[Float[Tensor, "batch width"]]:
        """Codes 0 to count - 1, in batches."""
        for first in range(0, count, self.batch_size):
            yield self._make(split, torch.arange(first, min(first + self.batch_size, count)))

    def at(self, split: Split, indices: Int64[Tensor, " codes"]) -> Float[Tensor, "codes width"]:
        """Codes of these indices."""
        return torch.cat([self._make(split, part) for part in indices.split(self.batch_size)])

    def _make(self, split: Split, indices: Int64[Tensor, " batch"]) -> Float[Tensor, "batch width"]:
        pairs, place = (indices // 2).unique(return_inverse=True)
        made = self.recipe.pairs(self.generator, split, pairs.to(self.generator.mean_w.device))
        both = torch.stack([made.w[:, 0], made.v[:, 0]], dim=1).cpu()
        return both[place, indices % 2]


def _read(
    source: _Codes, reader: CodeReader, face_model: MorphableModel, names: Sequence[str], split: Split, count: int
) -> tuple[dict[str, Float[Tensor, " codes"]], _Moments]:
    """Readings of all codes, not-a-number where one says nothing, and the codes' mean and covariance."""
    # Whole from the start: small tensors kept from every batch would hold the memory of what was freed around them.
    readings = {name: torch.empty(count) for name in names}
    done = 0
    width = source.generator.w_dim
    # About the generator's own mean, so that little is lost in the difference of large sums.
    centre = source.generator.mean_w.double().cpu()
    total, products = torch.zeros(width, dtype=torch.float64), torch.zeros(width, width, dtype=torch.float64)
    for codes in source.all(split, count):
        offset = codes.double() - centre
        total += offset.sum(dim=0)
        products += offset.T @ offset
        own = reader.parameters_of(source.generator.broadcast(codes.to(source.generator.mean_w.device)))
        for name, values in readings.items():
            values[done : done + len(codes)] = attribute_reading(own, name, face_model)
        done += len(codes)
    mean = total / count
    moments = _Moments(mean + centre, products / count - mean[:, None] * mean)
    return readings, moments


def attribute_reading(own: FaceParameters, name: str, face_model: MorphableModel) -> Float[Tensor, " batch"]:
    """As `read_slider`, but not a number where it says nothing: a light from behind is neither from the left nor from the right.

    Raises:
        InputError: for an unknown name.
    """
    reading = read_slider(own, name, face_model)
    return torch.where(reading.abs() <= _WIDEST_AZIMUTH_DEG, reading, math.nan) if name == "light_azimuth" else reading


def _extremes(values: Float[Tensor, " codes"], share: float, name: str) -> _Extremes:
    valid = values.isfinite().nonzero()[:, 0]
    count = int(len(valid) * share)
    order = valid[values[valid].argsort()]
    if count < 1 or not float(values[order[-1]] - values[order[0]]) > 0:
        raise InputError(f"expected codes that differ in {name}, this generator's are read alike; leave {name} out")
    return _Extremes(order[:count], order[-count:])


def _separate(
    low: Float[Tensor, "low width"], high: Float[Tensor, "high width"], moments: _Moments, penalty: float
) -> _Plane:
    """The hyperplane between extremes."""
    # One scale for all directions, so that the angle between codes and the hyperplane is what it is in W.
    scale = moments.covariance.diagonal().mean().sqrt()
    samples = ((torch.cat([low, high]).double() - moments.mean) / scale).numpy()
    labels = np.repeat([0, 1], [len(low), len(high)])
    machine = LinearSVC(C=penalty, dual=False, max_iter=_SVM_STEPS).fit(samples, labels)
    coefficients = torch.from_numpy(machine.coef_[0]).double()
    length = torch.linalg.vector_norm(coefficients)
    normal = coefficients / length
    boundary = normal @ moments.mean - scale * float(machine.intercept_[0]) / length
    return _Plane(normal, float(boundary), float(scale / length))


def _quality(
    positions: Float[Tensor, " codes"],
    values: Float[Tensor, " codes"],
    share: float,
    name: str,
    ends: tuple[float, float],
    margin: float,
) -> DirectionQuality:
    """Of held-out codes, by their signed distances from the hyperplane; these and the margin in spreads."""
    extremes = _extremes(values, share, name)
    right = torch.cat([-positions[extremes.low], positions[extremes.high]])
    valid = values.isfinite()
    together = torch.corrcoef(torch.stack([positions[valid], values[valid].double()]))
    accuracy, beyond = ((right > least).double().mean() for least in (0.0, margin))
    return DirectionQuality(float(accuracy), float(together[0, 1]), *ends, unit_of(name), margin, float(beyond))
