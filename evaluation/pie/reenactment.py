"""Table 3 of PIE: poses of other pictures transferred to embedded portraits, of the same person and of others."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

from datamodules.portraits import PortraitSampler
from datamodules.synthetic_portraits import split_spec
from evaluation.figures import Cell, Figure
from evaluation.pie.embedded import EmbeddedPortraits
from evaluation.pie.looking import (
    cross_pairs,
    edited_pictures,
    joined,
    judged_identity,
    look,
    photos_apart,
    recognition_error,
)
from evaluation.pie.procrustes import procrustes_distance
from evaluation.pie.published import TABLE_3, paper_order
from evaluation.pie.shown_edits import count_portraits, in_common, readers_named
from evaluation.stylerig.true_turns import turned_latents
from lightning_modules.render_loss import landmarks_66
from models.portrait_embedding import PortraitEmbedding
from renderers.errors import InputError

TABLE = "pie_table_3"
# Of the people whose poses are taken: none that anything is trained or embedded with.
_SEED = 96_000
# Portraits drawn at a time.
_DRAWN = 16
# Of the paper's pictures.
_PUBLISHED_SIZE = 1024
# By how much a truth that went through a file may differ from the one computed again.
_SAME_TRUTH = 1e-3


@dataclass(frozen=True, eq=False)
class SecondPictures:
    """Synthetic people of the embeddings drawn again in other poses, everything else as it was.

    Attributes:
        portrait: Place of the embedding whose person each picture shows.
        images: Of the generator's size, in [-1, 1].
        landmarks: True ones, in their pixels.
    """

    portrait: Int[Tensor, " pairs"]
    images: Float[Tensor, "pairs 3 size size"]
    landmarks: Float[Tensor, "pairs 68 2"]


@dataclass(frozen=True)
class Reenactment:
    """Pose transfers of one setting; means. NaN where there are no pairs, or nobody read.

    Attributes:
        label: The setting.
        self_pairs: Transfers from a second picture of the same person.
        landmark_px: Distance of the result's 66 landmarks to those that the landmark network sees in the second picture, after
            Procrustes alignment, in pixels.
        landmark_truth_px: The same to the true landmarks of the second picture.
        landmark_unedited_px: As `landmark_px`, of the embedding's picture before any edit.
        cross_pairs: Transfers from pictures of others.
        recognition: || Psi(I) - Psi(result) ||: a distance, as dlib's; not squared.
        recognition_unedited: The same of the embedding's picture before any edit.
        judged_identity, judged_identity_unedited: Change of the judge's identity reading from I, in spreads.
    """

    label: str
    self_pairs: int
    landmark_px: float
    landmark_truth_px: float
    landmark_unedited_px: float
    cross_pairs: int
    recognition: float
    recognition_unedited: float
    judged_identity: float
    judged_identity_unedited: float


def reenactment_figures(settings: Sequence[EmbeddedPortraits], pairs: int, sampler: PortraitSampler) -> list[Figure]:
    """Table 3 for each setting; none where no rig controls the rotation.

    Self-reenactment: every synthetic portrait is turned to the pose of a second picture of the same person, drawn in another pose.
    Cross-identity: the pose of every portrait's picture is transferred to others; photos are measured apart from portraits and samples.

    Args:
        settings: Embeddings of the same portraits by several settings.
        pairs: Of each kind, at least so many (31 and 49 pictures in the paper); of the second no more than there are.
        sampler: Draws people as those of the embeddings were drawn.

    Raises:
        InputError: for synthetic portraits that the sampler draws otherwise.
    """
    shared = in_common(settings)
    first = shared[0]
    if "rotation" not in first.opened.rig.components:
        return []
    ordered = sorted(shared, key=lambda each: paper_order(each.label))
    rows: list[tuple[Cell, ...]] = []
    notes = []
    for over, alone in photos_apart(first).items():
        second = second_pictures(alone, pairs, sampler)
        measured = [measure_reenactment(photos_apart(setting)[over], pairs, second) for setting in ordered]
        rows += [_row(each, over, first.opened.generator.resolution) for each in measured]
        if len(alone) > 1:
            notes.append(f"different people among the {over} are {_between_people(alone, pairs):.2g} apart")
    nan = math.nan
    rows += [
        (label, "published", paper.self_pairs, nan, paper.landmark_error, nan, nan)
        + (paper.cross_pairs, paper.recognition_distance, nan, nan, nan)
        for label, paper in TABLE_3.items()
    ]
    columns = (
        *(
            "setting",
            "over",
            "self_pairs",
            "landmark_error_px",
            "landmark_error_at_1024_px",
            "to_true_landmarks_px",
            "unedited_px",
        ),
        *("cross_pairs", "recognition_distance", "unedited_recognition_distance"),
        *("judged_identity_spreads", "unedited_judged_identity_spreads"),
    )
    missed = _detector_error(first, second_pictures(first, 1, sampler))
    caption = (
        f"Poses transferred to {count_portraits(first)}. Self-reenactment: to the pose of a second picture of the same synthetic person; "
        "mean distance of 66 landmarks after Procrustes alignment with scale, to those that the landmark network sees in that picture, "
        f"and to the true ones, of which the network itself misses {missed:.2g} px. Cross-identity: to the pose of "
        f"another portrait; distance of Psi between portrait and result{''.join(f' ({note})' for note in notes)}, and of the judge's "
        f"identity reading. {readers_named(first)}. Published: photos at 1024 px, Saragih's landmarks, dlib's recognition; methods for "
        "videos are quoted."
    )
    return [Figure(TABLE, "Self- and cross-reenactment (Table 3)", caption, columns, tuple(rows))]


def _row(each: Reenactment, over: str, resolution: int) -> tuple[Cell, ...]:
    at_published_size = each.landmark_px * _PUBLISHED_SIZE / resolution
    return (
        *(
            each.label,
            over,
            each.self_pairs,
            each.landmark_px,
            at_published_size,
            each.landmark_truth_px,
            each.landmark_unedited_px,
        ),
        *(
            each.cross_pairs,
            each.recognition,
            each.recognition_unedited,
            each.judged_identity,
            each.judged_identity_unedited,
        ),
    )


@torch.no_grad()
def second_pictures(embedded: EmbeddedPortraits, pairs: int, sampler: PortraitSampler) -> SecondPictures:
    """Draw the people of synthetic portraits again, in the poses of people that appear nowhere else.

    Raises:
        InputError: where the sampler gives other people than the embeddings hold.
    """
    places = [place for place, each in enumerate(embedded.embeddings) if each.source == "portrait"]
    size, device = embedded.opened.generator.resolution, embedded.device
    if not places:
        empty = torch.zeros(0, device=device)
        return SecondPictures(empty.long(), empty.reshape(0, 3, size, size), empty.reshape(0, 68, 2))
    own = torch.cat([portrait_latents(embedded.embeddings[place], sampler) for place in places])
    each = math.ceil(pairs / len(places))
    own = own.repeat_interleave(each, dim=0)
    number = torch.arange(len(own))
    asked = turned_latents(sampler.layout, own, sampler.latents(number, torch.zeros_like(number), _SEED))
    drawn = [sampler.render(part, size) for part in asked.split(_DRAWN)]
    return SecondPictures(
        torch.tensor(places, device=device).repeat_interleave(each),
        torch.cat([part.image for part in drawn]).to(device),
        torch.cat([part.landmarks for part in drawn]).to(device),
    )


@torch.no_grad()
def measure_reenactment(embedded: EmbeddedPortraits, pairs: int, second: SecondPictures) -> Reenactment:
    """Transfer poses to the embeddings of one setting.

    Args:
        embedded: The setting.
        pairs: Cross-identity pairs.
        second: From `second_pictures`.
    """
    unedited = embedded.pictures(embedded.codes)
    landmark = truth = before = torch.full((1,), math.nan)
    if len(second.portrait):
        wanted = landmarks_of(embedded, second.images)
        target = embedded.read(second.images)
        results = edited_pictures(embedded, second.portrait, target, ("rotation",))
        found = torch.cat([landmarks_of(embedded, pictures) for pictures in results])
        landmark, truth = procrustes_distance(found, wanted), procrustes_distance(found, landmarks_66(second.landmarks))
        before = procrustes_distance(landmarks_of(embedded, unedited)[second.portrait], wanted)
    own, reference = (each.to(embedded.device) for each in cross_pairs(len(embedded), pairs))
    originals, fits = (look(embedded, pictures).at(own) for pictures in (embedded.portraits, unedited))
    results = edited_pictures(embedded, own, embedded.parameters[reference], ("rotation",))
    # A portrait alone has no other to take a pose from.
    after = joined([look(embedded, pictures) for pictures in results]) if len(own) else originals
    return Reenactment(
        label=embedded.label,
        self_pairs=len(second.portrait),
        landmark_px=float(landmark.mean()),
        landmark_truth_px=float(truth.mean()),
        landmark_unedited_px=float(before.mean()),
        cross_pairs=len(own),
        recognition=float(recognition_error(originals, after).sqrt().mean()),
        recognition_unedited=float(recognition_error(originals, fits).sqrt().mean()),
        judged_identity=float(judged_identity(embedded, originals, after).mean()),
        judged_identity_unedited=float(judged_identity(embedded, originals, fits).mean()),
    )


@torch.no_grad()
def landmarks_of(
    embedded: EmbeddedPortraits, pictures: Float[Tensor, "batch 3 size size"]
) -> Float[Tensor, "batch 66 2"]:
    """The 66 landmarks that the landmark network sees, in pixels."""
    return torch.cat([landmarks_66(embedded.landmarker(part)) for part in pictures.split(_DRAWN)])


def portrait_latents(embedding: PortraitEmbedding, sampler: PortraitSampler) -> Float[Tensor, "1 latent"]:
    """The latent that a synthetic portrait was drawn from: the first picture of a person of the test split."""
    try:
        index, seed = int(embedding.origin["index"]), int(embedding.origin["seed"])
    except (KeyError, TypeError, ValueError) as error:
        raise InputError(
            f"expected a synthetic portrait's index and seed with {embedding.name}, its file has none; embed it again"
        ) from error
    person = split_spec("test", 1, index + 1, 1, seed, "medium", 1).person(torch.tensor([index]))
    latents = sampler.latents(person, torch.zeros_like(person), seed)
    truth = sampler.face_parameters(latents).pack().cpu()[0]
    if (
        embedding.truth is None
        or truth.shape != embedding.truth.shape
        or bool((truth - embedding.truth).abs().max() > _SAME_TRUTH)
    ):
        raise InputError(
            f"expected {embedding.name} to be portrait {index} of seed {seed}, its truth is another person's; embed it again with this "
            "version"
        )
    return latents


def _detector_error(embedded: EmbeddedPortraits, second: SecondPictures) -> float:
    if not len(second.portrait):
        return math.nan
    return float(procrustes_distance(landmarks_of(embedded, second.images), landmarks_66(second.landmarks)).mean())


def _between_people(embedded: EmbeddedPortraits, pairs: int) -> float:
    own, reference = (each.to(embedded.device) for each in cross_pairs(len(embedded), pairs))
    seen = look(embedded, embedded.portraits)
    return float(recognition_error(seen.at(own), seen.at(reference)).sqrt().mean())
