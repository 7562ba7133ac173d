"""Fig. 4: change of codes per layer, and which layers carry an edit."""

import math

import pytest
import torch
from torch import nn

from evaluation.stylerig.layer_changes import centre_of_change, layer_changes, layer_resolutions, measure_layer_changes
from evaluation.stylerig.layer_effects import by_face_reconstruction, layer_effects
from evaluation.stylerig.unseen_codes import unseen_batches
from models.stylerig import RigNet, SteeringNetwork
from renderers.errors import InputError
from tests.tiny_rig import LAYERS, WIDTH, exact_steering, tiny_generator, tiny_judge, tiny_rig
from tests.toy_face import SIZES


def network_of_one_layer(layer: int) -> RigNet:
    torch.manual_seed(0)
    network = RigNet(LAYERS, WIDTH, ("rotation",), SIZES, latent=4)
    nn.init.normal_(network.decoder_weight[layer], std=0.1)
    return network


def test_layers_have_the_resolutions_at_which_they_act() -> None:
    assert layer_resolutions(tiny_generator()) == (4, 8, 8, 16, 16, 16)


def test_batches_are_the_first_pairs_of_the_split() -> None:
    rut = tiny_rig()
    batches = list(unseen_batches(rut, 7, 3))
    assert [len(batch.w) for batch in batches] == [3, 3, 1]
    torch.testing.assert_close(torch.cat([batch.v for batch in batches]), rut.unseen_pairs(7).v)
    with pytest.raises(InputError, match="at least 2 pairs"):
        next(unseen_batches(rut, 1))


def test_a_network_that_changes_one_layer_shows_one_bar() -> None:
    figures = {figure.name: figure for figure in layer_changes(tiny_rig(network_of_one_layer(2), tiny_judge()), 20, 6)}
    assert list(figures) == ["layer_changes_rotation", "layer_changes"]
    single = figures["layer_changes_rotation"]
    assert [row[:2] for row in single.rows] == list(enumerate((4, 8, 8, 16, 16, 16)))
    for name in ("change_mean", "control_mean", "effect_share_by_f", "effect_share_by_judge"):
        values = [float(row[single.columns.index(name)]) for row in single.rows]
        assert values[2] > 0 and values[:2] + values[3:] == [0] * 5, name
    assert "20 mixings" in single.caption and "by the judge over the first 6" in single.caption and single.picture is not None
    assert "the judge sees the component move by in 6 mixings" in figures["layer_changes"].caption
    rows = {row[0]: row[1:] for row in figures["layer_changes"].rows}
    for measure in ("rotation_whole_change", "rotation_change", "rotation_effect_by_f", "rotation_effect_by_judge"):
        assert rows[measure] == pytest.approx((8, 1, 0, 0))
    assert rows["equal_change"] == pytest.approx((2 ** ((2 + 3 + 3 + 4 * 3) / 6), 0.5, 0.5, 0))


def test_changes_are_l2_distances_per_layer() -> None:
    rut = tiny_rig()
    changes = measure_layer_changes(rut, "expression", 30)
    pairs = rut.unseen_pairs(30)
    own, asked = rut.face_reconstruction.parameters_of(pairs.w), rut.face_reconstruction.parameters_of(pairs.v)
    edited = rut.network.edit(pairs.w, own.pack(), own.replace(expression=asked.expression).pack())
    torch.testing.assert_close(changes.edited, (edited - pairs.w).square().sum(dim=2).sqrt())
    figure = layer_changes(rut, 30)[1]
    assert figure.name == "layer_changes_expression"
    row = dict(zip(figure.columns, figure.rows[3], strict=True))
    assert row["change_mean"] == pytest.approx(float(changes.edited[:, 3].mean()))
    assert row["change_variance"] == pytest.approx(float(changes.edited[:, 3].var()), rel=1e-4)
    summary = layer_changes(rut, 30)[-1]
    shares = {row[0]: row[2:] for row in summary.rows}["expression_whole_change"]
    assert shares[0] == pytest.approx(float(changes.edited[:, :3].sum() / changes.edited.sum()), rel=1e-4)
    assert "by F over all mixings." in figure.caption and "what F sees the component move by in 30 mixings" in summary.caption
    deviation = float(rut.generator.std_w.square().sum().sqrt())
    assert row["change_mean_deviations"] == pytest.approx(float(changes.edited[:, 3].mean()) / deviation)


def test_what_is_not_asked_for_is_no_part_of_the_control() -> None:
    """A network that moves every code alike, whatever is asked of it."""
    network = RigNet(LAYERS, WIDTH, ("rotation",), SIZES, latent=4)
    nn.init.constant_(network.decoder_bias, 0.5)
    rut = tiny_rig(network)
    changes = measure_layer_changes(rut, "rotation", 5)
    torch.testing.assert_close(changes.edited, torch.full((5, LAYERS), 0.5 * WIDTH**0.5))
    assert changes.by_control.abs().max() < 1e-6
    assert math.isnan(centre_of_change(torch.zeros(LAYERS), layer_resolutions(rut.generator)))


def test_effects_of_layers_that_act_independently_add_up() -> None:
    """F is linear here, so that a layer's share is known: that of its part of the reading."""
    rut = tiny_rig(exact_steering("expression"))
    shares = layer_effects(rut, "expression", by_face_reconstruction(rut, "expression"), 40, batch_size=7)
    assert float(shares.sum()) == pytest.approx(1, abs=1e-5)
    pairs = rut.unseen_pairs(40)
    moved = (rut.face_reconstruction(pairs.v) - rut.face_reconstruction(pairs.w))[:, SIZES.slice("expression")]
    reading = rut.face_reconstruction.reading[:, SIZES.slice("expression")].reshape(LAYERS, WIDTH, -1)
    expected = torch.einsum("bi,lwi,lwj,bj->l", moved, reading, reading, moved) / moved.square().sum()
    torch.testing.assert_close(shares, expected)


def test_an_edit_without_effect_has_no_shares() -> None:
    rut = tiny_rig(SteeringNetwork(LAYERS, WIDTH, ("rotation",), SIZES))
    assert layer_effects(rut, "rotation", by_face_reconstruction(rut, "rotation"), 4).isnan().all()
