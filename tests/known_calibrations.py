"""Calibrations of controls whose response is known."""

from models.stylerig.calibration import RigCalibration
from models.stylerig.control_curves import ControlCalibration, ControlCurve

ASKED = tuple(float(value) for value in range(-45, 46, 9))


def curve_of(response, asked=ASKED, reader="judge"):
    median = tuple(response(value) for value in asked)
    return ControlCurve(reader, tuple(asked), median, tuple(value - 2 for value in median), tuple(value + 2 for value in median))


def control_of(response, low=-30.0, high=30.0, asked=ASKED, name="yaw", unit="deg", more=()):
    return ControlCalibration(name, unit, low, (low + high) / 2, high, (curve_of(response, asked), *more))


def calibration_of(*controls, weights="0" * 64):
    return RigCalibration(weights, 60, 500, controls)
