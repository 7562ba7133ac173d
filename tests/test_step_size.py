"""Fyaw: its training through a reader of yaws, what is measured of it, and its weights."""

import math
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from datamodules.latent_pairs import LatentPairDataModule, PairRecipe
from lightning_modules.step_size import StepSizeModule, StepSizeSettings
from models.latent_directions import LatentDirections, load_directions, save_directions
from models.stylefaceuv import MirrorStep, StepSize
from models.stylegan2 import load_generator
from models.weights import describe_weights, load_weights, save_weights
from renderers.errors import InputError
from tests.tiny_stylefaceuv import YAW_PER_SPREAD, write_stylefaceuv_networks
from tests.tiny_stylerig import LAYERS, WIDTH, quiet_trainer, use_toy_face, write_networks

TINY = StepSizeSettings(hidden=(2, 1), learning_rate=1e-2)


@pytest.fixture
def files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """The module's files."""
    use_toy_face(monkeypatch)
    generator = write_networks(tmp_path)["generator"]
    written = write_stylefaceuv_networks(tmp_path)
    return {"generator": generator, **{name: written[name] for name in ("coefficients", "directions")}}


def data(**sizes: Any) -> LatentPairDataModule:
    options = {"batch_size": 8, "train_pairs": 800, "validation_pairs": 16, "test_pairs": 16, "max_latents": 1}
    return LatentPairDataModule(**{**options, "images": False, **sizes})


def trained(
    folder: Path, files: dict[str, str], settings: StepSizeSettings, steps: int = 100, **named: Any
) -> StepSizeModule:
    module = StepSizeModule(**files, settings=settings, **named)
    quiet_trainer(folder, max_steps=steps, enable_checkpointing=False, limit_val_batches=1).fit(module, data())
    return module


def figures_of(folder: Path, module: StepSizeModule) -> dict[str, float]:
    (figures,) = quiet_trainer(folder).test(module, data(), verbose=False)
    return dict(figures)


def test_steps_to_any_angle_are_learnt_and_the_weights_written(tmp_path, files):
    module = trained(tmp_path, files, TINY)
    figures = figures_of(tmp_path, module)
    assert figures["test/error_deg"] < 0.2 * figures["test/error_deg_unmoved"]
    assert figures["test/mirror_error_deg"] < 0.5 * figures["test/mirror_error_deg_unmoved"]
    # Beyond the angles of the training it goes on, and further off.
    assert figures["test/error_deg"] < figures["test/error_deg_outside"] < 30
    for angle in (-45, 0, 45):
        assert figures[f"test/yaw_deg_at_{angle}"] == pytest.approx(angle, abs=8)
    assert figures["test/step_at_45"] == pytest.approx(math.radians(45) / YAW_PER_SPREAD, rel=0.3)
    codes, yaw = torch.randn(3, LAYERS, WIDTH), torch.tensor([-0.3, 0.0, 0.4])
    loaded = StepSize.load(tmp_path / "step_size.safetensors", module.provenance)
    torch.testing.assert_close(loaded.turned(codes, yaw), module(codes, yaw), rtol=1e-2, atol=1e-2)
    assert all(key.startswith("network.") for key in module.state_dict())


def test_steps_to_the_mirrored_yaw_are_learnt(tmp_path, files):
    module = trained(tmp_path, files, replace(TINY, form="mirror"))
    figures = figures_of(tmp_path, module)
    assert figures["test/mirror_error_deg"] < 0.5 * figures["test/mirror_error_deg_unmoved"]
    assert set(figures) == {"test/mirror_error_deg", "test/mirror_error_deg_unmoved"}
    assert MirrorStep.load(tmp_path / "step_size.safetensors", module.provenance).hidden == (2, 1)
    with pytest.raises(InputError, match="the mirrored yaw alone; train the form any"):
        module(torch.zeros(1, LAYERS, WIDTH), torch.zeros(1))


def test_the_loss_is_the_distance_of_the_yaw_that_is_read(files, monkeypatch):
    module = StepSizeModule(**files, settings=TINY)
    monkeypatch.setattr(module, "log", lambda *_, **__: None)
    batch = PairRecipe(0, 1).pairs(module.generator, "train", torch.arange(4))
    codes, target = torch.cat([batch.w, batch.v]), module._targets(batch)
    read = module.reader.parameters_of(module(codes, target)).rotation[:, 1]
    torch.testing.assert_close(module.training_step(batch, 0), (read - target).abs().mean())


