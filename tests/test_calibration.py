"""Calibrations: what follows from their curves, and their files."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from evaluation.figures import read_figures, write_figures
from evaluation.stylerig.calibration_figures import TABLE_COLUMNS, calibration_figures, calibration_table
from models.morphable import ParameterSizes
from models.stylerig import RigNet
from models.stylerig.calibration import (
    calibration_beside,
    calibration_path,
    load_calibration,
    rig_digest,
    save_calibration,
)
from models.stylerig.control_curves import ControlCalibration, ControlCurve
from renderers.errors import InputError
from tests.known_calibrations import ASKED, calibration_of, control_of, curve_of

SIZES = ParameterSizes(3, 2, 2)


def saturating(value):
    """Follows half of what is asked, to 18 either way."""
    return 0.5 * min(max(value, -18.0), 18.0)


HALF = control_of(lambda value: 0.5 * value)


def test_an_exact_control_is_supported_where_the_teacher_is():
    control = control_of(lambda value: value)
    assert control.gain == pytest.approx(1) and control.responds
    assert control.response_range == (-45, 45) and control.supported_range == (-30, 30)


def test_a_weak_control_has_its_gain_inverse_and_range():
    assert HALF.gain == pytest.approx(0.5)
    assert HALF.supported_range == (-30, 30) and HALF.response_range == (-45, 45)
    calibration = calibration_of(HALF)
    assert calibration.achieved("yaw", 20.0) == pytest.approx(10)
    assert calibration.asked_for("yaw", 10.0) == pytest.approx(20)
    assert calibration.asked_for("yaw", 40.0, clamp=True) == 45
    for value in (-22.0, 3.3, 17.0):
        assert calibration.achieved("yaw", calibration.asked_for("yaw", value)) == pytest.approx(value)


def test_a_saturating_control_is_supported_up_to_where_it_follows():
    control = control_of(saturating, low=-40.0, high=12.0)
    assert control.response_range == (-18, 18)
    assert control.supported_range == (-18, 12) and control.teacher_range == (-40, 12)
    assert control.asked_for(-9.0) == pytest.approx(-18)
    with pytest.raises(InputError, match="-9 deg to 9 deg, got 10 deg"):
        control.asked_for(10.0)
    assert control.asked_for(10.0, clamp=True) == 18


def test_a_control_that_creeps_on_has_ended():
    control = control_of(lambda value: saturating(value) + 0.02 * value, low=-20.0, high=20.0)
    assert control.response_range == (-18, 18)


def test_a_control_that_turns_back_ends_there():
    control = control_of(lambda value: value if value < 20 else 36 - value)
    assert control.response_range == (-45, 18) and control.supported_range == (-30, 18)


def test_an_expression_that_most_faces_do_not_show_starts_at_the_edge():
    # As mouths: closed in most pictures, nothing below zero, and less again beyond what the generator knows.
    asked = (-0.125, 0.0, 0.125, 0.25, 0.375, 0.5, 0.625, 0.75, 0.875, 1.0)
    median = (0.0, 0.01, 0.05, 0.25, 0.44, 0.57, 0.61, 0.57, 0.53, 0.42)
    curve = ControlCurve("judge", asked, median, median, median)
    control = ControlCalibration("open_mouth", "", -0.02, 0.03, 0.48, (curve,))
    # The first step is a slow one, but its ends are where they were asked to be.
    assert control.response_range == (0.0, 0.625) and control.supported_range == (0.0, 0.48)


def test_a_control_that_moves_nothing_supports_nothing():
    control = control_of(lambda value: 0.02 * value)
    assert not control.responds and control.supported_range == (0, 0) and control.response_range == (0, 0)
    warning = control.warning([20.0])
    assert warning is not None and "hardly moves it (0.02 per 1 asked)" in warning


def test_a_control_that_turns_back_inside_a_narrow_range_supports_nothing():
    """Although it rises over the values about that range, from which its gain is."""
    reads = {0.0: 0.0, 1.0: 1.0, 2.0: 0.9, 3.0: 1.0, 4.0: 1.1}
    control = control_of(reads.__getitem__, 1.4, 1.6, asked=tuple(reads))
    assert control.gain > 0.4 and control.supported_range == (control.teacher_median, control.teacher_median)
    assert control.response_range[0] == control.response_range[1]
    with pytest.raises(InputError, match="that the rig reaches"):
        control.asked_for(0.95)


def test_what_the_judge_cannot_read_is_not_known():
    blind = curve_of(lambda value: 0.1 * value, reader="judge on true portraits")
    control = control_of(lambda value: 0.08 * value, more=(blind,))
    assert control.reader_gain == pytest.approx(0.1) and not control.readable and not control.responds
    assert control.warning([5.0]) == "yaw: how far it goes is not known, the judge reads 0.10 per 1 that portraits truly have"
    assert HALF.reader_gain is None and HALF.readable


def test_warnings_say_what_and_why():
    exact, saturated = control_of(lambda value: value), control_of(saturating, low=-36.0, high=36.0, name="pitch")
    calibration = calibration_of(exact, saturated, control_of(lambda value: 0.4 * value, name="roll"))
    assert calibration.warnings_for({"yaw": [20.0, -30.0], "pitch": [8.0], "roll": [5.0], "smile": [9.0]}) == []
    assert calibration.warnings_for({"yaw": [20.0, 35.0, 40.0], "pitch": [-27.0], "roll": [28.0]}) == [
        "yaw: asked 40 deg for 2 of 3 codes, supported is -30 deg to 30 deg: nearly all of the generator's own pictures stay below "
        "30 deg; expect about 40 deg",
        "pitch: asked -27 deg, supported is -18 deg to 18 deg: beyond that, pictures follow no more; expect about -9 deg",
        "roll: asked 28 deg, but this rig moves it by 0.40 per 1 asked; expect about 11 deg",
    ]


def test_what_was_not_measured_is_refused():
    calibration = calibration_of(HALF)
    with pytest.raises(InputError, match="among yaw, got 'pitch'"):
        calibration.supported_range("pitch")
    with pytest.raises(InputError, match="-45 deg to 45 deg, got 50 deg"):
        calibration.achieved("yaw", 50.0)
    with pytest.raises(InputError, match="each control once"):
        calibration_of(HALF, HALF)


@pytest.mark.parametrize(
    "change, said",
    [
        ({"asked": (0.0, 1.0)}, "at least 3"),
        ({"asked": (0.0, 1.0, 1.0)}, "increasing"),
        ({"median": (0.0, float("nan"), 2.0)}, "finite"),
        ({"lower": (1.0, 1.0, 1.0)}, "between"),
        ({"upper": (9.0, 9.0)}, "as many"),
    ],
)
def test_curves_that_are_none_are_refused(change, said):
    good = ControlCurve("judge", (0.0, 1.0, 2.0), (0.0, 1.0, 2.0), (0.0, 0.5, 1.0), (3.0, 3.0, 3.0))
    with pytest.raises(InputError, match=said):
        replace(good, **change)


def network_of(seed=0):
    torch.manual_seed(seed)
    network = RigNet(4, 8, ("rotation",), SIZES, 4)
    network.decoder_weight.data.normal_()
    return network


def test_a_calibration_is_read_as_written(tmp_path: Path):
    calibration = calibration_of(HALF, control_of(lambda value: value / 3, name="smile", unit=""))
    path = save_calibration(tmp_path / "new" / "a.calibration.json", calibration)
    assert load_calibration(path) == calibration
    assert [file.name for file in path.parent.iterdir()] == ["a.calibration.json"]


def test_a_calibration_belongs_to_weights(tmp_path: Path):
    rig, network = tmp_path / "pose.safetensors", network_of()
    assert calibration_beside(rig, network) is None
    assert calibration_path(rig) == tmp_path / "pose.calibration.json"
    save_calibration(calibration_path(rig), calibration_of(HALF, weights=rig_digest(network)))
    read = calibration_beside(rig, network)
    assert read is not None and read.names == ("yaw",)
    assert rig_digest(network_of()) == rig_digest(network)
    with pytest.raises(InputError, match="expected the rig that .* was measured with .* calibrate it anew"):
        calibration_beside(rig, network_of(seed=1))


def _broken(change):
    value = json.loads(json.dumps({"format": "latentrig-calibration-1", "weights": "0", "codes": 60, "samples": 50}))
    line = {"reader": "judge", "asked": [0, 1, 2], "median": [0, 1, 2], "lower": [0, 1, 2], "upper": [0, 1, 2]}
    control = {"control": "yaw", "unit": "deg", "teacher_low": 0, "teacher_median": 1, "teacher_high": 2, "curves": [line]}
    value["controls"] = [control]
    change(value, control, line)
    return json.dumps(value)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[]",
        "\"text\"",
        "{",
        '{"format": "other"}',
        '{"a": NaN}',
        "[" * 100_000,
        _broken(lambda value, control, line: value.pop("weights")),
        _broken(lambda value, control, line: value.update(codes=-1)),
        _broken(lambda value, control, line: value.update(controls={})),
        _broken(lambda value, control, line: control.update(teacher_low=5)),
        _broken(lambda value, control, line: control.update(control="a\nb")),
        _broken(lambda value, control, line: control.update(curves=[])),
        _broken(lambda value, control, line: line.update(reader="nobody")),
        _broken(lambda value, control, line: line.update(asked=[0, 1])),
        _broken(lambda value, control, line: line.update(asked=[2, 1, 0])),
        _broken(lambda value, control, line: line.update(median=[0, "1", 2])),
        _broken(lambda value, control, line: line.update(median=[0, 10**400, 2])),
        _broken(lambda value, control, line: line.update(median=[0, float("inf"), 2])),
        _broken(lambda value, control, line: line.update(lower=[9, 9, 9])),
    ],
)
def test_broken_files_are_one_line(tmp_path: Path, text):
    path = tmp_path / "a.calibration.json"
    path.write_text(text)
    with pytest.raises(InputError, match=r"\A[^\n]+\Z"):
        load_calibration(path)


def test_a_whole_file_is_none_of_these_and_others_cannot_be_read(tmp_path: Path):
    path = tmp_path / "a.calibration.json"
    path.write_text(_broken(lambda value, control, line: None))
    assert load_calibration(path).names == ("yaw",)
    path.write_bytes(b"\xff\xfe\x00")
    for wrong in (path, tmp_path / "missing", tmp_path):
        with pytest.raises(InputError, match="expected a calibration"):
            load_calibration(wrong)


def test_figures_are_a_table_and_a_plot_each(tmp_path: Path):
    seen = curve_of(lambda value: 0.9 * value, reader="judge on true portraits")
    calibration = calibration_of(control_of(lambda value: 0.5 * value, more=(seen,)))
    write_figures(tmp_path, calibration_figures(calibration))
    table, plot = read_figures(tmp_path)
    assert table.columns == TABLE_COLUMNS and table.rows[0][0] == "yaw"
    assert table.rows[0][2] == pytest.approx(0.5) and table.rows[0][3] == pytest.approx(0.9)
    assert plot.name == "calibration_yaw" and plot.picture is not None
    assert len(plot.rows) == 2 * len(ASKED) and plot.rows[0] == ("judge", -45, -22.5, -24.5, -20.5)
    text = calibration_table(calibration).splitlines()
    assert len(text) == 2 and text[1].split()[:3] == ["yaw", "0.50", "0.90"] and text[1].endswith("-30 deg to 30 deg")
