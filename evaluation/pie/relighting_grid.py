"""The light of reference pictures transferred to embedded portraits, as pictures (PIE, our row of Fig. 9)."""

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor

from evaluation.figures import Cell, Figure
from evaluation.pie.embedded import EmbeddedPortraits
from evaluation.pie.looking import edited_pictures, judged_identity, look, recognition_error
from evaluation.pie.relighting import READERS, light_errors
from evaluation.pie.shown_edits import count_portraits, grid_of, in_common, readers_named, shown_places

COLUMNS = (
    "setting",
    "portrait",
    "reference",
    "light_error_by_mofa",
    "light_error_by_judge",
    "unedited_light_error_by_mofa",
    "unedited_light_error_by_judge",
    "recognition",
    "identity_change_by_judge_spreads",
)


@torch.no_grad()
def relighting_grid(settings: Sequence[EmbeddedPortraits], shown: int = 3, feedback: int = 0) -> list[Figure]:
    """``pie_relighting_pictures`` (Fig. 9): each portrait takes the light of the next, the last that of the first; none where no rig
    controls the light, or there are not two portraits.

    Args:
        settings: Compared on the portraits that all of them embedded.
        shown: Portraits in the picture, at least two.
        feedback: Rounds of PIE's feedback.
    """
    settings = in_common(settings)
    inputs = shown_places(settings[0], max(2, shown))
    if "illumination" not in settings[0].opened.rig.components or len(inputs) < 2:
        return []
    references = [*inputs[1:], inputs[0]]
    relit = [_transfer(setting, inputs, references, feedback) for setting in settings]
    rows = [
        row
        for setting, images in zip(settings, relit, strict=True)
        for row in _rows(setting, images, inputs, references)
    ]
    caption = (
        f"Top to bottom: portrait, reference, the portrait's embedding with the reference's light; {len(inputs)} of "
        f"{count_portraits(settings[0])}. The light is the 27 coefficients that MoFA reads of the reference; all else is asked to stay. "
        "Errors are those of the table of transfers, 0 the same light up to its strength and 1 nothing in common; unedited: of the "
        f"portrait before. Recognition is ||Psi(I) - Psi(result)||^2, from 0 to 4. {readers_named(settings[0])}."
    )
    portraits = settings[0].portraits
    picture = grid_of(
        [list(portraits[inputs]), list(portraits[references]), *(list(images) for images in relit)],
        ["input", "reference", *(setting.label for setting in settings)],
        [settings[0].embeddings[place].name[:16] for place in inputs],
    )
    title = "Light of reference pictures transferred (our row of Fig. 9)"
    return [Figure("pie_relighting_pictures", title, caption, COLUMNS, tuple(rows), picture)]


def _transfer(
    embedded: EmbeddedPortraits, inputs: Sequence[int], references: Sequence[int], feedback: int
) -> Float[Tensor, "portraits 3 size size"]:
    target = embedded.parameters[torch.tensor(references, device=embedded.device)]
    places = torch.tensor(inputs, device=embedded.device)
    return torch.cat(list(edited_pictures(embedded, places, target, ("illumination",), feedback)))


def _rows(
    embedded: EmbeddedPortraits,
    images: Float[Tensor, "portraits 3 size size"],
    inputs: Sequence[int],
    references: Sequence[int],
) -> list[tuple[Cell, ...]]:
    own, wanted = (look(embedded, embedded.portraits[list(places)]) for places in (inputs, references))
    after = look(embedded, images)
    numbers = torch.stack(
        [
            *(light_errors(seen, wanted, reader) for seen in (after, own) for reader in READERS),
            recognition_error(own, after),
            judged_identity(embedded, own, after),
        ],
        dim=1,
    )
    names = [each.name for each in embedded.embeddings]
    return [
        (embedded.label, names[place], names[reference], *cells)
        for place, reference, cells in zip(inputs, references, numbers.tolist(), strict=True)
    ]
