"""InterFaceGAN-style linear edits w + a n of embeddings, beside edits of the rig of the same size (PIE, section 5.4, Fig. 11)."""

from collections.abc import Sequence

import torch
from jaxtyping import Float
from PIL import Image
from torch import Tensor

from evaluation.figures import Cell, Figure
from evaluation.pie.embedded import EmbeddedPortraits
from evaluation.pie.shown_edits import (
    by_source,
    count_portraits,
    grid_of,
    in_common,
    mean_at,
    readers_named,
    shown_places,
)
from evaluation.reading_changes import reading_change
from models.latent_directions import LatentDirection, LatentDirections
from models.morphable import FaceParameters
from models.observers import JudgeReading
from models.stylerig.sliders import read_slider, slider_names, unit_of

# In spreads of W along the direction; ours, the amounts behind Fig. 11 are not given.
_AMOUNTS = (-2.0, -1.0, 1.0, 2.0)
# More would not fit beside each other.
_SHOWN_DIRECTIONS = 2

COLUMNS = (
    "setting",
    "source",
    "portraits",
    "direction",
    "amount_spreads",
    "unit",
    "change_by_mofa",
    "change_by_judge",
    "recognition",
    "identity_change_by_judge_spreads",
)


@torch.no_grad()
def linear_edits(
    settings: Sequence[EmbeddedPortraits],
    directions: LatentDirections,
    shown: int = 3,
    amounts: Sequence[float] = _AMOUNTS,
) -> list[Figure]:
    """``pie_linear_edits`` (Fig. 11): embeddings moved along directions of W that no rig knows.

    Args:
        settings: Compared on the portraits that all of them embedded.
        directions: Of their generator; the first two that are named like sliders are shown, all that are so named are measured.
        shown: Portraits in the picture; the numbers are over all.
        amounts: In spreads of codes along each direction.

    Raises:
        InputError: for directions of another generator.
    """
    settings = in_common(settings)
    directions.require(settings[0].opened.generator)
    known = slider_names(settings[0].opened.face_model)
    measured = [each for each in directions.directions if each.name in known]
    if not measured or not len(settings[0]):
        return []
    images = [
        {
            (direction.name, amount): setting.pictures(direction.move(setting.codes, amount))
            for direction in measured
            for amount in amounts
        }
        for setting in settings
    ]
    rows = [
        row
        for setting, its in zip(settings, images, strict=True)
        for direction in measured
        for row in _rows(setting, direction, {amount: its[direction.name, amount] for amount in amounts})
    ]
    caption = (
        "Left to right: portrait, its embedding w, and w + a n for unit normals n of hyperplanes that separate the generator's codes by "
        f"one property, a in standard deviations (s) of codes along n. {min(shown, len(settings[0]))} portraits shown; the numbers are "
        f"means over those of a source, of {count_portraits(settings[0])}: change of the property from the embedding's picture, in its "
        f"unit, and recognition, ||Psi(I) - Psi(edited)||^2, from 0 to 4. {readers_named(settings[0])}."
    )
    picture = _picture(settings, measured[:_SHOWN_DIRECTIONS], images, amounts, shown)
    title = "Linear edits of W on the same embeddings (Fig. 11)"
    return [Figure("pie_linear_edits", title, caption, COLUMNS, tuple(rows), picture)]


def _rows(
    setting: EmbeddedPortraits, direction: LatentDirection, moved: dict[float, Float[Tensor, "portraits 3 size size"]]
) -> list[tuple[Cell, ...]]:
    name, face_model, judge = direction.name, setting.opened.face_model, setting.judge
    fits, portraits = setting.pictures(setting.codes), setting.portraits
    identity = setting.identities(portraits)
    before = read_slider(setting.read(fits), name, face_model)
    rows: list[tuple[Cell, ...]] = []
    for amount, images in moved.items():
        change = _difference(read_slider(setting.read(images), name, face_model), before, name)
        recognition = (identity - setting.identities(images)).square().sum(dim=1)
        judged = kept = None
        if judge is not None:
            after = judge(images)
            unmoved = read_slider(_parameters(judge(fits)), name, face_model)
            judged = _difference(read_slider(_parameters(after), name, face_model), unmoved, name)
            kept = reading_change(judge, judge(portraits), after).identity
        rows += [
            (
                setting.label,
                source,
                len(places),
                name,
                amount,
                unit_of(name),
                mean_at(change, places),
                mean_at(judged, places),
                mean_at(recognition, places),
                mean_at(kept, places),
            )
            for source, places in by_source(setting).items()
        ]
    return rows


def _difference(after: Float[Tensor, " batch"], before: Float[Tensor, " batch"], name: str) -> Float[Tensor, " batch"]:
    """Of readings of a slider; of angles the short way round."""
    change = after - before
    return (change + 180) % 360 - 180 if unit_of(name) == "degrees" else change


def _parameters(reading: JudgeReading) -> FaceParameters:
    # Nobody reads the translation, and no slider is about it.
    return FaceParameters(
        identity=reading.identity,
        expression=reading.expression,
        reflectance=reading.reflectance,
        rotation=reading.rotation,
        illumination=reading.illumination,
        translation=torch.zeros_like(reading.rotation),
    )


def _picture(
    settings: Sequence[EmbeddedPortraits],
    directions: Sequence[LatentDirection],
    images: Sequence[dict[tuple[str, float], Float[Tensor, "portraits 3 size size"]]],
    amounts: Sequence[float],
    shown: int,
) -> Image.Image:
    columns = [(direction.name, amount) for direction in directions for amount in amounts]
    fits, portraits = [setting.pictures(setting.codes) for setting in settings], settings[0].portraits
    rows, labels = [], []
    for place in shown_places(settings[0], shown):
        for number, setting in enumerate(settings):
            first = portraits[place] if number == 0 else None
            rows.append([first, fits[number][place], *(images[number][column][place] for column in columns)])
            labels.append(setting.label)
    headers = [f"{name.replace('_', ' ')} {amount:+g} s" for name, amount in columns]
    return grid_of(rows, labels, ["portrait", "embedding", *headers])
