"""Training of the UV generator: views, losses against their formulas, schedule, resumption, outputs and errors."""

import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from pytorch_lightning import Callback, LightningModule, Trainer
from torch import Tensor

from datamodules.latent_pairs import LatentPairDataModule, PairRecipe
from lightning_modules.face_scene import FaceScene
from lightning_modules.image_error import masked_psnr
from lightning_modules.stylefaceuv import StyleFaceUV
from lightning_modules.stylefaceuv_losses import UVLosses, photometric_loss
from lightning_modules.stylefaceuv_settings import UVSettings
from lightning_modules.stylefaceuv_views import RenderedView
from models.stylefaceuv import MirrorStep
from models.stylefaceuv.loading import load_yaw_step
from models.stylefaceuv.uv_generator import UVGenerator
from models.stylegan2 import Discriminator, load_discriminator
from models.stylegan2.loading import save_discriminator
from models.stylegan2.losses import discriminator_loss, generator_loss, r1_penalty
from renderers.errors import InputError
from tests.tiny_stylefaceuv import write_uv_networks
from tests.tiny_stylerig import quiet_trainer, use_toy_face

# Features of the shipped networks are large, and have tests of their own.
TINY = UVSettings(perceptual=0.0, average_half_life=8.0)


@pytest.fixture
def files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """Networks of the toy face; the step size mirrors the yaw that is read."""
    use_toy_face(monkeypatch)
    return write_uv_networks(tmp_path)


def module(files: dict[str, str], settings: UVSettings = TINY, **options: Any) -> StyleFaceUV:
    torch.manual_seed(0)
    if settings.views == "one":
        files = {**files, "step_size": None}  # type: ignore[dict-item]
    return StyleFaceUV(**files, settings=settings, **options)


def data(**settings: Any) -> LatentPairDataModule:
    sizes = {"batch_size": 2, "train_pairs": 100, "validation_pairs": 2, "test_pairs": 2, "max_latents": 1, **settings}
    return LatentPairDataModule(**sizes)


def train(model: StyleFaceUV, folder: Path, checkpoint: Path | None = None, **options: Any) -> Trainer:
    trainer = quiet_trainer(folder, **{"limit_val_batches": 0, "enable_checkpointing": False, **options})
    trainer.fit(model, datamodule=data(), ckpt_path=checkpoint)
    return trainer


def pictured(model: StyleFaceUV, count: int = 4) -> tuple[Tensor, Tensor]:
    pairs = PairRecipe(0, 1).pairs(model.generator, "test", torch.arange(count), images=True)
    assert pairs.image_w is not None
    return pairs.w, pairs.image_w


def test_photometric_loss_counts_valid_pixels() -> None:
    image, target, weights = torch.zeros(2, 3, 2, 2), torch.full((2, 3, 2, 2), 0.5), torch.zeros(2, 1, 2, 2)
    weights[0, 0, 0] = torch.tensor([1.0, 0.5])
    # Two valid pixels of a squared difference of 0.25, one of half the weight; the second face shows nothing.
    expected = (0.25 * 1.5 / 2 + 0) / 2
    torch.testing.assert_close(photometric_loss(image, target, weights), torch.tensor(expected))


def test_a_face_out_of_the_picture_does_not_raise_the_measure() -> None:
    image, mask = torch.full((2, 3, 2, 2), 0.6), torch.ones(2, 1, 2, 2)
    target = torch.full((2, 3, 2, 2), 0.5)
    assert float(masked_psnr(image, target, mask).mean()) == pytest.approx(20.0, abs=1e-3)
    mask[1] = 0
    assert float(masked_psnr(image, target, mask).mean()) == pytest.approx(10.0, abs=1e-3)


