"""Known limits (StyleRig section 9, supplement Fig. 6): in-plane rotation and asymmetric expressions, which F learns poorly because
generators of aligned faces hardly show them. Shown as they are, beside edits of the same size that should work."""

from collections.abc import Callable

import torch
from jaxtyping import Float
from PIL import Image
from torch import Tensor

from evaluation.figures import Cell, Figure
from evaluation.picture_readers import Reading
from evaluation.plots import bar_plot, line_plot
from evaluation.stylerig.edits import edited_by, read_codes
from evaluation.stylerig.figure_parts import reader_of, shown_codes
from evaluation.stylerig.pictures import by_sliders, slider_sweep, sweep_grid
from evaluation.stylerig.rig_under_test import RigUnderTest
from models.morphable import FaceParameters
from models.observers import JudgeReading
from models.stylerig.expressions import canonical_name
from models.stylerig.sliders import Slider

_ANGLES = (-40.0, -30.0, -20.0, -10.0, 0.0, 10.0, 20.0, 30.0, 40.0)
# Places in the vector of Euler angles.
_AXES = {"roll": 2, "yaw": 1}
# One-sided expressions: label, blendshape of the left side and that of the right one, in the shipped face model's names.
_ASYMMETRIC = (
    ("smile", "mouth_smile_left", "mouth_smile_right"),
    ("blink", "eye_blink_left", "eye_blink_right"),
    ("jaw", "jaw_left", "jaw_right"),
)
# A jaw does not move to both sides.
_IMPOSSIBLE = (("jaw", "both"),)
# Of the blendshapes at full strength: what is added to the code's own expression.
_STRENGTH = 0.7


@torch.no_grad()
def known_limits(rut: RigUnderTest, people: int = 50, shown: int = 5) -> list[Figure]:
    """``limits_in_plane_rotation`` of networks that control the rotation, and ``limits_asymmetric_expressions`` of those that control
    the expression of a face model whose blendshapes have the shipped model's names.

    Args:
        rut: What is tested.
        people: Codes that the numbers are over.
        shown: Codes in the pictures, at most `people`.
    """
    figures = []
    if "rotation" in rut.components:
        figures.append(_in_plane_rotation(rut, people, shown))
    if "expression" in rut.components and _asymmetric(rut):
        figures.append(_asymmetric_expressions(rut, people, shown))
    return figures


def _in_plane_rotation(rut: RigUnderTest, people: int, shown: int) -> Figure:
    reader, codes = reader_of(rut), shown_codes(rut, people)
    rows: list[tuple[Cell, ...]] = []
    for angle in _ANGLES:
        means = []
        for name, axis in _AXES.items():
            change = by_sliders(rut.face_model, Slider(name, angle))
            edited = edited_by(rut.network, rut.face_reconstruction, codes, change)
            achieved = read_codes(rut.generator, reader, edited).rotation[:, axis].rad2deg()
            means += [float(achieved.mean()), float(achieved.std())]
        rows.append((angle, *means))
    roll, yaw = ([float(row[column]) for row in rows] for column in (1, 3))
    plot = line_plot({"roll": (_ANGLES, roll), "yaw, for comparison": (_ANGLES, yaw)}, "asked, deg", "achieved, deg", diagonal=True)
    grid = slider_sweep(
        rut.generator, rut.network, rut.face_reconstruction, rut.face_model, codes[:shown], "roll", _ANGLES
    )
    return Figure(
        name="limits_in_plane_rotation",
        title="Known limit: in-plane rotation (supplement Fig. 6)",
        caption=(
            f"Absolute roll asked of {people} random people ({min(shown, people)} shown), everything else as F reads it; below, the mean "
            f"achieved, and that of the yaw at the same angles for comparison. From {_ANGLES[0]:g} to {_ANGLES[-1]:g} degrees asked, roll "
            f"moved from {roll[0]:.1f} to {roll[-1]:.1f} and yaw from {yaw[0]:.1f} to {yaw[-1]:.1f}. Aligned faces stand upright: the "
            f"generator has hardly any such pictures to lead to. Read by {reader.name}."
        ),
        columns=(
            "asked_deg",
            "roll_mean_deg",
            "roll_std_deg",
            "yaw_mean_where_yaw_was_asked_deg",
            "yaw_std_where_yaw_was_asked_deg",
        ),
        rows=tuple(rows),
        picture=_above_each_other(grid, plot),
    )


