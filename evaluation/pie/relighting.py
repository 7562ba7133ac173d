"""Fig. 9 of PIE: the light of one portrait transferred to another, and how near the result's light is to it."""

import math
from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor

from evaluation.figures import Cell, Figure
from evaluation.pie.embedded import EmbeddedPortraits
from evaluation.pie.looking import (
    Seen,
    cross_pairs,
    edited_pictures,
    joined,
    judged_identity,
    look,
    photos_apart,
    recognition_error,
)
from evaluation.pie.published import RELIGHTING, paper_order
from evaluation.pie.shown_edits import count_portraits, in_common, readers_named

TABLE = "pie_relighting"
# The constant on the first harmonic of each channel, so that coefficients of zero mean a soft white light (see renderers.shading): only
# with it are coefficients light that can be scaled.
_AMBIENT, _HARMONICS = 0.8, 9
READERS = ("mofa", "judge")


def relighting_figures(settings: Sequence[EmbeddedPortraits], pairs: int) -> list[Figure]:
    """The error of relighting transfers for each setting; none where no rig controls the illumination, or there are not two portraits;
    of photos apart from portraits and samples.

    Args:
        settings: Embeddings of the same portraits by several settings.
        pairs: Transfers, 100 in the paper; no more than there are pairs of portraits.
    """
    shared = in_common(settings)
    first = shared[0]
    if "illumination" not in first.opened.rig.components or len(first) < 2:
        return []
    rows: list[tuple[Cell, ...]] = [
        (setting.label, over, *measure_relighting(alone, pairs))
        for over in photos_apart(first)
        for setting in sorted(shared, key=lambda each: paper_order(each.label))
        # One portrait has no other to take a light from.
        if len(alone := photos_apart(setting)[over]) > 1
    ]
    rows += [(label, "published", 100, error, *[math.nan] * 5) for label, error in RELIGHTING.items()]
    columns = (
        *(
            "setting",
            "over",
            "pairs",
            "light_error",
            "light_error_judge",
            "unedited_light_error",
            "unedited_light_error_judge",
        ),
        *("recognition_error", "recognition_error_judge_spreads"),
    )
    caption = (
        f"The light of one portrait asked of another, among {count_portraits(first)}: distance of the result's 27 coefficients to those of "
        "the reference after the best scaling, over the length of the reference's (our reading of the paper's scale-invariant l2; 0 the "
        "same light, 1 nothing in common), as MoFA reads both and as the judge does; unedited: of the portrait before. "
        f"{readers_named(first)}. Published: another autoencoder read photos, over 100 results."
    )
    return [Figure(TABLE, "Relighting by transfer (Fig. 9)", caption, columns, tuple(rows))]


@torch.no_grad()
def measure_relighting(embedded: EmbeddedPortraits, pairs: int) -> tuple[int, float, float, float, float, float, float]:
    """Transfers of one setting: their number; error by MoFA and by the judge, both again before the edit; recognition error of the
    relit pictures by Psi, and change of the judge's identity reading. Means; NaN where nobody read."""
    own, reference = (each.to(embedded.device) for each in cross_pairs(len(embedded), pairs))
    portraits = look(embedded, embedded.portraits)
    inputs, references = portraits.at(own), portraits.at(reference)
    results = edited_pictures(embedded, own, embedded.parameters[reference], ("illumination",))
    relit = joined([look(embedded, pictures) for pictures in results])
    errors = [float(light_errors(seen, references, reader).mean()) for seen in (relit, inputs) for reader in READERS]
    relit_by_mofa, relit_by_judge, before_by_mofa, before_by_judge = errors
    recognition = float(recognition_error(inputs, relit).mean())
    identity = float(judged_identity(embedded, inputs, relit).mean())
    return len(own), relit_by_mofa, relit_by_judge, before_by_mofa, before_by_judge, recognition, identity


def scale_invariant_distance(
    light: Float[Tensor, "batch 27"], reference: Float[Tensor, "batch 27"]
) -> Float[Tensor, " batch"]:
    """min_s || s a - b || / || b || of the light a and the reference's b, with the convention's constant light: from 0 to 1."""
    a, b = (each.double().unflatten(1, (3, _HARMONICS)) for each in (light, reference))
    constant = torch.zeros_like(a[:1])
    constant[..., 0] = _AMBIENT
    a, b = (a + constant).flatten(1), (b + constant).flatten(1)
    scale = (a * b).sum(dim=1, keepdim=True) / a.square().sum(dim=1, keepdim=True)
    return ((scale * a - b).norm(dim=1) / b.norm(dim=1)).to(light.dtype)


def light_errors(seen: Seen, reference: Seen, reader: str) -> Float[Tensor, " batch"]:
    """`scale_invariant_distance` of each picture's light to its reference's, as one of `READERS` sees both; NaN where nobody read."""
    found, wanted = getattr(seen, reader), getattr(reference, reader)
    if found is None or wanted is None:
        return torch.full_like(seen.identity[:, 0], math.nan)
    return scale_invariant_distance(found.illumination, wanted.illumination)
