"""Supplement Fig. 2: losses and the judge's readings against the size of edits."""

import math

import pytest
import torch

from evaluation.picture_readers import JudgeReader
from evaluation.stylerig.edit_sizes import Bins, edit_size
from evaluation.stylerig.losses_by_edit_size import losses_by_edit_size, measure_edit_losses
from evaluation.stylerig.readings_by_edit_size import measure_edit_readings, readings_by_edit_size
from lightning_modules.render_loss import RenderLoss, RenderLossWeights
from lightning_modules.rig_losses import LANDMARK_WEIGHTS, Control, StyleRigLosses
from models.stylerig import SteeringNetwork
from renderers.errors import InputError
from tests.tiny_rig import LAYERS, WIDTH, exact_steering, tiny_judge, tiny_rig
from tests.toy_face import SIZES, toy_face_model, toy_parameters


def test_sizes_of_edits() -> None:
    model, own, other = toy_face_model(), toy_parameters(3, seed=0), toy_parameters(3, seed=1)
    turned = own.replace(rotation=torch.tensor([[0.0, 0.3, 0.0]]).repeat(3, 1))
    level = own.replace(rotation=torch.tensor([[0.0, 0.3, 0.0], [0.0, -0.2, 0.0], [0.0, 0.3, 1.0]]))
    torch.testing.assert_close(
        edit_size("rotation", turned, level, model),
        torch.tensor([0, math.degrees(0.5), math.degrees(1)]),
        atol=1e-4,
        rtol=1e-4,
    )
    moved = model.vertices(own.identity, other.expression) - model.vertices(own.identity, own.expression)
    torch.testing.assert_close(edit_size("expression", own, other, model), moved.square().sum(dim=2).mean(dim=1).sqrt())
    moved = model.vertices(other.identity, own.expression) - model.vertices(own.identity, own.expression)
    torch.testing.assert_close(edit_size("identity", own, other, model), moved.square().sum(dim=2).mean(dim=1).sqrt())
    assert torch.equal(
        edit_size("illumination", own, other, model), (other.illumination - own.illumination).norm(dim=1)
    )


def test_bins_hold_equally_many_edits_in_order() -> None:
    sizes = torch.tensor([5.0, 1.0, 4.0, 2.0, 3.0, 6.0, 7.0])
    bins = Bins(sizes, 3)
    assert [row[:4] for row in bins.rows({})] == [(1, 3, 1, 3), (2, 2, 4, 5), (3, 2, 6, 7)]
    assert bins.mean(2 * sizes) == [4, 9, 13]
    assert bins.standard_error(sizes) == pytest.approx([1 / 3**0.5, 0.5, 0.5])
    lower, upper = bins.band(sizes)
    assert (lower[1], upper[1]) == (4, 5)
    assert bins.rows({"twice": bins.mean(2 * sizes)})[2] == (3, 2, 6, 7, 6.5, 13)
    with pytest.raises(InputError, match="at least 2 edits for each bin"):
        Bins(sizes, 4)


@pytest.mark.parametrize("component", ["rotation", "expression"])
def test_losses_are_those_of_the_training(component: str) -> None:
    """Their mean over edits is what the training would compute of the same pairs, with the published weights."""
    rut = tiny_rig()
    measured = measure_edit_losses(rut, component, 7, batch_size=3)
    pairs = rut.recipe.pairs(rut.generator, "test", torch.arange(7), images=True)
    assert pairs.image_w is not None and pairs.image_v is not None
    own, requested = rut.face_reconstruction.parameters_of(pairs.w), rut.face_reconstruction.parameters_of(pairs.v)
    achieved = rut.face_reconstruction.parameters_of(rut.transfer(pairs.w, pairs.v, component))
    loss = RenderLoss(rut.renderer, RenderLossWeights(landmark=LANDMARK_WEIGHTS[component]))
    target_w, target_v = (loss.targets(images, rut.landmarker(images)) for images in (pairs.image_w, pairs.image_v))
    expected = StyleRigLosses(Control(component), loss)(requested, own, achieved, target_v, target_w)  # type: ignore[arg-type]
    torch.testing.assert_close(torch.stack([measured.edit.mean(), measured.consistency.mean()]), torch.stack(expected))
    torch.testing.assert_close(measured.size, edit_size(component, own, requested, rut.face_model))


