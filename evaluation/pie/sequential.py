"""One edit on top of another by rigs of their own: pose, then light, then expression (PIE, section 5.4, Fig. 10)."""

import torch
from jaxtyping import Float
from PIL import Image
from torch import Tensor

from evaluation.figures import Cell, Figure
from evaluation.pie.edit_grids import expression_edits
from evaluation.pie.embedded import EmbeddedPortraits
from evaluation.pie.shown_edits import (
    EditedPictures,
    ShownEdit,
    by_source,
    controlled,
    count_portraits,
    grid_of,
    mean_at,
    measured,
    readers_named,
    run_edit,
    shown_places,
    slider_edit,
)
from models.stylerig.sliders import Slider

# What is asked; ours, the paper's can be seen alone.
_YAW, _AZIMUTH = 22.0, 25.0

COLUMNS = (
    "setting",
    "source",
    "portraits",
    "edits_so_far",
    "component",
    "error_by_mofa",
    "error_by_judge",
    "recognition",
    "identity_change_by_judge_spreads",
)


def steps(embedded: EmbeddedPortraits) -> list[ShownEdit]:
    """Pose, light and expression, in the paper's order."""
    face_model = embedded.opened.face_model
    return [
        slider_edit(face_model, Slider("yaw", _YAW)),
        slider_edit(face_model, Slider("light_azimuth", _AZIMUTH)),
        expression_edits(embedded)[0],
    ]


@torch.no_grad()
def sequential_edits(embedded: EmbeddedPortraits, shown: int = 4, feedback: int = 0) -> list[Figure]:
    """``pie_sequential`` (Fig. 10): each edit starts from the code that the one before it left; none for rigs of one component.

    Args:
        embedded: One setting.
        shown: Portraits in the picture; the numbers are over all.
        feedback: Rounds of PIE's feedback in every edit.
    """
    edits = controlled(embedded, steps(embedded))
    if len(edits) < 2 or not len(embedded):
        return []
    results: list[EditedPictures] = []
    rows: list[tuple[Cell, ...]] = []
    for number, edit in enumerate(edits):
        result = run_edit(embedded, edit, feedback, results[-1].codes if results else None)
        done = edits[: number + 1]
        # What earlier edits were asked for is to stand after this one, too.
        asked = result.asked
        for earlier, its in zip(edits, results, strict=False):
            asked = asked.with_components_from(its.asked, earlier.components)
        result = measured(embedded, result.codes, asked, [component for each in done for component in each.components])
        results.append(result)
        rows += _rows(embedded, done, result)
    labels = [("+ " if number else "") + edit.label for number, edit in enumerate(edits)]
    caption = (
        "Left to right: portrait, its embedding, then each edit of the code that the one before it left, by the rig of that component: "
        f"{', then '.join(edit.label for edit in edits)}. {min(shown, len(embedded))} portraits shown; the numbers are means over those "
        f"of a source, of {count_portraits(embedded)}: after each edit, how far every component edited so far is from what was asked "
        "of it, in degrees for the pose, root mean squares over coefficients in units of each one's spread for the rest; recognition is "
        f"||Psi(I) - Psi(edited)||^2, from 0 to 4. {readers_named(embedded)}."
    )
    title = "Sequential editing: pose, then light, then expression (Fig. 10)"
    return [Figure("pie_sequential", title, caption, COLUMNS, tuple(rows), _picture(embedded, labels, results, shown))]


def _rows(embedded: EmbeddedPortraits, done: list[ShownEdit], result: EditedPictures) -> list[tuple[Cell, ...]]:
    judged = result.judged_errors
    return [
        (
            embedded.label,
            source,
            len(places),
            ", then ".join(edit.label for edit in done),
            component,
            mean_at(result.errors[component], places),
            mean_at(judged[component] if judged else None, places),
            mean_at(result.recognition, places),
            mean_at(result.judged_identity, places),
        )
        for source, places in by_source(embedded).items()
        for component in result.errors
    ]


def _picture(embedded: EmbeddedPortraits, labels: list[str], results: list[EditedPictures], shown: int) -> Image.Image:
    fits, portraits = embedded.pictures(embedded.codes), embedded.portraits
    rows: list[list[Float[Tensor, "3 size size"]]] = []
    for place in shown_places(embedded, shown):
        rows.append([portraits[place], fits[place], *(result.images[place] for result in results)])
    return grid_of(rows, (), ["portrait", "embedding", *labels])
