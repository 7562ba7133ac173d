"""The figures that compare ways of turning faces, of a UV generator under test."""

from collections.abc import Iterable

import torch
from torch import Tensor

from datamodules.portraits import PortraitSampler
from evaluation.figures import Figure
from evaluation.generator_quality import FeatureReader
from evaluation.lifted_gan.turning import LiftedTurner
from evaluation.lifted_gan.views import LiftedViews
from evaluation.stylefaceuv.frechet import folder_pictures, frechet_figure, portrait_pictures
from evaluation.stylefaceuv.identity_against_yaw import identity_against_yaw
from evaluation.stylefaceuv.turned_views import turned_views_figure
from evaluation.stylefaceuv.turning import own_faces, turners_of
from evaluation.stylefaceuv.under_test import FacesUnderTest
from models.lifted_gan import LiftedGAN
from models.stylerig.rig import Rig
from renderers.errors import InputError


def turned_views(tested: FacesUnderTest, rig: Rig | None, shown: int, lifted: LiftedGAN | None = None) -> Figure:
    """Fig. 4 for the first unseen codes.

    Args:
        tested: The UV generator, with Fyaw where there is one.
        rig: StyleRig's, to compare with; None for none.
        shown: Faces; at most three.
        lifted: LiftedGAN of the same generator, to compare with; None for none.
    """
    codes = tested.unseen_codes(min(shown, 3))
    turners = turners_of(tested.faces, tested.views.step, rig)
    if lifted is not None:
        turners.append(LiftedTurner(LiftedViews(lifted)))
    return turned_views_figure(turners, codes, tested.pictures(codes), tested.embedder, tested.judge)


def identities(tested: FacesUnderTest, rig: Rig | None, people: int, sampler: PortraitSampler | None) -> list[Figure]:
    """Identity against yaw, of whole pictures and of faces alone.

    Args:
        tested: The UV generator.
        rig: StyleRig's, to compare with; None for none.
        people: Unseen codes, at least 2.
        sampler: Of portraits to turn without any error; None for none.
    """
    codes, faces, step = tested.unseen_codes(people), tested.faces, tested.views.step
    whole = identity_against_yaw(
        turners_of(faces, step, rig), codes, tested.pictures(codes), tested.embedder, tested.judge, sampler
    )
    # The judge knows whole portraits only.
    alone = identity_against_yaw(
        turners_of(faces, step, rig, alone=True),
        codes,
        own_faces(faces, codes),
        tested.embedder,
        None,
        sampler,
        alone=True,
    )
    return [*whole, *alone]


def frechet_distances(
    tested: FacesUnderTest,
    rig: Rig | None,
    count: int,
    features: FeatureReader,
    real: str | None,
    sampler: PortraitSampler | None,
) -> Figure:
    """Fréchet distances of pictures with renders pasted in.

    Args:
        tested: The UV generator.
        rig: StyleRig's, to compare with; None for none.
        count: Unseen codes, at least 2.
        features: Of `load_features`.
        real: Folder of aligned photos, two for each code; None for portraits.
        sampler: Of portraits, where there is no folder.

    Raises:
        InputError: for neither a folder nor a sampler, or too few photos.
    """

    def pictures() -> Iterable[Tensor]:
        if real is not None:
            return (images.to(tested.device) for images in folder_pictures(real, tested.size, 2 * count))
        if sampler is None:
            raise InputError(
                "expected a folder of real pictures for Fréchet distances, got null; name one or leave frechet out"
            )
        return portrait_pictures(sampler, tested.size, 2 * count)

    features.network.to(tested.device)
    indices = torch.arange(count, device=tested.device)
    pairs = tested.recipe.pairs(tested.faces.generator, "test", indices)
    return frechet_figure(
        tested.faces, turners_of(tested.faces, tested.views.step, rig), pairs.w, pairs.v, features, pictures
    )
