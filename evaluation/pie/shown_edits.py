"""What the picture figures of PIE have in common: edits asked of every setting, and who reads what came of them."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import zip_longest
from typing import get_args

import torch
from jaxtyping import Float
from PIL import Image
from torch import Tensor

from evaluation.pie.embedded import EmbeddedPortraits
from evaluation.reading_changes import reading_change
from evaluation.report import picture_grid, to_picture
from models.morphable import FaceParameters, MorphableModel
from models.observers import JudgeReading
from models.portrait_embedding import Source
from models.stylerig.sliders import Slider, apply_sliders, components_of, unit_of
from renderers.rotation import rotation_distance

SOURCES: tuple[Source, ...] = get_args(Source)
# Pixels of a picture in a grid.
SIZE = 104
# After a slider's value in labels.
_UNITS = {"degrees": "°"}
# Names of sources in tables and captions.
PLURALS: dict[str, str] = {"photo": "photos", "portrait": "synthetic portraits", "sample": "samples"}


@dataclass(frozen=True)
class ShownEdit:
    """One edit, a column of a grid.

    Attributes:
        label: Above the column.
        components: What it changes.
        target: From what the rig reads of codes to what is asked of them.
    """

    label: str
    components: tuple[str, ...]
    target: Callable[[FaceParameters], FaceParameters]


@dataclass(frozen=True, eq=False)
class EditedPictures:
    """What came of an edit of all portraits of a setting.

    Attributes:
        codes: (P, layers, width) edited.
        images: (P, 3, S, S) their pictures.
        asked: The target of each.
        errors: Component to (P) distance of what MoFA reads of the pictures to the target: degrees for the rotation, else root mean
            squares over coefficients in units of each one's spread over the rig's training set.
        judged_errors: Likewise by the judge, in its own spreads; None where there is no judge.
        recognition: (P) || Psi(I) - Psi(edited picture) ||^2, from 0 to 4 (the second term of equation 15).
        judged_identity: (P) change of the judge's identity reading, shape and skin, from I, in its spreads; None without judge.
    """

    codes: Float[Tensor, "portraits layers width"]
    images: Float[Tensor, "portraits 3 size size"]
    asked: FaceParameters
    errors: dict[str, Float[Tensor, " portraits"]]
    judged_errors: dict[str, Float[Tensor, " portraits"]] | None
    recognition: Float[Tensor, " portraits"]
    judged_identity: Float[Tensor, " portraits"] | None


def slider_edit(face_model: MorphableModel, *sliders: Slider) -> ShownEdit:
    """The edit of sliders, labelled by them."""
    labels = []
    for slider in sliders:
        assert isinstance(slider.value, float | int)
        labels.append(f"{slider.name.replace('_', ' ')} {slider.value:+g}{_UNITS.get(unit_of(slider.name), '')}")
    return ShownEdit(", ".join(labels), components_of(sliders), lambda own: apply_sliders(own, sliders, face_model))


def controlled(embedded: EmbeddedPortraits, edits: Sequence[ShownEdit]) -> list[ShownEdit]:
    """Those edits that the rigs control."""
    return [edit for edit in edits if set(edit.components) <= set(embedded.opened.rig.components)]


@torch.no_grad()
def run_edit(
    embedded: EmbeddedPortraits,
    edit: ShownEdit,
    feedback: int = 0,
    codes: Float[Tensor, "portraits layers width"] | None = None,
) -> EditedPictures:
    """Edit the embeddings of a setting and read the pictures.

    Args:
        embedded: The setting.
        edit: What is asked.
        feedback: Rounds of PIE's feedback.
        codes: Codes of these portraits to edit in place of the embeddings, such as those of an earlier edit.
    """
    codes = embedded.codes if codes is None else codes
    asked = edit.target(embedded.opened.rig.parameters_of(codes))
    return measured(embedded, embedded.edit(codes, asked, edit.components, feedback), asked, edit.components)


@torch.no_grad()
def measured(
    embedded: EmbeddedPortraits,
    codes: Float[Tensor, "portraits layers width"],
    asked: FaceParameters,
    components: Sequence[str],
) -> EditedPictures:
    """Pictures of edited codes of all portraits of a setting, and how far these are from what was asked and from the portraits."""
    images = embedded.pictures(codes)
    achieved = embedded.read(images)
    rig, judge = embedded.opened.rig, embedded.judge
    errors = {
        component: _distance(
            component, asked, achieved, rig.network_of(component).parameter_std[rig.sizes.slice(component)]
        )
        for component in components
    }
    recognition = (embedded.identities(embedded.portraits) - embedded.identities(images)).square().sum(dim=1)
    if judge is None:
        return EditedPictures(codes, images, asked, errors, None, recognition, None)
    before, after = judge(embedded.portraits), judge(images)
    judged = {
        component: _distance(component, asked, after, judge.component_spread(component)) for component in components
    }
    return EditedPictures(
        codes, images, asked, errors, judged, recognition, reading_change(judge, before, after).identity
    )


def _distance(
    component: str, asked: FaceParameters, achieved: FaceParameters | JudgeReading, spread: Tensor
) -> Float[Tensor, " portraits"]:
    wanted, found = getattr(asked, component), getattr(achieved, component)
    if component == "rotation":
        return rotation_distance(wanted, found).rad2deg()
    return ((found - wanted) / spread).square().mean(dim=1).sqrt()


def in_common(settings: Sequence[EmbeddedPortraits]) -> list[EmbeddedPortraits]:
    """The settings with those portraits alone that all of them embedded, in one order."""
    shared = set.intersection(*({embedding.name for embedding in setting.embeddings} for setting in settings))
    names = [embedding.name for embedding in settings[0].embeddings if embedding.name in shared]
    return [setting.select(names) for setting in settings]


def shown_places(embedded: EmbeddedPortraits, count: int) -> list[int]:
    """Places of the portraits that pictures show: a photo, a synthetic portrait, a sample, then the next of each."""
    by_source = [
        [place for place, each in enumerate(embedded.embeddings) if each.source == source] for source in SOURCES
    ]
    turns = [place for turn in zip_longest(*by_source) for place in turn if place is not None]
    return turns[:count]


def by_source(embedded: EmbeddedPortraits) -> dict[Source, list[int]]:
    """Places of the portraits of each source that there are any of."""
    places = {s: [place for place, each in enumerate(embedded.embeddings) if each.source == s] for s in SOURCES}
    return {source: found for source, found in places.items() if found}


def count_portraits(embedded: EmbeddedPortraits) -> str:
    """How many portraits of which source, for captions."""
    counts = {source: len(places) for source, places in by_source(embedded).items()}
    return ", ".join(
        f"{count} {PLURALS[source] if count > 1 else PLURALS[source][:-1]}" for source, count in counts.items()
    )


def mean_at(values: Float[Tensor, " portraits"] | None, places: Sequence[int]) -> float:
    """Mean over some portraits; NaN where nobody read."""
    return float("nan") if values is None else float(values[list(places)].mean())


def readers_named(embedded: EmbeddedPortraits) -> str:
    """Who measured, for captions."""
    judge = "the judge took no part in any of it" if embedded.judge is not None else "no judge was given"
    return f"MoFA and Psi are the energy's own, {judge}"


def grid_of(
    rows: Sequence[Sequence[Float[Tensor, "3 size size"] | Image.Image | None]],
    row_labels: Sequence[str],
    column_labels: Sequence[str],
) -> Image.Image:
    """Images in [-1, 1], or pictures ready made, as a labelled grid."""
    pictures = [[to_picture(cell, SIZE) if isinstance(cell, Tensor) else cell for cell in row] for row in rows]
    return picture_grid(pictures, row_labels, column_labels)
