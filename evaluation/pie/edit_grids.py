"""Grids of edited portraits, setting under setting, with their numbers (PIE, Fig. 3, 5, 6 and 7)."""

from collections.abc import Sequence
from typing import NamedTuple

import torch
from PIL import Image

from evaluation.figures import Cell, Figure
from evaluation.pie.embedded import EmbeddedPortraits
from evaluation.pie.shown_edits import (
    EditedPictures,
    ShownEdit,
    by_source,
    controlled,
    count_portraits,
    grid_of,
    in_common,
    mean_at,
    readers_named,
    run_edit,
    shown_places,
    slider_edit,
)
from models.morphable import MorphableModel
from models.stylerig.sliders import Slider, read_slider, slider_names

COLUMNS = (
    "setting",
    "source",
    "portraits",
    "edit",
    "components",
    "error_by_mofa",
    "error_by_judge",
    "recognition",
    "identity_change_by_judge_spreads",
)
# What is asked in Fig. 3, 5, 6 and 7 is to be seen in the paper, not read: these edits are ours.
_YAWS, _PITCHES, _AZIMUTHS = (-35.0, -18.0, 18.0, 35.0), (-18.0, 18.0), (-30.0, 30.0)
_EXPRESSIONS = ("smile", "open_mouth", "frown", "blink", "brow_raise", "pucker")
# Of models whose expressions have no names: the first ones.
_UNNAMED = 3
# Expressions are asked as strong as they are read in the strongest of unseen pictures: what is beyond, no rig has seen.
_STRONGEST, _UNSEEN = 0.98, 200


class GridText(NamedTuple):
    """Name, title and first sentence of the caption of a grid."""

    name: str
    title: str
    caption: str


def pose_edits(face_model: MorphableModel) -> list[ShownEdit]:
    """The poses of Fig. 3: absolute yaw, then absolute pitch."""
    turns = [("yaw", value) for value in _YAWS] + [("pitch", value) for value in _PITCHES]
    return [slider_edit(face_model, Slider(name, value)) for name, value in turns]


@torch.no_grad()
def expression_edits(embedded: EmbeddedPortraits) -> list[ShownEdit]:
    """The expressions of Fig. 5, those that the face model has under these names; else its first coefficients, both ways. Each as strong
    as in the strongest 2 % of pictures of unseen codes, as the rig reads them."""
    model = embedded.opened.face_model
    seen = embedded.opened.rig.parameters_of(embedded.unseen_codes(_UNSEEN))
    names = slider_names(model)
    asked = [(name, _STRONGEST) for name in _EXPRESSIONS if name in names]
    if not asked:
        numbers = range(min(_UNNAMED, model.sizes.expression))
        asked = [(f"e{number}", share) for number in numbers for share in (1 - _STRONGEST, _STRONGEST)]
    strengths = [round(float(read_slider(seen, name, model).quantile(share)), 2) for name, share in asked]
    return [slider_edit(model, Slider(name, strength)) for (name, _), strength in zip(asked, strengths, strict=True)]


def ablation_edits(face_model: MorphableModel) -> list[ShownEdit]:
    """Pose and light of Fig. 6 and 7."""
    turns = [slider_edit(face_model, Slider("yaw", value)) for value in (_YAWS[0], _YAWS[-1])]
    return turns + [slider_edit(face_model, Slider("light_azimuth", value)) for value in _AZIMUTHS]


@torch.no_grad()
def pose_grid(settings: Sequence[EmbeddedPortraits], shown: int = 4, feedback: int = 0) -> list[Figure]:
    """``pie_pose`` (Fig. 3): out-of-plane rotations; none where no rig controls the rotation."""
    text = GridText(
        "pie_pose",
        "Head pose of embedded portraits (Fig. 3)",
        "Absolute angles asked, positive yaw turning the nose to the image's right and positive pitch turning it down.",
    )
    return edit_grid(text, settings, pose_edits(settings[0].opened.face_model), shown, feedback)


@torch.no_grad()
def expression_grid(settings: Sequence[EmbeddedPortraits], shown: int = 4, feedback: int = 0) -> list[Figure]:
    """``pie_expression`` (Fig. 5); none where no rig controls the expression."""
    text = GridText(
        "pie_expression",
        "Expressions of embedded portraits (Fig. 5)",
        "Absolute strengths of the face model's expressions asked, those of the strongest 2 % of unseen pictures; others as they are read.",
    )
    return edit_grid(text, settings, expression_edits(settings[0]), shown, feedback)


