"""Pose edits of embedded portraits, the same for every setting: what Table 2 and Fig. 13 of PIE are made of."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torchmetrics.functional.image import peak_signal_noise_ratio, structural_similarity_index_measure

from evaluation.pie.embedded import EmbeddedPortraits
from evaluation.pie.looking import (
    UnseenTargets,
    edited_pictures,
    groups_of,
    joined,
    judged_identity,
    look,
    moved_by_judge,
    moved_by_mofa,
    recognition_error,
    unseen_targets,
)
from renderers.errors import InputError
from renderers.rotation import rotation_distance

# Pictures in [-1, 1].
_RANGE = 2.0
# Names of columns to attributes of `PoseEdits`: one number per edit.
EDIT_MEASURES = {
    "editing_error_rad": "error",
    "editing_error_judge_rad": "judged_error",
    "recognition_error": "recognition",
    "recognition_error_judge_spreads": "judged_recognition",
}


@dataclass(frozen=True, eq=False)
class PoseEdits:
    """Pose edits of the embeddings of one setting; the same edits for every setting.

    Attributes:
        label: The setting.
        names: Of the portraits.
        groups: Places of portraits by what is averaged over, see `groups_of`.
        portrait: Place of the portrait that each edit turns.
        psnr_db, ssim: Of I(w) to I, per portrait (Wang et al. 2004's window; the paper names none).
        fit_recognition: || Psi(I) - Psi(I(w)) ||^2 per portrait, before any edit.
        asked: Angle between theta_I and theta_v, radians: what an edit that changes nothing leaves.
        error: Angle between theta_v and what MoFA reads of the edited picture, radians.
        judged_error: Angle between what the judge reads of I_v and of the edited picture, radians.
        recognition: || Psi(I) - Psi(edited picture) ||^2, the second term of equation 15.
        judged_recognition: Change of the judge's identity reading from I to the edited picture, in spreads.
    """

    label: str
    names: tuple[str, ...]
    groups: dict[str, list[int]]
    portrait: Int[Tensor, " edits"]
    psnr_db: Float[Tensor, " portraits"]
    ssim: Float[Tensor, " portraits"]
    fit_recognition: Float[Tensor, " portraits"]
    asked: Float[Tensor, " edits"]
    error: Float[Tensor, " edits"]
    judged_error: Float[Tensor, " edits"]
    recognition: Float[Tensor, " edits"]
    judged_recognition: Float[Tensor, " edits"]


def measure_pose_edits(settings: Sequence[EmbeddedPortraits], edits: int) -> list[PoseEdits]:
    """Turn every portrait of all settings to the same poses theta_v of unseen codes.

    Args:
        settings: Of the same portraits, in one order.
        edits: See `pose_edit_figures`.

    Raises:
        InputError: as `pose_edit_figures`.
    """
    first = settings[0]
    for other in settings:
        _check_alike(first, other)
    if edits < 1 or len(first) < 1:
        raise InputError(
            f"expected edits of portraits that all settings embedded, got {edits} of {len(first)}; embed the same portraits"
        )
    counted = len(next(iter(groups_of(first).values())))
    each = math.ceil(edits / counted)
    portrait = torch.arange(len(first), device=first.device).repeat_interleave(each)
    targets = unseen_targets(first, len(portrait))
    return [_measure(setting, portrait, targets) for setting in settings]


@torch.no_grad()
def _measure(embedded: EmbeddedPortraits, portrait: Tensor, targets: UnseenTargets) -> PoseEdits:
    originals = look(embedded, embedded.portraits)
    fits = embedded.pictures(embedded.codes)
    psnr, ssim = fit_quality(fits, embedded.portraits)
    edited = joined(
        [
            look(embedded, pictures)
            for pictures in edited_pictures(embedded, portrait, targets.parameters, ("rotation",))
        ]
    )
    own = originals.at(portrait)
    return PoseEdits(
        label=embedded.label,
        names=tuple(embedding.name for embedding in embedded.embeddings),
        groups=groups_of(embedded),
        portrait=portrait,
        psnr_db=psnr,
        ssim=ssim,
        fit_recognition=recognition_error(originals, look(embedded, fits)),
        asked=rotation_distance(own.mofa.rotation, targets.parameters.rotation),
        error=moved_by_mofa(embedded, "rotation", targets.seen, edited),
        judged_error=moved_by_judge(embedded, "rotation", targets.seen, edited),
        recognition=recognition_error(own, edited),
        judged_recognition=judged_identity(embedded, own, edited),
    )


def fit_quality(
    fits: Float[Tensor, "batch 3 size size"], portraits: Float[Tensor, "batch 3 size size"]
) -> tuple[Float[Tensor, " batch"], Float[Tensor, " batch"]]:
    """PSNR in dB and SSIM of each picture in [-1, 1] to its portrait."""
    psnr = peak_signal_noise_ratio(fits, portraits, data_range=_RANGE, reduction="none", dim=(1, 2, 3))
    ssim = structural_similarity_index_measure(fits, portraits, data_range=_RANGE, reduction="none")
    assert isinstance(ssim, Tensor)
    # One picture comes back without its axis.
    return psnr.reshape(len(fits)), ssim.reshape(len(fits))


def _check_alike(first: EmbeddedPortraits, other: EmbeddedPortraits) -> None:
    """Refuse settings whose numbers could not be compared."""
    networks = all(getattr(first, name) is getattr(other, name) for name in ("opened", "encoder", "embedder", "judge"))
    pictures = [[embedding.image for embedding in each.embeddings] for each in (first, other)]
    if not networks or len(first) != len(other) or not all(torch.equal(a, b) for a, b in zip(*pictures, strict=True)):
        raise InputError(
            f"expected {first.label} and {other.label} to embed the same pictures, edited and read by the same networks, they differ; "
            "embed the same portraits with both settings"
        )