def test_targets_follow_from_the_pairs_and_fill_the_range(files):
    module = StepSizeModule(**files, settings=replace(TINY, largest_angle_deg=20.0))
    batch = PairRecipe(0, 1).pairs(module.generator, "train", torch.arange(500))
    targets = module._targets(batch).rad2deg()
    assert targets.shape == (1000,) and -20 < targets.min() < -19 and 19 < targets.max() < 20
    part = PairRecipe(0, 1).pairs(module.generator, "train", torch.arange(7, 9))
    torch.testing.assert_close(module._targets(part).rad2deg(), targets[[7, 8, 507, 508]])


def test_directions_are_repeated_for_each_layer_in_the_asked_unit(files):
    found = load_directions(files["directions"]).named("yaw")
    normalised = StepSizeModule(**files, settings=TINY).network
    torch.testing.assert_close(normalised.direction, found.normal.expand(LAYERS, -1))
    assert float(normalised.step_unit) == pytest.approx(found.spread)
    released = StepSizeModule(**files, settings=replace(TINY, normalised=False)).network
    assert float(released.direction.norm()) == pytest.approx(1.0) and float(released.step_unit) == 1.0
    assert bool((released.code_std == 1).all()) and not bool((normalised.code_std == 1).all())


def test_a_second_reader_measures_in_the_test_alone(tmp_path, files):
    # The same network with one more thing written beside it.
    tensors, _ = load_weights(files["coefficients"], "code-coefficients")
    config = dict(describe_weights(files["coefficients"]).config)
    tensors["parameter_mean"] = tensors["parameter_mean"].index_fill(0, torch.tensor([0]), 0.5)
    second = str(save_weights(tmp_path / "second.safetensors", tensors, "code-coefficients", config))
    module = trained(tmp_path, files, TINY, steps=2, second_reader=second)
    figures = figures_of(tmp_path, module)
    assert figures["test/error_deg_seen"] == pytest.approx(figures["test/error_deg"])
    (validated,) = quiet_trainer(tmp_path).validate(module, data(), verbose=False)
    assert "validate/error_deg" in validated and not any("seen" in name for name in validated)


def test_a_second_reader_that_is_the_first_is_refused(tmp_path, files):
    copy = shutil.copy(files["coefficients"], tmp_path / "copy.safetensors")
    for second in (files["coefficients"], str(copy)):
        with pytest.raises(InputError, match="second reader that the first is compared with"):
            StepSizeModule(**files, settings=TINY, second_reader=second)


def test_only_trained_networks_are_measured(tmp_path, files):
    module = StepSizeModule(**files, settings=TINY)
    for verb in ("validate", "test"):
        with pytest.raises(InputError, match=f"to {verb}, got an untrained one; add --ckpt_path"):
            getattr(quiet_trainer(tmp_path), verb)(module, data(), verbose=False)


def test_files_of_another_generator_and_unknown_directions_are_refused(tmp_path, files):
    with pytest.raises(InputError, match="expected one of the directions yaw, got 'pitch'"):
        StepSizeModule(**files, direction="pitch", settings=TINY)
    foreign = LatentDirections((load_directions(files["directions"]).named("yaw"),), "0" * 64, {})
    wrong = {**files, "directions": str(save_directions(tmp_path / "foreign.safetensors", foreign))}
    with pytest.raises(InputError, match="in whose W these directions were found"):
        StepSizeModule(**wrong, settings=TINY)
    (tmp_path / "other").mkdir()
    other = write_networks(tmp_path / "other", seed=1)["generator"]
    assert load_generator(other).num_layers == LAYERS
    with pytest.raises(InputError, match="expected the generator that"):
        StepSizeModule(**{**files, "generator": other}, settings=TINY)


@pytest.mark.parametrize("wrong", [{"learning_rate": 0.0}, {"largest_angle_deg": 0.0}, {"largest_angle_deg": 90.0}])
def test_impossible_settings_are_refused(wrong):
    with pytest.raises(InputError, match="largest angle between 0 and 90 degrees"):
        StepSizeSettings(**wrong)
