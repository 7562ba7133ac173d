"""Fréchet distances of pictures with rendered faces pasted in (section 4.3), and of heads in each other's poses."""

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path

import torch
from jaxtyping import Float
from torch import Tensor

from datamodules.photo_folder import PhotoDataset, check_photos, find_photos
from datamodules.portraits import PortraitSampler
from evaluation.figures import Cell, Figure
from evaluation.frechet import FeatureStatistics, RunningStatistics, gaussian_frechet_distance
from evaluation.generator_quality import FeatureReader
from evaluation.stylefaceuv.published import FID
from evaluation.stylefaceuv.turning import COARSE, DETAILED, PICTURES, FaceTurner, OwnPictures, TurnedRenders
from models.stylefaceuv.opening import DetailedFaces
from renderers.errors import InputError

TABLE = "stylefaceuv_frechet"
OWN_POSE, OTHER_POSE, PUBLISHED = "own", "those of other codes", "published"
HARD, SOFT, NO_SEAM = "hard", "soft", "none"
OTHER_HALF = "real pictures, as many others"

# Pictures at a time.
_BATCH = 25
# A stream of portraits that no network was trained on.
_SEED = 90_200


def frechet_figure(
    faces: DetailedFaces,
    turners: Sequence[FaceTurner],
    codes: Float[Tensor, "faces layers width"],
    other_codes: Float[Tensor, "faces layers width"],
    features: FeatureReader,
    real: Callable[[], Iterable[Float[Tensor, "batch 3 size size"]]],
) -> Figure:
    """``stylefaceuv_frechet``: distances to real pictures, and to the generator's pictures of other codes.

    Args:
        faces: In question.
        turners: Ways to turn faces, which show each face in the yaw of the next one's code; empty to leave that out.
        codes: Of which pictures are compared.
        other_codes: As many, whose pictures stand for the generator's; those of the same codes would be nearer than chance.
        features: Of `load_features`; the metric is called by its name.
        real: Pictures in [-1, 1] of the generator's size, twice as many as codes: the first half is compared with, the second half
            says what distance sampling alone causes.

    Raises:
        InputError: for fewer real pictures, or codes of which there are not as many others.
    """
    if len(codes) < 2 or len(other_codes) != len(codes):
        raise InputError(
            f"expected at least 2 codes and as many others, got {len(codes)} and {len(other_codes)}; raise compared"
        )
    own = OwnPictures(faces.generator)
    yaws = torch.cat([faces.parameters(part).rotation[:, 1] for part in codes.split(_BATCH)])
    halves = halves_of(real(), len(codes), features)
    reference = statistics_of(_drawn(own, other_codes, yaws), features)
    shown: list[tuple[str, str, str, Iterable[Tensor]]] = [(PICTURES, OWN_POSE, NO_SEAM, _drawn(own, codes, yaws))]
    for detailed, seam in ((False, HARD), (True, HARD), (True, SOFT)):
        pasted = TurnedRenders(faces, own, detailed, "soft" if seam == SOFT else "hard")
        shown.append((pasted.name, OWN_POSE, seam, _drawn(pasted, codes, yaws)))
    for turner in turners:
        seam = HARD if isinstance(turner, TurnedRenders) and turner.behind is not None else NO_SEAM
        shown.append((turner.name, OTHER_POSE, seam, _drawn(turner, codes, yaws.roll(1))))
    rows: list[tuple[Cell, ...]] = []
    for name, pose, seam, pictures in shown:
        measured = statistics_of(pictures, features)
        distances = (gaussian_frechet_distance(measured, other) for other in (halves[0], reference))
        rows.append((name, pose, seam, len(codes), *distances))
    rows.append((OTHER_HALF, OWN_POSE, NO_SEAM, len(codes), gaussian_frechet_distance(halves[1], halves[0]), math.nan))
    rows += [(name, f"{PUBLISHED}: {each.source}", NO_SEAM, math.nan, each.fid, math.nan) for name, each in FID.items()]
    what = (
        "Fréchet inception distances"
        if features.metric == "fid"
        else f"Not FID: Fréchet distances in the features of another network ({features.metric})"
    )
    return Figure(
        TABLE,
        "Fréchet distances with the render pasted in (section 4.3)",
        f"{what}, of {len(codes)} pictures each; few pictures raise them, so that only equal numbers compare, and published ones (FFHQ, "
        "FID of 50,000) do not compare with these. Renders in their own pose are pasted into the picture of their code, turned ones into "
        "that of the code moved along d. To the generator: to its pictures of other codes; the last row of ours is what sampling "
        f"causes. {DETAILED.capitalize()} and {COARSE} have the same pose and light.",
        ("pictures", "pose", "seam", "count", f"{features.metric}_to_real", f"{features.metric}_to_generator"),
        tuple(rows),
    )


def folder_pictures(folder: str | Path, image_size: int, count: int) -> Iterator[Float[Tensor, "batch 3 size size"]]:
    """The first aligned square photos of a folder, in the order of their paths, in [-1, 1].

    Raises:
        InputError: for fewer than `count`, or any that is not square or smaller than `image_size`.
    """
    paths = find_photos(folder)[:count]
    if len(paths) < count:
        raise InputError(
            f"expected {count} photos in {folder}, found {len(paths)}; compare fewer codes: two photos for each"
        )
    check_photos(paths, image_size)
    dataset = PhotoDataset(paths, image_size)
    for start in range(0, count, _BATCH):
        yield dataset.__getitems__(list(range(start, min(start + _BATCH, count))))["image"]


def portrait_pictures(
    sampler: PortraitSampler, image_size: int, count: int
) -> Iterator[Float[Tensor, "batch 3 size size"]]:
    """Synthetic portraits of people that no network was trained on, in [-1, 1]."""
    people = torch.arange(count)
    for part in people.split(_BATCH):
        yield sampler.render(sampler.latents(part, torch.zeros_like(part), _SEED), image_size).image


def _drawn(
    turner: FaceTurner, codes: Float[Tensor, "faces layers width"], yaws: Float[Tensor, " faces"]
) -> Iterator[Tensor]:
    for part, asked in zip(codes.split(_BATCH), yaws.split(_BATCH), strict=True):
        yield turner.turned(part, asked)


@torch.no_grad()
def statistics_of(pictures: Iterable[Tensor], features: FeatureReader) -> FeatureStatistics:
    """Of the features of batches of pictures in [-1, 1], on the CPU."""
    running = RunningStatistics()
    for images in pictures:
        # On the CPU, as Apple's devices have no float64.
        running.add(features.read(images).float().cpu())
    return running.statistics()


@torch.no_grad()
def halves_of(
    pictures: Iterable[Tensor], count: int, features: FeatureReader
) -> tuple[FeatureStatistics, FeatureStatistics]:
    """Statistics of the first `count` pictures and of as many after them.

    Raises:
        InputError: for fewer pictures.
    """
    halves, taken = (RunningStatistics(), RunningStatistics()), 0
    for images in pictures:
        vectors = features.read(images).float().cpu()[: 2 * count - taken]
        first = vectors[: max(count - taken, 0)]
        for half, part in zip(halves, (first, vectors[len(first) :]), strict=True):
            if len(part):
                half.add(part)
        taken += len(vectors)
    if taken < 2 * count:
        raise InputError(
            f"expected {2 * count} real pictures, two for each code, got {taken}; give more or compare fewer codes"
        )
    return halves[0].statistics(), halves[1].statistics()