def _asymmetric(rut: RigUnderTest) -> list[tuple[str, int, int]]:
    """(label, coefficient, mirrored coefficient) of the one-sided expressions whose blendshapes the face model has."""
    index = {canonical_name(name): number for number, name in enumerate(rut.face_model.expression_names)}
    return [(label, index[one], index[other]) for label, one, other in _ASYMMETRIC if one in index and other in index]


def _asymmetric_expressions(rut: RigUnderTest, people: int, shown: int) -> Figure:
    reader, codes = reader_of(rut), shown_codes(rut, people)
    before = _expression(read_codes(rut.generator, reader, codes))
    rows: list[tuple[Cell, ...]] = []
    steps: list[tuple[str, Callable[[FaceParameters], FaceParameters]]] = []
    for label, one, other in _asymmetric(rut):
        for sides, asked in (("left", (_STRENGTH, 0.0)), ("right", (0.0, _STRENGTH)), ("both", (_STRENGTH, _STRENGTH))):
            if (label, sides) in _IMPOSSIBLE:
                continue
            names = [rut.face_model.expression_names[index] for index in (one, other)]
            sliders = [Slider(*each, relative=True) for each in zip(names, asked, strict=True)]
            change = by_sliders(rut.face_model, *sliders)
            edited = edited_by(rut.network, rut.face_reconstruction, codes, change)
            moved = (_expression(read_codes(rut.generator, reader, edited)) - before)[:, [one, other]]
            means, deviations = moved.mean(dim=0).tolist(), moved.std(dim=0).tolist()
            rows.append((label, sides, *asked, means[0], deviations[0], means[1], deviations[1]))
            steps.append((f"{label}, {sides}", change))
    plot = bar_plot(
        [name.replace(", ", "\n") for name, _ in steps],
        {
            "asked: left less right": [float(row[2]) - float(row[3]) for row in rows],
            "achieved: left less right": [float(row[4]) - float(row[6]) for row in rows],
            "achieved: left and right, mean": [(float(row[4]) + float(row[6])) / 2 for row in rows],
        },
        "change of blendshapes",
    )
    grid = sweep_grid(rut.generator, rut.network, rut.face_reconstruction, codes[:shown], steps)
    return Figure(
        name="limits_asymmetric_expressions",
        title="Known limit: asymmetric expressions (supplement Fig. 6)",
        caption=(
            f"{_STRENGTH} is added to blendshapes (1 is full strength) of one side of the face, and for comparison of both, of {people} "
            f"random people ({min(shown, people)} shown); everything else as F reads it. Left is the person's. Below, how much more the "
            f"left blendshape changed than the right one, asked and achieved, and how much both did. Read by {reader.name}; a reader that "
            "learnt from nearly symmetric faces sees little asymmetry itself, so compare the pictures."
        ),
        columns=(
            "expression",
            "sides",
            "asked_left",
            "asked_right",
            "achieved_left_mean",
            "achieved_left_std",
            "achieved_right_mean",
            "achieved_right_std",
        ),
        rows=tuple(rows),
        picture=_above_each_other(grid, plot),
    )


def _expression(reading: Reading) -> Float[Tensor, "batch expression"]:
    assert isinstance(reading, JudgeReading)
    return reading.expression


def _above_each_other(*pictures: Image.Image) -> Image.Image:
    whole = Image.new("RGB", (max(each.width for each in pictures), sum(each.height for each in pictures)), "white")
    top = 0
    for picture in pictures:
        whole.paste(picture, (0, top))
        top += picture.height
    return whole