def test_exact_edits_leave_what_f_leaves() -> None:
    measured = measure_edit_losses(tiny_rig(exact_steering("rotation")), "rotation", 20)
    torch.testing.assert_close(measured.edit, measured.edit_exact, rtol=1e-3, atol=1e-4)
    torch.testing.assert_close(measured.consistency, measured.consistency_exact, rtol=1e-3, atol=1e-4)
    assert (measured.edit_unedited - measured.edit_exact).abs().max() > 1e-2


def test_edits_that_do_nothing_leave_the_loss_of_the_unedited_code() -> None:
    measured = measure_edit_losses(tiny_rig(SteeringNetwork(LAYERS, WIDTH, ("expression",), SIZES)), "expression", 6)
    assert torch.equal(measured.edit, measured.edit_unedited)
    assert torch.equal(measured.consistency, measured.consistency_exact)


def test_figures_hold_the_means_of_bins() -> None:
    rut = tiny_rig()
    figures = {figure.name: figure for figure in losses_by_edit_size(rut, 12, 3)}
    assert list(figures) == ["losses_by_edit_size_rotation", "losses_by_edit_size_expression", "losses_by_edit_size"]
    figure, losses = figures["losses_by_edit_size_rotation"], measure_edit_losses(rut, "rotation", 12)
    assert "lambda_land 17.5" in figure.caption and "all-in-one" in figure.title and figure.picture is not None
    first = dict(zip(figure.columns, figure.rows[0], strict=True))
    smallest = losses.size.argsort()[:4]
    assert first["edits"] == 4 and first["size_mean"] == pytest.approx(float(losses.size[smallest].mean()))
    assert first["edit_loss"] == pytest.approx(float(losses.edit[smallest].mean()))
    assert first["consistency_loss"] == pytest.approx(float(losses.consistency[smallest].mean()))
    summary = dict(zip(figures["losses_by_edit_size"].columns, figures["losses_by_edit_size"].rows[0], strict=True))
    assert (
        summary["edit_loss"] == pytest.approx(float(losses.edit.mean()))
        and summary["edit_loss_smallest"] == first["edit_loss"]
    )


def test_readings_are_of_the_pictures_of_single_edits() -> None:
    rut = tiny_rig(judge=tiny_judge())
    assert rut.judge is not None
    readings = measure_edit_readings(rut, "expression", 7, batch_size=3)
    pairs, reader = rut.unseen_pairs(7), JudgeReader(rut.judge)
    edited = rut.transfer(pairs.w, pairs.v, "expression")
    before, source, after = (reader.read(rut.pictures(codes), codes) for codes in (pairs.w, pairs.v, edited))
    torch.testing.assert_close(readings.error, reader.distance("expression", after, source), rtol=1e-3, atol=1e-4)
    assert set(readings.changes) == {"rotation_deg", "illumination", "identity"}
    for name, change in reader.changes(before, after, "expression").items():
        torch.testing.assert_close(readings.changes[name], change, rtol=1e-3, atol=1e-3)


def test_a_network_that_does_nothing_changes_nothing() -> None:
    rut = tiny_rig(SteeringNetwork(LAYERS, WIDTH, ("rotation",), SIZES), tiny_judge())
    figures = {figure.name: figure for figure in readings_by_edit_size(rut, 8, 2)}
    error = figures["read_error_by_edit_size_rotation"]
    for row in error.rows:
        numbers = dict(zip(error.columns, row, strict=True))
        assert numbers["error_deg"] == numbers["error_unedited_deg"] > 0
    changes = figures["read_changes_by_edit_size_rotation"]
    assert [value for row in changes.rows for value in row[5:]] == [0] * (2 * 6)
    assert figures["readings_by_edit_size"].rows[0][3:] == (1, 0)


def test_readings_want_a_judge() -> None:
    with pytest.raises(InputError, match="expected a judge"):
        readings_by_edit_size(tiny_rig(), 8, 2)
