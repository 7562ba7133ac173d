"""Where embeddings and their edits fail: the largest edits, and the portraits that fit worst (PIE, section 6, Fig. 12)."""

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor

from evaluation.figures import Cell, Figure
from evaluation.pie.edit_grids import GridText, edit_grid, expression_edits
from evaluation.pie.embedded import EmbeddedPortraits
from evaluation.pie.shown_edits import ShownEdit, count_portraits, grid_of, readers_named, slider_edit
from models.morphable import FaceParameters
from models.stylerig.sliders import Slider

# Beyond what portraits show: far turns, a roll that aligned portraits never have (section 6, point 1), light from behind.
_LARGE = (("yaw", -70.0), ("yaw", 70.0), ("pitch", 40.0), ("roll", 35.0), ("light_azimuth", -140.0))
# Expressions are asked this many times as strongly as Fig. 5 asks them.
_EXAGGERATED = 3.0
# Differences are shown this many times as large.
_GAIN = 3.0


def large_edits(embedded: EmbeddedPortraits) -> list[ShownEdit]:
    """Edits that no rig can follow, and the first expression of Fig. 5 exaggerated."""
    edits = [slider_edit(embedded.opened.face_model, Slider(name, value)) for name, value in _LARGE]
    full = expression_edits(embedded)[0]

    def exaggerated(own: FaceParameters) -> FaceParameters:
        return own.replace(expression=own.expression.lerp(full.target(own).expression, _EXAGGERATED))

    return [*edits, ShownEdit(f"{_EXAGGERATED:g} x {full.label}", full.components, exaggerated)]


@torch.no_grad()
def limits(settings: Sequence[EmbeddedPortraits], shown: int = 3, feedback: int = 0) -> list[Figure]:
    """``pie_limits_large_edits`` where a rig controls anything of it, and ``pie_limits_worst_fits`` of the first setting.

    Args:
        settings: The one in question first; others beside it in the large edits.
        shown: Portraits in the pictures; the numbers are over all.
        feedback: Rounds of PIE's feedback.
    """
    text = GridText(
        "pie_limits_large_edits",
        "Known limits: large edits (Fig. 12)",
        "Poses, lights and expressions beyond those that the generator's training pictures show.",
    )
    edits = large_edits(settings[0])
    return [*edit_grid(text, settings, edits, shown, feedback), *worst_fits(settings[0], shown)]


@torch.no_grad()
def worst_fits(embedded: EmbeddedPortraits, shown: int = 3) -> list[Figure]:
    """``pie_limits_worst_fits``: the portraits that their embeddings show worst, by the peak signal-to-noise ratio."""
    if not len(embedded):
        return []
    portraits, fits = embedded.portraits, embedded.pictures(embedded.codes)
    ratios = peak_signal_to_noise(fits, portraits)
    recognition = (embedded.identities(portraits) - embedded.identities(fits)).square().sum(dim=1)
    order = ratios.argsort().tolist()
    rows: list[tuple[Cell, ...]] = [
        (
            embedded.embeddings[place].name,
            embedded.embeddings[place].source,
            float(ratios[place]),
            float(recognition[place]),
        )
        for place in order
    ]
    chosen = order[:shown]
    pictures = [
        [portraits[place], fits[place], ((fits[place] - portraits[place]).abs() * _GAIN - 1).clamp(-1, 1)]
        for place in chosen
    ]
    caption = (
        f"{count_portraits(embedded)} by the fit of their embeddings ({embedded.label}), the worst {len(chosen)} shown: portrait, its "
        f"embedding, and the absolute difference {_GAIN:g} times as large. PSNR in dB from {rows[0][2]:.1f} to {rows[-1][2]:.1f}; "
        f"recognition is ||Psi(I) - Psi(I(w))||^2, from 0 to 4. {readers_named(embedded)}."
    )
    labels = [f"{embedded.embeddings[place].name[:24]}, {ratios[place]:.1f} dB" for place in chosen]
    grid = grid_of(pictures, labels, ["portrait", "embedding", "difference"])
    columns = ("name", "source", "psnr_db", "recognition")
    return [
        Figure("pie_limits_worst_fits", "Known limits: the worst fits (Fig. 12)", caption, columns, tuple(rows), grid)
    ]


def peak_signal_to_noise(
    images: Float[Tensor, "batch 3 size size"], references: Float[Tensor, "batch 3 size size"]
) -> Float[Tensor, " batch"]:
    """10 log10(1 / mean squared error) of colours in [0, 1], dB, picture by picture; images in [-1, 1]."""
    return -10 * ((images - references) / 2).square().mean(dim=(1, 2, 3)).log10()
