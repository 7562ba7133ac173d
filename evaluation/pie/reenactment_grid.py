"""Poses of reference pictures transferred to embedded portraits, as pictures (PIE, our rows of Fig. 8)."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float
from PIL import Image
from torch import Tensor

from evaluation.figures import Cell, Figure
from evaluation.pie.embedded import EmbeddedPortraits
from evaluation.pie.shown_edits import (
    EditedPictures,
    count_portraits,
    grid_of,
    in_common,
    measured,
    readers_named,
    shown_places,
)

COLUMNS = (
    "setting",
    "transfer",
    "portrait",
    "reference",
    "pose_error_by_mofa_deg",
    "pose_error_by_judge_deg",
    "recognition",
    "identity_change_by_judge_spreads",
)


@dataclass(frozen=True)
class _Pair:
    """A portrait, by its place, and the reference whose pose it shall have."""

    place: int
    transfer: str
    reference: str
    image: Float[Tensor, "3 size size"]


@torch.no_grad()
def reenactment_grid(
    settings: Sequence[EmbeddedPortraits],
    same_people: Mapping[str, Float[Tensor, "3 size size"]],
    shown: int = 3,
    feedback: int = 0,
) -> list[Figure]:
    """``pie_reenactment_pictures`` (Fig. 8): self-reenactment first, then cross-identity; none where no rig controls the rotation.

    Args:
        settings: Compared on the portraits that all of them embedded.
        same_people: By a portrait's name, another picture of the same person in another pose, in [-1, 1]; empty for none.
        shown: Portraits of each kind of transfer.
        feedback: Rounds of PIE's feedback.
    """
    settings = in_common(settings)
    if "rotation" not in settings[0].opened.rig.components:
        return []
    pairs = _pairs(settings[0], same_people, shown)
    if not pairs:
        return []
    chosen = [setting.select([setting.embeddings[pair.place].name for pair in pairs]) for setting in settings]
    references = torch.stack([pair.image for pair in pairs])
    results = [_transfer(setting, references, feedback) for setting in chosen]
    rows = [
        _row(setting, pair, result, number)
        for setting, result in zip(chosen, results, strict=True)
        for number, pair in enumerate(pairs)
    ]
    kinds = [pair.transfer for pair in pairs]
    caption = (
        f"Rows: {kinds.count('self')} portraits that take the pose of another picture of the same person (self-reenactment), "
        f"{kinds.count('cross')} that take the pose of the next portrait (cross-identity), of {count_portraits(settings[0])}. Left to "
        "right: portrait, reference, result of each setting. The pose is what MoFA reads of the reference; all else is asked to stay. "
        "Errors are angles to that pose in degrees; recognition is ||Psi(I) - Psi(result)||^2, from 0 to 4. "
        f"{readers_named(settings[0])}."
    )
    title = "Pose of reference pictures transferred (our rows of Fig. 8)"
    picture = _picture(chosen, pairs, results)
    return [Figure("pie_reenactment_pictures", title, caption, COLUMNS, tuple(rows), picture)]


def _pairs(
    embedded: EmbeddedPortraits, same_people: Mapping[str, Float[Tensor, "3 size size"]], shown: int
) -> list[_Pair]:
    pictured = [place for place, each in enumerate(embedded.embeddings) if each.name in same_people]
    pairs = []
    for place in pictured[:shown]:
        name = embedded.embeddings[place].name
        pairs.append(_Pair(place, "self", f"{name}, another picture", same_people[name].to(embedded.device)))
    # One more than is edited, so that the last one has a next.
    places = shown_places(embedded, shown + 1)
    for place, other in zip(places, places[1:], strict=False):
        pairs.append(_Pair(place, "cross", embedded.embeddings[other].name, embedded.portraits[other]))
    return pairs


def _transfer(
    embedded: EmbeddedPortraits, references: Float[Tensor, "portraits 3 size size"], feedback: int
) -> EditedPictures:
    codes = embedded.codes
    own = embedded.opened.rig.parameters_of(codes)
    asked = own.with_components_from(embedded.read(references), ("rotation",))
    return measured(embedded, embedded.edit(codes, asked, ("rotation",), feedback), asked, ("rotation",))


def _row(embedded: EmbeddedPortraits, pair: _Pair, result: EditedPictures, number: int) -> tuple[Cell, ...]:
    judged, identity = result.judged_errors, result.judged_identity
    return (
        embedded.label,
        pair.transfer,
        embedded.embeddings[number].name,
        pair.reference,
        float(result.errors["rotation"][number]),
        float("nan") if judged is None else float(judged["rotation"][number]),
        float(result.recognition[number]),
        float("nan") if identity is None else float(identity[number]),
    )


def _picture(
    settings: Sequence[EmbeddedPortraits], pairs: Sequence[_Pair], results: Sequence[EditedPictures]
) -> Image.Image:
    portraits = settings[0].portraits
    rows = [
        [portraits[number], pair.image, *(result.images[number] for result in results)]
        for number, pair in enumerate(pairs)
    ]
    columns = ["portrait", "reference", *(setting.label for setting in settings)]
    return grid_of(rows, [pair.transfer for pair in pairs], columns)
