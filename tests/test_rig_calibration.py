"""Measuring of calibrations, where what a rig does is known, and the command."""

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import cli
from datamodules.latent_pairs import PairRecipe
from datamodules.portraits import PortraitSampler
from evaluation.figures import read_figures
from evaluation.picture_readers import LandmarkReader, PoseReading, ReconstructionReader, reading_of
from evaluation.stylerig.calibrated_controls import AskedControl, asked_controls, slider_values
from evaluation.stylerig.calibration import calibrate, gathered, judge_curves
from models.morphable import FaceParameters, ParameterSizes
from models.morphable.loading import save_face_model
from models.morphable.procedural import procedural_model
from models.observers import Judge, JudgeReading, LandmarkNet, save_observer
from models.stylegan2 import Generator
from models.stylegan2.loading import load_generator
from models.stylerig import FaceReconstruction, Provenance, RigNet, RigNetwork, RigSources
from models.stylerig.calibration import calibration_beside, load_calibration, rig_digest
from models.stylerig.rig import Rig
from renderers.camera import PerspectiveCamera
from renderers.errors import InputError
from tests.tiny_stylerig import LAYERS, WIDTH, write_networks
from tests.toy_face import SIZES, toy_face_model

MODEL = toy_face_model()


class _KnownReading(FaceReconstruction):
    """Reads the parameters out of the first numbers of a code."""

    def __init__(self) -> None:
        super().__init__(LAYERS, WIDTH, SIZES, hidden=2)
        self.net = nn.Sequential(nn.Identity())
        self.output_scale = torch.ones(SIZES.total)

    def forward(self, codes: Tensor) -> Tensor:
        return codes.flatten(1)[:, : SIZES.total]


class _KnownEdit(RigNetwork):
    """Puts half of every controlled parameter into the code, a yaw to 10 degrees at most."""

    kind = "known"

    def __init__(self, components: Sequence[str] = ("rotation",)) -> None:
        super().__init__(LAYERS, WIDTH, components, SIZES)

    def edit(self, codes: Tensor, own: Tensor, target: Tensor) -> Tensor:
        flat = codes.flatten(1).clone()
        flat[:, self.control_index] = 0.5 * target[:, self.control_index]
        if "rotation" in self.components:
            limit, yaw = math.radians(10), SIZES.slice("rotation").start + 1
            flat[:, yaw] = flat[:, yaw].clamp(-limit, limit)
        return flat.view_as(codes)

    @property
    def is_trained(self) -> bool:
        return True

    def layout(self) -> dict[str, Any]:
        return {}

    @classmethod
    def from_layout(
        cls, num_layers: int, w_dim: int, components: Sequence[str], sizes: ParameterSizes, layout: Mapping[str, Any]
    ) -> "_KnownEdit":
        return cls(components)


@pytest.fixture(scope="module")
def generator() -> Generator:
    torch.manual_seed(0)
    return Generator([8, 8, 8], z_dim=10, w_dim=WIDTH, mapping_layers=2).eval().requires_grad_(False)


def measured(generator: Generator, components: Sequence[str] = ("rotation",), **options: Any):
    rig = Rig(_KnownReading(), [_KnownEdit(components)])
    reader = ReconstructionReader(rig.face_reconstruction, torch.ones(SIZES.total))
    controls = asked_controls(components, MODEL)
    return calibrate(rig, generator, MODEL, reader, controls, **{"codes": 12, "samples": 40, "batch_size": 7, **options})


def test_a_known_response_is_measured(generator: Generator):
    calibration = measured(generator)
    assert calibration.names == ("yaw", "pitch", "roll") and (calibration.codes, calibration.samples) == (12, 40)
    assert calibration.weights == rig_digest(_KnownEdit())
    pitch, yaw = calibration.of("pitch").curve, calibration.of("yaw").curve
    for curve, limit in ((pitch, math.inf), (yaw, 10.0)):
        wanted = [min(max(asked / 2, -limit), limit) for asked in curve.asked]
        for line in (curve.median, curve.lower, curve.upper):
            assert line == pytest.approx(wanted, abs=1e-4)
    assert calibration.of("pitch").gain == pytest.approx(0.5, abs=1e-4)
    # Beyond the teacher, or where the yaw is held at 10 degrees, whichever comes first.
    control = calibration.of("yaw")
    assert control.response_range == (-27, 27) or control.teacher_low > -18
    assert calibration.asked_for("pitch", 5.0) == pytest.approx(10, abs=1e-3)


def test_the_teacher_is_read_from_other_codes_than_those_edited(generator: Generator):
    calibration = measured(generator)
    v = PairRecipe().pairs(generator, "test", torch.arange(40)).v
    yaw = slider_values(_KnownReading().parameters_of(v), "yaw", MODEL).double()
    low, median, high = (float(yaw.quantile(share)) for share in (0.005, 0.5, 0.995))
    control = calibration.of("yaw")
    assert (control.teacher_low, control.teacher_median, control.teacher_high) == pytest.approx((low, median, high), abs=1e-4)


