"""Fig. 6: distribution of the parameters of a generator's faces."""

import dataclasses

import pytest
import torch

from datamodules.portraits import PortraitSampler
from evaluation.stylerig.parameter_distribution import parameter_distribution
from evaluation.stylerig.rig_under_test import RigUnderTest, check_judge
from models.morphable.procedural import procedural_model
from models.observers import Judge
from models.stylerig import RigNet
from renderers.camera import PerspectiveCamera
from renderers.errors import InputError
from renderers.face_renderer import FaceRenderer
from tests.tiny_rig import LAYERS, WIDTH, LinearFaces, tiny_judge, tiny_rig
from tests.toy_face import SIZES, toy_face_model


def columns_of(figure: object, name: str) -> list[float]:
    return [row[figure.columns.index(name)] for row in figure.rows]  # type: ignore[attr-defined]


def shipped_face(rut: RigUnderTest) -> RigUnderTest:
    model = procedural_model("coarse")
    return dataclasses.replace(
        rut,
        face_model=model,
        face_reconstruction=LinearFaces(model),
        network=RigNet(LAYERS, WIDTH, ("rotation",), model.sizes),
        renderer=FaceRenderer(model, PerspectiveCamera(), 16),
    )


def test_moments_are_those_of_f() -> None:
    rut = tiny_rig()
    figures = {figure.name: figure for figure in parameter_distribution(rut, 600)}
    assert list(figures) == [
        *(f"parameter_distribution_{name}" for name in ("rotation", "expression", "illumination")),
        "parameter_distribution",
    ]
    pairs = rut.unseen_pairs(300)
    reading = rut.face_reconstruction.parameters_of(torch.cat([pairs.w, pairs.v]))
    rotation, light = figures["parameter_distribution_rotation"], figures["parameter_distribution_illumination"]
    degrees = reading.rotation.rad2deg()
    assert columns_of(rotation, "coefficient") == ["pitch_deg", "yaw_deg", "roll_deg"]
    assert columns_of(rotation, "f_mean") == pytest.approx(degrees.mean(dim=0).tolist(), abs=1e-4)
    assert columns_of(rotation, "f_variance") == pytest.approx(degrees.var(dim=0).tolist(), rel=1e-4)
    assert columns_of(rotation, "f_q99") == pytest.approx(degrees.quantile(0.99, dim=0).tolist(), rel=1e-3)
    assert columns_of(light, "f_std") == pytest.approx(reading.illumination.std(dim=0).tolist(), rel=1e-4)
    assert columns_of(light, "coefficient")[10] == "green_1"
    assert columns_of(figures["parameter_distribution_expression"], "coefficient") == ["first", "second"]
    assert "F on codes (600)" in rotation.caption and all(
        figure.picture is not None for figure in list(figures.values())[:3]
    )
    spread = dict(
        zip(
            columns_of(figures["parameter_distribution"], "parameter"),
            columns_of(figures["parameter_distribution"], "f_std"),
            strict=True,
        )
    )
    assert spread["yaw_deg"] == pytest.approx(float(degrees[:, 1].std()), rel=1e-4)
    expression = reading.expression - reading.expression.mean(dim=0)
    moved = torch.einsum("vci,bi->bvc", rut.face_model.expression_basis, expression)
    assert spread["expression_dm"] == pytest.approx(float(moved.square().sum(dim=2).mean().sqrt()), rel=1e-4)


def test_the_judge_reads_pictures_of_the_same_codes() -> None:
    rut = tiny_rig(judge=tiny_judge())
    assert rut.judge is not None
    figure = parameter_distribution(rut, 40, judged=12)[0]
    pairs = rut.unseen_pairs(6)
    codes = torch.cat([pairs.w, pairs.v])
    seen = rut.judge(rut.pictures(codes)).rotation.rad2deg()
    assert columns_of(figure, "judge_mean") == pytest.approx(seen.mean(dim=0).tolist(), rel=1e-3)
    read = rut.face_reconstruction.parameters_of(codes).rotation
    expected = torch.corrcoef(torch.stack([seen[:, 1], read[:, 1]]))[0, 1]
    assert columns_of(figure, "correlation_of_f_and_judge")[1] == pytest.approx(float(expected), abs=1e-3)
    assert "judge on pictures (12)" in figure.caption


def test_true_parameters_of_portraits_stand_beside() -> None:
    figures = parameter_distribution(shipped_face(tiny_rig()), 1000, portraits=True)
    sampler, people = PortraitSampler("coarse"), torch.arange(1000)
    true = sampler.face_parameters(sampler.latents(people, torch.zeros_like(people), 5))
    for figure, values in zip(figures, (true.rotation.rad2deg(), true.expression), strict=False):
        assert columns_of(figure, "portraits_std") == pytest.approx(values.std(dim=0).tolist(), rel=0.35, abs=0.02)
    assert figures[-1].columns == ("parameter", "f_std", "portraits_std")


def test_other_faces_than_the_portraits_are_refused() -> None:
    with pytest.raises(InputError, match="set portraits to false"):
        parameter_distribution(tiny_rig(), 8, portraits=True)
    judge = Judge(SIZES.identity, SIZES.expression + 1, SIZES.reflectance, widths=(4,), blocks=(1,), num_features=4)
    with pytest.raises(InputError, match="set judge to null"):
        parameter_distribution(tiny_rig(judge=judge.eval()), 8)
    names = tuple(reversed(toy_face_model().expression_names))
    sizes = (SIZES.identity, SIZES.expression, SIZES.reflectance)
    judge = Judge(*sizes, widths=(4,), blocks=(1,), num_features=4, expression_names=names)
    with pytest.raises(InputError, match="judge of the face model's expressions"):
        check_judge(judge, toy_face_model())