@torch.no_grad()
def loss_ablation(settings: Sequence[EmbeddedPortraits], shown: int = 2, feedback: int = 0) -> list[Figure]:
    """``pie_loss_ablation`` (Fig. 6): the same pose and light asked of embeddings made with some of the terms and with all."""
    text = GridText(
        "pie_loss_ablation",
        "Pose and light edits under ablations of the energy (Fig. 6)",
        "Modification stands for the identity, edit and invariance terms together.",
    )
    return edit_grid(text, settings, ablation_edits(settings[0].opened.face_model), shown, feedback)


@torch.no_grad()
def hierarchy(settings: Sequence[EmbeddedPortraits], shown: int = 3, feedback: int = 0) -> list[Figure]:
    """``pie_hierarchy`` (Fig. 7): embeddings that started in W against those that were optimised in W+ alone."""
    text = GridText(
        "pie_hierarchy",
        "Hierarchical against direct optimisation (Fig. 7)",
        "The same energy, minimised in W and then W+ or in W+ from the start.",
    )
    return edit_grid(text, settings, ablation_edits(settings[0].opened.face_model), shown, feedback)


@torch.no_grad()
def edit_grid(
    text: GridText, settings: Sequence[EmbeddedPortraits], edits: Sequence[ShownEdit], shown: int, feedback: int = 0
) -> list[Figure]:
    """One figure of the edits that the rigs control, or none.

    Args:
        text: What it is called.
        settings: Compared on the portraits that all of them embedded.
        edits: Columns.
        shown: Portraits in the picture; the numbers are over all.
        feedback: Rounds of PIE's feedback.
    """
    settings = in_common(settings)
    edits = controlled(settings[0], edits)
    if not edits or not len(settings[0]):
        return []
    results = [[run_edit(setting, edit, feedback) for edit in edits] for setting in settings]
    rows = [
        number_row(setting, edit, result, source, places)
        for setting, its in zip(settings, results, strict=True)
        for edit, result in zip(edits, its, strict=True)
        for source, places in by_source(setting).items()
    ]
    rounds = f", {feedback} round{'s' if feedback > 1 else ''} of feedback" if feedback else ""
    caption = (
        f"{text.caption} Left to right: portrait, its embedding, edits; the same target rule for every setting{rounds}. "
        f"{min(shown, len(settings[0]))} portraits shown; the numbers are means over those of a source, of {count_portraits(settings[0])}. "
        f"Errors are distances of what is read of the edited picture to what was asked, {_units(edits)}; recognition is "
        f"||Psi(I) - Psi(edited)||^2, from 0 to 4. {readers_named(settings[0])}."
    )
    return [Figure(text.name, text.title, caption, COLUMNS, tuple(rows), blocks(settings, edits, results, shown))]


def number_row(
    setting: EmbeddedPortraits, edit: ShownEdit, result: EditedPictures, source: str, places: Sequence[int]
) -> tuple[Cell, ...]:
    """The numbers of one edit of the portraits of one source, in the order of `COLUMNS`; of several components, means of their errors."""
    judged = result.judged_errors
    return (
        setting.label,
        source,
        len(places),
        edit.label,
        " ".join(edit.components),
        sum(mean_at(result.errors[each], places) for each in edit.components) / len(edit.components),
        sum(mean_at(judged[each] if judged else None, places) for each in edit.components) / len(edit.components),
        mean_at(result.recognition, places),
        mean_at(result.judged_identity, places),
    )


def blocks(
    settings: Sequence[EmbeddedPortraits],
    edits: Sequence[ShownEdit],
    results: Sequence[Sequence[EditedPictures]],
    shown: int,
) -> Image.Image:
    """A block of rows for each portrait: a row for each setting of its portrait, embedding and edits."""
    fits = [setting.pictures(setting.codes) for setting in settings]
    portraits, rows, labels = settings[0].portraits, [], []
    for place in shown_places(settings[0], shown):
        for number, setting in enumerate(settings):
            # The portrait is the same for all settings.
            first = portraits[place] if number == 0 else None
            rows.append([first, fits[number][place], *(result.images[place] for result in results[number])])
            labels.append(setting.label)
    return grid_of(rows, labels, ["portrait", "embedding", *(edit.label for edit in edits)])


def _units(edits: Sequence[ShownEdit]) -> str:
    components = {component for edit in edits for component in edit.components}
    parts = ["in degrees for the pose"] if "rotation" in components else []
    if components - {"rotation"}:
        parts.append("root mean squares over coefficients in units of each one's spread for the rest")
    return ", ".join(parts)
