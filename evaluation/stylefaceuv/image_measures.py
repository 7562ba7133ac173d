"""Coarse and detailed faces beside the pictures of their codes, in numbers: what the maps add, in either view."""

import math

import torch
from torch import Tensor

from evaluation.figures import Cell, Figure
from evaluation.reading_changes import reading_change
from evaluation.stylefaceuv.measures import common_mask, masked_ssim, pasted
from evaluation.stylefaceuv.under_test import COARSE, FacesUnderTest
from lightning_modules.image_error import masked_psnr
from lightning_modules.stylefaceuv_views import PosedView, on_face
from renderers.face_renderer import FaceRender
from renderers.images import to_signed, to_unit

TABLE = "stylefaceuv_image_measures"
_MEASURES = ("psnr_db", "ssim", "perceptual", "identity_cosine", "landmark_percent", "judged_identity_spreads")
# After a measure's name: standard error of its difference from the coarse face's.
ERROR = "_gain_se"


@torch.no_grad()
def image_measures_figure(tested: FacesUnderTest, people: int) -> Figure:
    """The table; a row for each view and face.

    Args:
        tested: The UV generator.
        people: Unseen codes.
    """
    found: dict[tuple[str, str], list[Tensor]] = {}
    for codes in tested.batches(people):
        views = tested.posed(codes)
        original = next(iter(views.values()))
        for view_name, view in views.items():
            renders = tested.renders(view, original)
            mask = common_mask(list(renders.values()))
            for face, render in renders.items():
                found.setdefault((view_name, face), []).append(_measured(tested, view, render, mask))
    rows: list[tuple[Cell, ...]] = []
    for (view_name, face), values in found.items():
        measured = torch.cat(values)
        gains = (measured - torch.cat(found[view_name, COARSE])).std(dim=0) / math.sqrt(people)
        errors = [math.nan] * len(_MEASURES) if face == COARSE else gains.tolist()
        rows.append((view_name, face, people, *measured.mean(dim=0).tolist(), *errors))
    reader = (
        "the judge, which took no part in the training," if tested.judge is not None else "no judge, as none was given,"
    )
    caption = (
        f"Means over {people} unseen codes. Where all faces cover the picture: PSNR, SSIM and the distance of {tested.perceptual.name}; "
        "with the face pasted into the picture, which leaves the eyes of the coarse face those of the picture: cosine of the identity "
        "network's embeddings with the picture, distance of the landmarks that a network sees in both in per cent of the side, and the "
        f"change of identity that {reader} reads, in spreads. The symmetric view is compared with the picture of the moved code. "
        f"{ERROR}: standard errors of the differences from the coarse face, code by code."
    )
    return Figure(
        TABLE,
        "Coarse and detailed faces beside the pictures",
        caption,
        ("view", "face", "codes", *_MEASURES, *(name + ERROR for name in _MEASURES)),
        tuple(rows),
    )


def _measured(tested: FacesUnderTest, view: PosedView, render: FaceRender, mask: Tensor) -> Tensor:
    """(batch, measures) in the order of `_MEASURES`."""
    target, joined = to_unit(view.target), pasted(view.target, render)
    signed = to_signed(render.image)
    cosine = (tested.embedder(joined) * tested.embedder(view.target)).sum(dim=1)
    landmarks = (tested.landmarker(joined) - tested.landmarker(view.target)).norm(dim=2).mean(dim=1)
    judged = torch.full_like(cosine, math.nan)
    if tested.judge is not None:
        judged = reading_change(tested.judge, tested.judge(view.target), tested.judge(joined)).identity
    return torch.stack(
        [
            masked_psnr(render.image, target, mask),
            masked_ssim(render.image, target, mask),
            tested.perceptual(on_face(signed, mask), on_face(view.target, mask)),
            cosine,
            landmarks * (100 / tested.size),
            judged,
        ],
        dim=1,
    )
