"""PIE's feedback (section 5): edits asked for once more, by what the first one missed."""

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from evaluation.figures import Cell, Figure
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
from evaluation.pie.published import paper_order
from evaluation.pie.shown_edits import count_portraits, in_common, readers_named
from renderers.errors import InputError

TABLE = "pie_feedback"
# None, the paper's one, and one more.
ROUNDS = (0, 1, 2)
# What PIE edits, of what a rig may control.
_COMPONENTS = ("rotation", "illumination", "expression")


def feedback_figures(settings: Sequence[EmbeddedPortraits], edits: int) -> list[Figure]:
    """Editing errors without feedback and with one and two rounds, for each setting and component that the rig controls.

    Args:
        settings: Embeddings of the same portraits by several settings.
        edits: Of portraits and samples, for each component and number of rounds, at least so many.

    Raises:
        InputError: for no edits, or settings without a portrait in common.
    """
    shared = in_common(settings)
    first = shared[0]
    if edits < 1 or len(first) < 1:
        raise InputError(
            f"expected edits of portraits that all settings embedded, got {edits} of {len(first)}; embed the same portraits"
        )
    main, places = next(iter(groups_of(first).items()))
    portrait = torch.tensor(places, device=first.device).repeat_interleave(math.ceil(edits / len(places)))
    targets = unseen_targets(first, len(portrait))
    components = [component for component in _COMPONENTS if component in first.opened.rig.components]
    rows: list[tuple[Cell, ...]] = []
    for component in components:
        for setting in sorted(shared, key=lambda each: paper_order(each.label)):
            without: tuple[Tensor, ...] = ()
            for rounds in ROUNDS:
                values = _measure(setting, portrait, targets, component, rounds)
                without = without or values
                changes = [number for each in (0, 1) for number in _paired(values[each] - without[each], len(places))]
                means = (float(each.mean()) for each in values)
                unit = "rad" if component == "rotation" else "spreads"
                rows.append((setting.label, component, unit, rounds, len(portrait), *means, *changes))
    columns = (
        *("setting", "component", "unit", "rounds", "edits", "editing_error", "editing_error_judge", "asked"),
        *("recognition_error", "recognition_error_judge_spreads"),
        *(f"{name}{part}" for name in ("change_by_feedback", "change_by_feedback_judge") for part in ("", "_se")),
    )
    caption = (
        f"Edits of {main} ({count_portraits(first)} embedded) to components of unseen codes, without feedback and with rounds of it (1 is "
        "PIE's): distance of what is read of the edited picture to what was asked, in radians or root mean squares in spreads; asked: what "
        f"no edit leaves; change by feedback: the editing error less that without feedback, with its standard error over "
        f"portraits. {readers_named(first)}; the rig's own reading of the edited code gives the feedback."
    )
    return [Figure(TABLE, "Feedback on and off (section 5)", caption, columns, tuple(rows))]


@torch.no_grad()
def _measure(
    embedded: EmbeddedPortraits, portrait: Tensor, targets: UnseenTargets, component: str, rounds: int
) -> tuple[Tensor, ...]:
    pictures = edited_pictures(embedded, portrait, targets.parameters, (component,), rounds)
    edited = joined([look(embedded, part) for part in pictures])
    own = look(embedded, embedded.portraits).at(portrait)
    return (
        moved_by_mofa(embedded, component, targets.seen, edited),
        moved_by_judge(embedded, component, targets.seen, edited),
        moved_by_mofa(embedded, component, targets.seen, own),
        recognition_error(own, edited),
        judged_identity(embedded, own, edited),
    )


def _paired(difference: Tensor, portraits: int) -> tuple[float, float]:
    """Mean of a difference over all edits, and its standard error over portraits, which have as many edits each."""
    each = difference.reshape(portraits, -1).mean(dim=1)
    return float(each.mean()), float(each.std() / portraits**0.5) if portraits > 1 else math.nan