def test_losses_are_those_of_the_paper() -> None:
    """Equations 6 to 9, both views."""
    rng = torch.Generator().manual_seed(0)
    discriminator = Discriminator([4, 4], deviation_group=2)
    views = [RenderedView(*(torch.rand(2, size, 8, 8, generator=rng) for size in (3, 3, 1, 1, 3))) for _ in range(2)]
    losses = UVLosses(replace(TINY, r1_gamma=4.0, r1_interval=3), None)
    found = losses.generator(discriminator, views)["loss"]
    each = [generator_loss(discriminator(v.image)) + 10 * photometric_loss(v.image, v.target, v.weights) for v in views]
    torch.testing.assert_close(found, each[0] + 0.75 * each[1])
    logistic = [discriminator_loss(discriminator(v.target), discriminator(v.image)) for v in views]
    plain = losses.discriminator(discriminator, views, penalised=False)
    torch.testing.assert_close(plain["loss"], logistic[0] + 0.75 * logistic[1])
    r1 = [r1_penalty(discriminator, v.target) for v in views]
    penalised = losses.discriminator(discriminator, views, penalised=True)
    torch.testing.assert_close(penalised["loss"], plain["loss"] + 4 / 2 * 3 * (r1[0] + 0.75 * r1[1]))


def test_the_symmetric_view_is_turned_the_other_way(files: dict[str, str]) -> None:
    model = module(files)
    codes, images = pictured(model)
    original, symmetric = model.views.posed(codes, images)
    assert original.parameters.rotation[:, 1].abs().max() > 0.2
    torch.testing.assert_close(
        symmetric.parameters.rotation[:, 1], -original.parameters.rotation[:, 1], atol=0.03, rtol=0
    )
    assert torch.equal(original.target, images)
    torch.testing.assert_close(symmetric.target, model.generator.synthesis(symmetric.codes).clamp(-1, 1))


def test_rendered_views_are_masked_alike(files: dict[str, str]) -> None:
    model = module(files)
    for setting in ("shared", "own"):
        model.views.symmetric_maps = setting  # type: ignore[assignment]
        original, symmetric = model.views.rendered(model.network, model.views.posed(*pictured(model)))
        for view in (original, symmetric):
            beside = (view.mask == 0).expand_as(view.image)
            assert beside.any() and (view.image[beside] == -1).all() and (view.target[beside] == -1).all()
        torch.testing.assert_close(original.weights, original.mask)
        on = symmetric.weights[symmetric.mask > 0]
        # Most of a face is seen from both sides.
        assert on.min() >= 0.5 - 1e-5 and on.max() <= 1 + 1e-5 and on.mean() < 0.9
        assert (symmetric.weights[symmetric.mask == 0] == 0).all()


def test_maps_of_the_symmetric_view(files: dict[str, str]) -> None:
    """Shared ones do not see the moved code, own ones do."""
    model = module(files)
    views = model.views.posed(*pictured(model))
    shared = model.views.rendered(model.network, views)[1].image
    model.views.symmetric_maps = "own"
    assert not torch.equal(model.views.rendered(model.network, views)[1].image, shared)
    moved = [views[0], views[1]._replace(codes=views[0].codes)]
    torch.testing.assert_close(model.views.rendered(model.network, moved)[1].image, shared)


@pytest.mark.parametrize("views", ["one", "two"])
def test_training_comes_closer_to_the_pictures(files: dict[str, str], tmp_path: Path, views: Any) -> None:
    """Better than the coarse face; the frozen networks stay; file, discriminator, checkpoint and samples are written."""
    model = module(files, replace(TINY, views=views, learning_rate=0.01), total_images=40, sample_every=1000)
    before = model.generator.const.clone()
    trainer = train(model, tmp_path / "run", limit_val_batches=1, check_val_every_n_epoch=None, val_check_interval=10)
    assert trainer.should_stop and int(model.images_seen) == 40 and int(model.steps) == 10
    figures = {name: float(value) for name, value in trainer.callback_metrics.items()}
    assert figures["validate/psnr_db"] > figures["validate/psnr_db_coarse"] + 1
    assert ("validate/psnr_db_symmetric" in figures) == (views == "two")
    assert 0 < figures["validate/displacement"] < 0.01 * math.sqrt(3)
    assert torch.equal(model.generator.const, before)
    folder = tmp_path / "run"
    written = UVGenerator.load(folder / "uv_generator.safetensors", model.provenance)
    torch.testing.assert_close(written.const, model.average.const, atol=1e-2, rtol=1e-2)
    assert load_discriminator(folder / "discriminator.safetensors").resolution == 16
    assert (folder / "checkpoints/last.ckpt").is_file() and (folder / "samples/000000040.png").is_file()


