"""Sliders corrected by a rig's calibration: what to ask so that pictures show what is wanted."""

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from models.stylerig.calibration import calibration_beside
from models.stylerig.opening import OpenedRig
from models.stylerig.sliders import Slider, component_of
from renderers.errors import InputError


class CalibratedSlider(NamedTuple):
    """What to ask of a rig.

    Attributes:
        slider: With the value to ask.
        expected: What the median picture of the calibration then shows: the value wanted, or the nearest within reach.
    """

    slider: Slider
    expected: float


def calibrated_sliders(opened: OpenedRig, paths: Sequence[Path], sliders: Sequence[Slider]) -> tuple[CalibratedSlider, ...]:
    """What to ask so that pictures show the values of sliders.

    Args:
        opened: The rig.
        paths: Its files, in the order of its networks; the calibrations lie beside them.
        sliders: Absolute ones, one value for all codes.

    Raises:
        InputError: for a relative slider, one that was not calibrated, or one that pictures do not follow.
    """
    files = {id(network): path for network, path in zip(opened.rig.networks, paths, strict=True)}
    corrected = []
    for slider in sliders:
        if slider.relative or isinstance(slider.value, tuple):
            raise InputError(f"expected absolute values with --calibrated, got {slider.name} by so much; leave it out")
        network = opened.rig.network_of(component_of(slider.name))
        path = files[id(network)]
        calibration = calibration_beside(path, network)
        if calibration is None:
            raise InputError(f"expected a calibration beside {path}, found none; run 'lightning calibrate --rig {path}'")
        asked = calibration.asked_for(slider.name, slider.value, clamp=True)
        corrected.append(CalibratedSlider(Slider(slider.name, asked), calibration.achieved(slider.name, asked)))
    return tuple(corrected)