def test_expressions_and_identity_are_measured(generator: Generator):
    calibration = measured(generator, ("expression", "identity"))
    assert calibration.names == ("e0", "e1", "id0", "id1", "id2")
    for name in calibration.names:
        assert calibration.achieved(name, 3.0) == pytest.approx(1.5, abs=1e-5)
    assert calibration.of("id0").unit == "sd"


def test_named_sliders_alone(generator: Generator):
    assert [control.name for control in asked_controls(("rotation", "expression"), MODEL, ["second", "yaw", "yaw"])] == ["second", "yaw"]
    with pytest.raises(InputError, match="got smile"):
        asked_controls(("rotation",), procedural_model("coarse"), ["smile"])
    with pytest.raises(InputError, match="got 'jaw'"):
        asked_controls(("expression",), MODEL, ["jaw"])
    names = [control.name for control in asked_controls(("expression", "illumination"), procedural_model("coarse"))]
    assert {"smile", "open_mouth", "blink", "light_azimuth", "light_elevation"} <= set(names)


def test_every_value_asked_is_one_that_a_slider_takes():
    for control in asked_controls(("rotation", "expression", "illumination", "identity"), procedural_model("coarse")):
        assert list(control.asked) == sorted(set(control.asked)) and len(control.asked) >= 8


def test_what_cannot_be_measured_is_refused(generator: Generator):
    with pytest.raises(InputError, match="at least 10 codes"):
        measured(generator, codes=5)
    with pytest.raises(InputError, match="one network"):
        rig = Rig(_KnownReading(), [_KnownEdit(("rotation",)), _KnownEdit(("expression",))])
        reader = ReconstructionReader(rig.face_reconstruction, torch.ones(SIZES.total))
        calibrate(rig, generator, MODEL, reader, asked_controls(("rotation",), MODEL))
    with pytest.raises(InputError, match="what the reader tells, rotation"):
        rig = Rig(_KnownReading(), [_KnownEdit(("expression",))])
        reader = LandmarkReader(LandmarkNet(16, (2, 2, 2), (1, 1), 5), MODEL, PerspectiveCamera(4.0, 10.0))
        calibrate(rig, generator, MODEL, reader, asked_controls(("expression",), MODEL))


def test_readings_are_gathered_by_truth():
    true = torch.linspace(-10, 10, 81)
    asked, values = gathered(true, 0.8 * true, (-20.0, -5.0, 0.0, 5.0))
    assert asked == (-5.0, 0.0, 5.0)
    for value, rows in zip(asked, values, strict=True):
        # A reading moves with the value asked, not with its share of it: within half a step they differ by a fifth of that.
        assert float(rows.median()) == pytest.approx(0.8 * value, abs=0.3)
        assert len(rows) >= 20


class _Oracle(Judge):
    """Reads yaw and smile at 0.7 of their truth, out of the mean colour that the test's sampler paints."""

    def forward(self, images: Tensor) -> JudgeReading:
        zeros = FaceParameters.zeros(len(images))
        rotation = zeros.rotation.clone()
        rotation[:, 1] = 0.7 * images[:, 0, 0, 0]
        return reading_of(zeros.replace(rotation=rotation))


def test_the_judge_is_measured_on_portraits(monkeypatch: pytest.MonkeyPatch):
    sampler = PortraitSampler("coarse")

    def painted(latents: Tensor, image_size: int) -> Any:
        image = sampler.face_parameters(latents).rotation[:, 1, None, None, None].expand(-1, 3, image_size, image_size)
        return type("Painted", (), {"image": image})

    monkeypatch.setattr(sampler, "render", painted)
    controls = [*asked_controls(("rotation",), sampler.face_model, ["yaw"]), AskedControl("mouth_left", (0.0, 0.5, 1.0))]
    curves = judge_curves(_Oracle(), sampler, controls, 4, portraits=300)
    assert set(curves) == {"yaw"}
    yaw = curves["yaw"]
    assert yaw.reader == "judge on true portraits" and yaw.asked[0] <= -36 and yaw.asked[-1] >= 36
    assert yaw.slope(-40.0, 40.0) == pytest.approx(0.7, abs=0.02)


def test_a_pose_alone_is_read_as_angles():
    values = slider_values(PoseReading(torch.tensor([[0.1, 0.2, 0.3]])), "roll", MODEL)
    torch.testing.assert_close(values, torch.tensor([0.3]).rad2deg())