def test_schedule_of_the_discriminator(files: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A step before the first of every five of the generator; R1 in the first of every so many."""
    steps: list[str] = []

    class Record(Callback):
        def on_before_optimizer_step(self, trainer: Trainer, pl_module: LightningModule, optimizer: Any) -> None:
            steps.append("G" if optimizer is trainer.optimizers[0] else "D")

    model = module(files, replace(TINY, r1_interval=2), total_images=4 * 11)
    plain = model.losses.discriminator

    def recorded(discriminator: Discriminator, views: Any, penalised: bool) -> dict[str, Tensor]:
        steps.append("R" if penalised else "")
        return plain(discriminator, views, penalised)

    monkeypatch.setattr(model.losses, "discriminator", recorded)
    train(model, tmp_path, callbacks=[Record()])
    assert "".join(steps) == "RDG" + "GGGG" + "DG" + "GGGG" + "RDG"


def test_without_a_discriminator_it_is_left_alone(files: dict[str, str], tmp_path: Path) -> None:
    model = module(files, replace(TINY, adversarial=0.0), total_images=8)
    before = {name: value.clone() for name, value in model.discriminator.state_dict().items()}
    trainer = train(model, tmp_path)
    assert all(torch.equal(value, before[name]) for name, value in model.discriminator.state_dict().items())
    assert "train/adversarial" not in trainer.callback_metrics and not (tmp_path / "discriminator.safetensors").exists()


def test_parts_of_a_batch_give_its_gradient(files: dict[str, str], tmp_path: Path) -> None:
    gradients: list[Tensor] = []

    class Record(Callback):
        def on_before_optimizer_step(self, trainer: Trainer, pl_module: LightningModule, optimizer: Any) -> None:
            assert isinstance(pl_module, StyleFaceUV) and pl_module.network.const.grad is not None
            gradients.append(pl_module.network.const.grad.clone())

    for parts in (1, 3):
        settings = replace(TINY, adversarial=0.0, parts=parts)
        train(module(files, settings, total_images=4), tmp_path / str(parts), callbacks=[Record()])
    torch.testing.assert_close(gradients[1], gradients[0], atol=1e-7, rtol=1e-4)


def test_parts_that_the_discriminator_cannot_group(files: dict[str, str], tmp_path: Path) -> None:
    """Refused before the first step; without a discriminator they are fine."""
    model = module(files, replace(TINY, parts=2), total_images=12)
    trainer = quiet_trainer(tmp_path, limit_val_batches=0, enable_checkpointing=False)
    with pytest.raises(InputError, match=r"got 12 codes in parts of 6; change data.batch_size or settings.parts"):
        trainer.fit(model, datamodule=data(batch_size=6))
    assert int(model.images_seen) == 0
    trainer = quiet_trainer(tmp_path, limit_val_batches=0, enable_checkpointing=False)
    trainer.fit(module(files, replace(TINY, parts=2, adversarial=0.0), total_images=12), datamodule=data(batch_size=6))


def test_settings_beside_weights_of_others(files: dict[str, str], tmp_path: Path) -> None:
    first = module(files)
    weights = str(first.average.save(tmp_path / "u.safetensors", first.provenance, first.sources))
    module(files, replace(TINY, displacement_bound=first.average.displacement_bound), weights=weights)
    with pytest.raises(InputError, match="expected the settings.displacement_bound 0.01 of"):
        module(files, replace(TINY, displacement_bound=0.05), weights=weights)
    with pytest.raises(InputError, match="expected the settings.closed True of .* set settings.closed to true"):
        module(files, replace(TINY, closed=False), weights=weights)


def test_a_resumed_run_continues_exactly(files: dict[str, str], tmp_path: Path) -> None:
    settings = replace(TINY, generator_steps=2)
    whole = module(files, settings, total_images=16)
    train(whole, tmp_path / "whole")
    train(module(files, settings, total_images=8), tmp_path / "first")
    second = module(files, settings, total_images=16)
    train(second, tmp_path / "second", tmp_path / "first/checkpoints/last.ckpt")
    state = second.state_dict()
    assert not any(name.startswith(("generator", "views", "losses", "face_model")) for name in state)
    for name, value in whole.state_dict().items():
        torch.testing.assert_close(state[name], value, atol=1e-6, rtol=1e-5, msg=name)


def test_mixed_precision(files: dict[str, str], tmp_path: Path) -> None:
    model = module(files, total_images=12)
    before = model.network.const.clone()
    train(model, tmp_path, precision="bf16-mixed")
    assert torch.isfinite(model.network.const).all() and not torch.equal(model.network.const, before)


def test_starts_from_files(files: dict[str, str], tmp_path: Path) -> None:
    """From an earlier UV generator, which may then be tested, and from a 2D discriminator."""
    first = module(files)
    with torch.no_grad():
        first.average.const.add_(1.0)
    weights = str(first.average.save(tmp_path / "u.safetensors", first.provenance, first.sources))
    opponent = Discriminator([4, 4, 4])
    discriminator = str(save_discriminator(tmp_path / "d.safetensors", opponent))
    model = module(files, weights=weights, discriminator=discriminator)
    torch.testing.assert_close(model.network.const, first.average.const, atol=5e-3, rtol=0)
    assert model.network.training and all(parameter.requires_grad for parameter in model.network.parameters())
    torch.testing.assert_close(model.discriminator.from_rgb.weight, opponent.from_rgb.weight)
    (figures,) = quiet_trainer(tmp_path).test(model, datamodule=data(), verbose=False)
    assert math.isfinite(figures["test/psnr_db_symmetric"])
    with pytest.raises(InputError, match="expected a trained UV generator to test"):
        quiet_trainer(tmp_path).test(module(files), datamodule=data(), verbose=False)
    small = str(save_discriminator(tmp_path / "s.safetensors", Discriminator([4, 4])))
    with pytest.raises(InputError, match="discriminator of the generator's 16 pixels"):
        module(files, discriminator=small)


def test_the_step_to_the_mirrored_yaw_alone(files: dict[str, str], tmp_path: Path) -> None:
    """The release's form of Fyaw serves as well; other files are refused."""
    model = module(files)
    step = MirrorStep(model.generator.num_layers, model.generator.w_dim, (1,))
    step.move_along(torch.ones_like(step.direction))
    path = step.save(tmp_path / "m.safetensors", model.provenance)
    assert isinstance(load_yaw_step(path, model.provenance), MirrorStep)
    assert len(module({**files, "step_size": str(path)}).views.posed(*pictured(model))) == 2
    with pytest.raises(InputError, match="expected a step-size or mirror-step file"):
        load_yaw_step(files["coefficients"], model.provenance)


def test_options_that_contradict_each_other(files: dict[str, str]) -> None:
    with pytest.raises(InputError, match="expected step_size, the weights of Fyaw"):
        StyleFaceUV(files["generator"], files["coefficients"], settings=TINY)
    with pytest.raises(InputError, match="expected features as perceptual"):
        StyleFaceUV(**files)
    with pytest.raises(InputError, match="scene of triangles"):
        module(files, scene=FaceScene(primitive="points"))
    for wrong in (
        {"parts": 0},
        {"learning_rate": 0.0},
        {"symmetric": -1.0},
        {"reconstruction": 0.0, "adversarial": 0.0},
    ):
        with pytest.raises(InputError, match="expected"):
            replace(TINY, **wrong)  # type: ignore[arg-type]
