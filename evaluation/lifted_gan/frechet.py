"""Fréchet distances of lifted faces to real pictures (Tables 2 and 5 of LiftedGAN): in their own poses, and at random ones."""

import math
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from evaluation.figures import Cell, Figure
from evaluation.frechet import FeatureStatistics, gaussian_frechet_distance
from evaluation.generator_quality import FeatureReader
from evaluation.lifted_gan.turning import MANIPULATED, RENDERED
from evaluation.lifted_gan.under_test import BATCH, LiftedUnderTest
from evaluation.lifted_gan.views import LiftedCodes, LiftedViews
from evaluation.stylefaceuv.frechet import halves_of, statistics_of
from evaluation.stylefaceuv.published import FID

TABLE = "lifted_gan_frechet"
PICTURES, OTHER_HALF = "StyleGAN2", "real pictures, as many others"
OWN, RANDOM, PUBLISHED = "own", "random", "published"

Draw = Callable[[LiftedCodes, LiftedCodes], Tensor]


@dataclass(frozen=True, eq=False)
class RealPictures:
    """What pictures are compared with.

    Attributes:
        features: Network and name of the metric.
        count: Pictures of a set that is compared.
        reference: Of so many real pictures.
        others: Of as many more: what sampling alone causes.
    """

    features: FeatureReader
    count: int
    reference: FeatureStatistics
    others: FeatureStatistics

    @classmethod
    def of(cls, pictures: Iterable[Tensor], features: FeatureReader, count: int) -> "RealPictures":
        """Of twice `count` pictures in [-1, 1].

        Raises:
            InputError: for fewer.
        """
        return cls(features, count, *halves_of(pictures, count, features))

    def distance(self, pictures: Iterable[Tensor]) -> float:
        """Of `count` pictures in [-1, 1] to the real ones."""
        return gaussian_frechet_distance(statistics_of(pictures, self.features), self.reference)


def own_renders(tested: LiftedUnderTest, views: LiftedViews, count: int) -> Iterator[Tensor]:
    """Renders of unseen codes in the views and lights that are read of them: samples of the lifted generator (section 5.3)."""
    for codes in tested.batches(count):
        yield views.draw(views.read(codes))


def frechet_figure(tested: LiftedUnderTest, real: RealPictures) -> Figure:
    """Table 5: a row for each kind of picture.

    Args:
        tested: The lifted generator.
        real: Pictures to compare with.
    """
    metric, count = real.features.metric, real.count
    drawn: dict[tuple[str, str], Draw] = {
        (PICTURES, OWN): lambda faces, _: faces.pictures,
        (RENDERED, OWN): lambda faces, _: tested.views.draw(faces),
        (RENDERED, RANDOM): lambda faces, others: _turned(tested, faces, others),
        (MANIPULATED, OWN): lambda faces, _: _manipulated(tested, faces, faces),
        (MANIPULATED, RANDOM): lambda faces, others: _manipulated(tested, faces, others),
    }
    rows: list[tuple[Cell, ...]] = []
    for (name, pose), draw in drawn.items():
        rows.append((name, pose, count, real.distance(_pictures(tested, count, draw))))
    rows.append((OTHER_HALF, OWN, count, gaussian_frechet_distance(real.others, real.reference)))
    rows += [(name, f"{PUBLISHED}: {each.source}", math.nan, each.fid) for name, each in FID.items()]
    truncation = tested.recipe.truncation
    drawn_as = (
        ""
        if truncation is None
        else f" Codes are drawn with truncation {truncation:g}, which takes away from what is real."
    )
    what = (
        "Fréchet inception distances"
        if metric == "fid"
        else f"Not FID: Fréchet distances in the features of another network ({metric})"
    )
    return Figure(
        TABLE,
        "Fréchet distances to real pictures (Tables 2 and 5)",
        f"{what}, of {count} pictures each; few pictures raise them, so equal numbers alone compare, and published ones (FFHQ, FID of "
        f"50,000) do not compare with these. Random poses: of other codes.{drawn_as} The last row of ours is what sampling causes.",
        ("pictures", "pose", "count", f"{metric}_to_real"),
        tuple(rows),
    )


@torch.no_grad()
def _pictures(tested: LiftedUnderTest, count: int, draw: Draw) -> Iterator[Tensor]:
    for number, codes in enumerate(tested.batches(count)):
        others = tested.unseen_codes(len(codes), 2 * count + number * BATCH)
        yield draw(tested.views.read(codes), tested.views.read(others))


def _turned(tested: LiftedUnderTest, faces: LiftedCodes, others: LiftedCodes) -> Tensor:
    return tested.model.render(faces.output, others.output.view, faces.output.light).image.clamp(-1, 1)


def _manipulated(tested: LiftedUnderTest, faces: LiftedCodes, others: LiftedCodes) -> Tensor:
    model = tested.model
    return model.picture(model.manipulate(faces.codes, others.output.view, faces.output.light)).clamp(-1, 1)
