"""Relighting coefficient by coefficient, with the light that is asked for on a sphere (PIE, Fig. 4)."""

from collections.abc import Sequence

import torch
from jaxtyping import Float
from PIL import Image
from torch import Tensor

from evaluation.figures import Cell, Figure
from evaluation.pie.embedded import EmbeddedPortraits
from evaluation.pie.shown_edits import (
    SIZE,
    EditedPictures,
    ShownEdit,
    by_source,
    count_portraits,
    grid_of,
    in_common,
    mean_at,
    readers_named,
    run_edit,
    shown_places,
)
from evaluation.report import to_picture
from models.morphable import FaceParameters
from renderers.images import to_signed
from renderers.shading import shade_spherical_harmonics

# Per colour, what each coefficient of the public BFM tools is of a normal (`spherical_harmonics_basis`): y up, z towards the viewer.
HARMONICS = ("1", "-y", "z", "-x", "xy", "-yz", "3z2-1", "-xz", "x2-y2")
_COLOURS = ("red", "green", "blue")
# The first-order coefficient of light from the side, for the coloured columns.
_SIDE = 3
# How far a coefficient is moved, in standard deviations over the rig's training set; ours, the paper gives none.
_AMOUNT = 3.0
# Share of a cell's side that the sphere takes, and its albedo: those of the paper's insets cannot be read off.
_INSET, _GREY = 0.3, 0.6
# Lights of the demo's portraits differ by a few hundredths in each coefficient: hardly to be seen on a small sphere.
_CONTRAST = 4.0

COLUMNS = (
    "setting",
    "source",
    "portraits",
    "coefficients",
    "asked_change_spreads",
    "achieved_change_by_mofa_spreads",
    "achieved_change_by_judge_spreads",
    "change_of_the_others_by_mofa_spreads",
    "recognition",
)


@torch.no_grad()
def illumination_grid(
    settings: Sequence[EmbeddedPortraits], shown: int = 3, feedback: int = 0, amount: float = _AMOUNT
) -> list[Figure]:
    """``pie_illumination`` (Fig. 4): one spherical-harmonic coefficient changed at a time; none where no rig controls the light.

    Args:
        settings: Compared on the portraits that all of them embedded.
        shown: Portraits in the picture; the numbers are over all.
        feedback: Rounds of PIE's feedback.
        amount: Change of a coefficient, in standard deviations over the rig's training set.
    """
    settings = in_common(settings)
    if "illumination" not in settings[0].opened.rig.components or not len(settings[0]):
        return []
    spread = _spread(settings[0])
    moves = _moves(spread, amount)
    edits = [_edit(label, change) for label, change in moves.items()]
    results = [[run_edit(setting, edit, feedback) for edit in edits] for setting in settings]
    rows: list[tuple[Cell, ...]] = []
    for setting, its in zip(settings, results, strict=True):
        before = _lights(setting, setting.pictures(setting.codes))
        for edit, change, result in zip(edits, moves.values(), its, strict=True):
            after = _lights(setting, result.images)
            moved = {reader: (light - before[reader]) / spread for reader, light in after.items()}
            rows += _number_rows(setting, edit, change / spread, moved, result)
    caption = (
        f"Every column changes one of the nine spherical-harmonic coefficients, {amount:g} standard deviations up in all three colours "
        "or, in the last three, in one; all others are asked to stay. The light asked for is shown on a grey sphere, at "
        f"{_CONTRAST:g} times its contrast. Left to right: portrait, its embedding, edits. {min(shown, len(settings[0]))} portraits "
        f"shown; the numbers are means over those of a source, of {count_portraits(settings[0])}: readings of the edited picture less "
        "those of the embedding's picture, along what was asked, in standard deviations over the rig's training set. Recognition is "
        f"||Psi(I) - Psi(edited)||^2, from 0 to 4. {readers_named(settings[0])}."
    )
    picture = _picture(settings, edits, results, shown)
    return [
        Figure(
            "pie_illumination",
            "Illumination, coefficient by coefficient (Fig. 4)",
            caption,
            COLUMNS,
            tuple(rows),
            picture,
        )
    ]


