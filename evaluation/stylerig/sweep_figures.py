"""Sweeps of single controls: asked against achieved, in the units people think in, as pictures and as readings."""

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor

from evaluation.figures import Cell, Figure
from evaluation.picture_readers import Reading
from evaluation.stylerig.edits import edited_by, read_codes
from evaluation.stylerig.figure_parts import reader_of, shown_codes
from evaluation.stylerig.pictures import by_sliders, slider_sweep
from evaluation.stylerig.rig_under_test import RigUnderTest
from models.morphable import FaceParameters
from models.observers import JudgeReading
from models.stylerig.sliders import Slider, component_of, read_slider, slider_names, unit_of

# One control of each component, and for the pose both that portraits have much of.
_SWEEPS: dict[str, tuple[float, ...]] = {
    "yaw": (-30.0, -20.0, -10.0, 0.0, 10.0, 20.0, 30.0),
    "pitch": (-20.0, -10.0, 0.0, 10.0, 20.0),
    "smile": (0.0, 0.25, 0.5, 0.75, 1.0),
    "open_mouth": (0.0, 0.25, 0.5, 0.75, 1.0),
    "light_azimuth": (-60.0, -30.0, 0.0, 30.0, 60.0),
    "light_brightness": (0.4, 0.6, 0.8, 1.0),
    "id0": (-2.0, -1.0, 0.0, 1.0, 2.0),
}


@torch.no_grad()
def sweep_figures(rut: RigUnderTest, people: int = 50, shown: int = 5) -> list[Figure]:
    """``sweep_<slider>`` for sliders of each component of the network, those that the face model has.

    Args:
        rut: What is tested.
        people: Codes that the numbers are over.
        shown: Codes in the pictures, at most `people`.
    """
    names = [name for name in _SWEEPS if name in slider_names(rut.face_model) and component_of(name) in rut.components]
    return [_sweep_figure(rut, name, _SWEEPS[name], people, shown) for name in names]


def _sweep_figure(rut: RigUnderTest, name: str, values: Sequence[float], people: int, shown: int) -> Figure:
    reader, codes = reader_of(rut), shown_codes(rut, people)
    unedited = _slider(rut, read_codes(rut.generator, reader, codes), name)
    rows: list[tuple[Cell, ...]] = []
    for value in values:
        edited = edited_by(rut.network, rut.face_reconstruction, codes, by_sliders(rut.face_model, Slider(name, value)))
        achieved = _slider(rut, read_codes(rut.generator, reader, edited), name)
        rows.append((value, float(achieved.mean()), float(achieved.std())))
    unit = unit_of(name)
    return Figure(
        name=f"sweep_{name}",
        title=f"Sweep of {name}",
        caption=(
            f"Absolute values of {name} ({unit}) asked of {people} random people ({min(shown, people)} shown), everything else as "
            f"F reads it. Unedited {float(unedited.mean()):.2f} with a standard deviation of {float(unedited.std()):.2f}; "
            f"asked {values[0]:g} to {values[-1]:g}, achieved {rows[0][1]:.2f} to {rows[-1][1]:.2f} on average. "
            f"Read by {reader.name}."
        ),
        columns=("asked", "achieved_mean", "achieved_std"),
        rows=tuple(rows),
        picture=slider_sweep(
            rut.generator, rut.network, rut.face_reconstruction, rut.face_model, codes[:shown], name, values
        ),
    )


def _slider(rut: RigUnderTest, reading: Reading, name: str) -> Float[Tensor, " batch"]:
    assert isinstance(reading, JudgeReading)
    parameters = FaceParameters(
        identity=reading.identity,
        expression=reading.expression,
        reflectance=reading.reflectance,
        rotation=reading.rotation,
        illumination=reading.illumination,
        # Nobody reads it, and no slider moves it.
        translation=torch.zeros_like(reading.rotation),
    )
    return read_slider(parameters, name, rut.face_model)