@pytest.fixture
def files(tmp_path: Path) -> dict[str, Path]:
    """A generator, F, a judge, a face model and a rig on disk."""
    networks = write_networks(tmp_path)
    face_model = save_face_model(tmp_path / "face.safetensors", MODEL, "toy")
    provenance = Provenance.of(load_generator(networks["generator"]), MODEL, PerspectiveCamera(4.0, 10.0))
    reading = FaceReconstruction(LAYERS, WIDTH, SIZES, hidden=8).save(tmp_path / "f.safetensors", provenance)
    judge = Judge(SIZES.identity, SIZES.expression, SIZES.reflectance, (), (2, 2, 2, 2), (1, 1, 1, 1), 4, 32)
    rig = RigNet(LAYERS, WIDTH, ("rotation",), SIZES, latent=4)
    rig.decoder_weight.data.normal_()
    sources = RigSources(networks["generator"], str(reading), str(face_model))
    return {
        "rig": rig.save(tmp_path / "pose.safetensors", provenance, sources),
        "judge": save_observer(tmp_path / "judge.safetensors", judge),
        "landmarker": Path(networks["landmarker"]),
        "generator": Path(networks["generator"]),
    }


def _words(files: dict[str, Path], *more: str) -> list[str]:
    return ["calibrate", "--rig", str(files["rig"]), "--codes", "10", "--samples", "20", "--device", "cpu", *more]


def test_the_command_writes_beside_the_rig(files: dict[str, Path], capsys: pytest.CaptureFixture[str]):
    cli.main(_words(files, "--judge", str(files["judge"]), "--controls", "yaw", "roll"))
    rig = RigNet.load(files["rig"], Provenance.of(load_generator(files["generator"]), MODEL, PerspectiveCamera(4.0, 10.0)))
    calibration = calibration_beside(files["rig"], rig)
    assert calibration is not None and calibration.names == ("yaw", "roll")
    assert [curve.reader for curve in calibration.of("yaw").curves] == ["judge", "face reconstruction"]
    names = [figure.name for figure in read_figures(files["rig"].parent / "pose.calibration")]
    assert names == ["calibration", "calibration_yaw", "calibration_roll"]
    said = capsys.readouterr().out
    assert "another face model than the rig's" in said and "pose.calibration.json" in said and "\nyaw " in said


@pytest.mark.parametrize("reader", ["landmarks", "face reconstruction"])
def test_the_command_without_a_judge(files: dict[str, Path], tmp_path: Path, reader: str):
    more = ["--landmarker", str(files["landmarker"])] if reader == "landmarks" else []
    cli.main(_words(files, "--judge", "null", "--output", str(tmp_path / "out"), "--controls", "pitch", *more))
    calibration = load_calibration(tmp_path / "out" / "pose.calibration.json")
    assert calibration.of("pitch").curve.reader == reader
    assert not (files["rig"].parent / "pose.calibration.json").exists()


@pytest.mark.parametrize(
    "more, said",
    [
        (["--judge", "assets/demo_judge.safetensors"], "judge that reads coefficients of the rig's face model"),
        (["--judge", "null", "--controls", "smile"], "slider"),
        (["--judge", "null", "--controls", "first"], "leave it out"),
        (["--judge", "null", "--codes", "3"], "at least 10 codes"),
        (["--judge", "null", "--portraits", "-1"], "0 or more portraits"),
    ],
)
def test_the_command_refuses_in_one_line(
    files: dict[str, Path], capsys: pytest.CaptureFixture[str], more: list[str], said: str
):
    with pytest.raises(SystemExit) as stop:
        cli.main(_words(files, *more))
    error = capsys.readouterr().err.strip()
    assert stop.value.code == 2 and said in error and "\n" not in error
    assert not (files["rig"].parent / "pose.calibration.json").exists()


def test_a_calibration_is_replaced_when_asked_or_of_no_use(files: dict[str, Path], capsys: pytest.CaptureFixture[str]):
    words = _words(files, "--judge", "null")
    place = files["rig"].parent / "pose.calibration.json"
    cli.main([*words, "--controls", "yaw"])
    with pytest.raises(SystemExit):
        cli.main([*words, "--controls", "pitch"])
    assert "--overwrite" in capsys.readouterr().err and load_calibration(place).names == ("yaw",)
    cli.main([*words, "--controls", "pitch", "--overwrite"])
    assert load_calibration(place).names == ("pitch",)
    # Figures of the earlier one would show other weights.
    assert [each.name for each in read_figures(place.with_suffix(""))] == ["calibration", "calibration_pitch"]
    place.write_text(place.read_text().replace(load_calibration(place).weights, "0" * 64))
    cli.main([*words, "--controls", "roll"])
    place.write_text("{")
    cli.main([*words, "--controls", "yaw"])
    assert load_calibration(place).names == ("yaw",)