@torch.no_grad()
def light_sphere(illumination: Float[Tensor, "27"], size: int, contrast: float = 1.0) -> Image.Image:
    """A grey Lambertian sphere of `size` pixels under a light, as the viewer sees it; RGBA, transparent around it.

    Differences from its mean colour are shown `contrast` times as large.
    """
    places = (torch.arange(size, device=illumination.device) + 0.5) / size * 2 - 1
    y, x = torch.meshgrid(-places, places, indexing="ij")
    depth = 1 - x.square() - y.square()
    normals = torch.stack([x, y, depth.clamp_min(0).sqrt()], dim=-1).reshape(1, -1, 3)
    colours = shade_spherical_harmonics(torch.full_like(normals, _GREY), normals, illumination[None])
    mean = colours[:, depth.flatten() > 0].mean(dim=1, keepdim=True)
    colours = mean + contrast * (colours - mean)
    picture = to_picture(to_signed(colours.clamp(0, 1)).reshape(size, size, 3).permute(2, 0, 1))
    picture.putalpha(Image.fromarray((depth > 0).mul(255).to(torch.uint8).cpu().numpy()))
    return picture


def _spread(setting: EmbeddedPortraits) -> Float[Tensor, "27"]:
    rig = setting.opened.rig
    return rig.network_of("illumination").parameter_std[rig.sizes.slice("illumination")]


def _moves(spread: Float[Tensor, "27"], amount: float) -> dict[str, Float[Tensor, "27"]]:
    """Label to change: each coefficient in all colours, then that of side light in each colour."""
    moves = {}
    for index, name in enumerate(HARMONICS):
        change = torch.zeros_like(spread).reshape(3, 9)
        # One size for all colours, so that the light keeps its colour.
        change[:, index] = amount * spread.reshape(3, 9)[:, index].mean()
        moves[f"{index}: {name}"] = change.flatten()
    for channel, colour in enumerate(_COLOURS):
        change = torch.zeros_like(spread).reshape(3, 9)
        change[channel, _SIDE] = amount * spread.reshape(3, 9)[channel, _SIDE]
        moves[f"{_SIDE}: {HARMONICS[_SIDE]}, {colour}"] = change.flatten()
    return moves


def _edit(label: str, change: Float[Tensor, "27"]) -> ShownEdit:
    def target(own: FaceParameters) -> FaceParameters:
        return own.replace(illumination=own.illumination + change)

    return ShownEdit(label, ("illumination",), target)


def _lights(
    setting: EmbeddedPortraits, images: Float[Tensor, "portraits 3 size size"]
) -> dict[str, Float[Tensor, "portraits 27"]]:
    """What each reader sees of the light."""
    lights = {"mofa": setting.read(images).illumination}
    return lights if setting.judge is None else {**lights, "judge": setting.judge(images).illumination}


def _number_rows(
    setting: EmbeddedPortraits,
    edit: ShownEdit,
    asked: Float[Tensor, "27"],
    moved: dict[str, Float[Tensor, "portraits 27"]],
    result: EditedPictures,
) -> list[tuple[Cell, ...]]:
    direction = asked / torch.linalg.vector_norm(asked)
    others = moved["mofa"][:, asked == 0].square().mean(dim=1).sqrt()
    return [
        (
            setting.label,
            source,
            len(places),
            edit.label,
            float(asked @ direction),
            mean_at(moved["mofa"] @ direction, places),
            mean_at(moved["judge"] @ direction if "judge" in moved else None, places),
            mean_at(others, places),
            mean_at(result.recognition, places),
        )
        for source, places in by_source(setting).items()
    ]


def _picture(
    settings: Sequence[EmbeddedPortraits],
    edits: Sequence[ShownEdit],
    results: Sequence[Sequence[EditedPictures]],
    shown: int,
) -> Image.Image:
    fits = [setting.pictures(setting.codes) for setting in settings]
    portraits, rows, labels = settings[0].portraits, [], []
    for place in shown_places(settings[0], shown):
        for number, setting in enumerate(settings):
            own = setting.opened.rig.parameters_of(setting.codes[place : place + 1]).illumination[0]
            row: list[Image.Image | None] = [to_picture(portraits[place], SIZE) if number == 0 else None]
            row.append(_with_sphere(fits[number][place], own))
            row += [_with_sphere(each.images[place], each.asked.illumination[place]) for each in results[number]]
            rows.append(row)
            labels.append(setting.label)
    return grid_of(rows, labels, ["portrait", "embedding", *(edit.label for edit in edits)])


def _with_sphere(image: Float[Tensor, "3 size size"], illumination: Float[Tensor, "27"]) -> Image.Image:
    picture = to_picture(image, SIZE)
    sphere = light_sphere(illumination, round(_INSET * SIZE), _CONTRAST)
    picture.paste(sphere, (SIZE - sphere.width, SIZE - sphere.height), sphere)
    return picture
