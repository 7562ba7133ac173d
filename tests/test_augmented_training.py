"""A StyleGAN2 trained on a folder of photos with adaptive augmentation: resumed bit for bit, in mixed precision, measured, logged."""

import csv
from pathlib import Path

import numpy as np
import pytest
import torch
from pytorch_lightning import Trainer
from pytorch_lightning.loggers import CSVLogger, TensorBoardLogger, WandbLogger

from datamodules.portrait_data import PortraitDataModule
from evaluation.frechet import feature_statistics
from evaluation.generator_quality import FrechetDistance
from lightning_modules.gan_progress import grid_of_latents
from lightning_modules.loggers import log_figures, log_picture
from lightning_modules.stylegan2 import StyleGAN2
from models.observers import Judge, save_observer
from models.stylegan2 import Generator
from models.stylegan2.augmentation import AdaptiveAugmentation
from models.stylegan2.sizing import SizedDiscriminator, SizedGenerator
from renderers.errors import InputError
from tests.photo_files import write_photos

QUIET = {"enable_checkpointing": False, "enable_progress_bar": False, "enable_model_summary": False}


def module(resolution: int = 8, **options: object) -> StyleGAN2:
    """Its augmentation moves in the first steps, and three steps end in the middle of an interval."""
    torch.manual_seed(0)
    generator = SizedGenerator(resolution, 8 * resolution, 8, z_dim=5, w_dim=6, mapping_layers=2)
    augmentation = AdaptiveAugmentation(target=-1.0, images_to_one=30.0, interval=2, initial=0.3)
    given = {"r1_interval": 2, "path_length_weight": 2.0, "path_length_interval": 3, "augmentation": augmentation, **options}
    return StyleGAN2(generator, SizedDiscriminator(resolution, 8 * resolution, 8), **given)


def judge_file(folder: Path) -> str:
    torch.manual_seed(1)
    judge = Judge(4, 3, 5, widths=(4, 8), blocks=(1, 1), num_features=6)
    return str(save_observer(folder / "judge.safetensors", judge))


def train(model: StyleGAN2, folder: Path, photos: Path, checkpoint: Path | None = None, **options: object) -> Trainer:
    trainer = Trainer(accelerator="cpu", max_epochs=-1, default_root_dir=folder, **{"logger": False, **QUIET, **options})
    trainer.fit(model, PortraitDataModule(str(photos), batch_size=4, flip=True), ckpt_path=checkpoint)
    return trainer


def same_state(first: StyleGAN2, second: StyleGAN2) -> None:
    for name, value in first.state_dict().items():
        assert torch.equal(value, second.state_dict()[name]), name


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    write_photos(tmp_path / "photos", 6, size=8)
    return tmp_path / "photos"


def test_a_run_is_resumed_bit_for_bit(tmp_path: Path, photos: Path) -> None:
    whole = module(total_images=28)
    train(whole, tmp_path / "whole", photos)
    assert whole.augmentation is not None and 0.3 < whole.augmentation.probability <= 1
    assert whole.augmentation.sign_steps == 1
    train(module(total_images=12), tmp_path / "parts", photos)
    torch.manual_seed(99)
    second = module(total_images=28)
    train(second, tmp_path / "other", photos, tmp_path / "parts" / "checkpoints" / "last.ckpt")
    same_state(whole, second)


def test_measuring_leaves_training_alone(tmp_path: Path, photos: Path) -> None:
    plain, measured = module(total_images=16), module(total_images=16)
    train(plain, tmp_path / "plain", photos)
    quality = FrechetDistance(judge_file(tmp_path), every=8, generated=6, batch_size=4)
    train(measured, tmp_path / "measured", photos, callbacks=[quality], logger=CSVLogger(tmp_path / "logs"))
    same_state(plain, measured)
    (metrics,) = (tmp_path / "logs").rglob("metrics.csv")
    rows = [row for row in csv.DictReader(metrics.open()) if row.get("quality/frechet_judge")]
    assert [float(row["quality/images_seen"]) for row in rows] == [8.0, 16.0]
    assert all(float(row["quality/frechet_judge"]) > 0 for row in rows)


def test_mirrored_photos_are_not_measured(tmp_path: Path, photos: Path) -> None:
    quality = FrechetDistance(judge_file(tmp_path), generated=4, real=None, batch_size=4)
    train(module(total_images=4), tmp_path, photos, callbacks=[quality])
    pictures = next(iter(PortraitDataModule(str(photos), 8).measured_loader(None, 6)))["image"]
    assert quality.real_statistics is not None and len(pictures) == 6
    expected = feature_statistics(quality.reader.read(pictures))
    torch.testing.assert_close(quality.real_statistics.mean, expected.mean, rtol=1e-6, atol=1e-7)


def test_bfloat16_with_augmentation(tmp_path: Path, photos: Path) -> None:
    model = module(total_images=12)
    trainer = train(model, tmp_path, photos, precision="bf16-mixed")
    assert all(value.dtype != torch.bfloat16 and torch.isfinite(value).all() for value in model.state_dict().values())
    assert trainer.callback_metrics["train/augmentation"] > 0.3


def test_augmentation_changes_what_the_discriminator_sees(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, photos: Path) -> None:
    certain = AdaptiveAugmentation(initial=1.0, images_to_one=1e9)
    seen: list[torch.Tensor] = []
    forward = SizedDiscriminator.forward
    monkeypatch.setattr(SizedDiscriminator, "forward", lambda self, images: seen.append(images) or forward(self, images))
    model = module(total_images=4, augmentation=certain, r1_gamma=0.0, path_length_weight=0.0)
    train(model, tmp_path, photos)
    real, fake, generated = seen
    dataset = PortraitDataModule(str(photos), 8, flip=True).dataset("train")
    every = torch.stack([dataset[index]["image"] for index in range(len(dataset))])
    assert all((picture - every).abs().flatten(1).max(dim=1).values.min() > 0.05 for picture in real)
    # The generator learns through the same changes; nothing of the discriminator's step reaches it.
    assert generated.requires_grad and not real.requires_grad and not fake.requires_grad
    assert model.augmentation is certain


def test_pictures_reach_the_loggers_that_hold_pictures(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[tuple[str, tuple[int, int]]] = []
    monkeypatch.setattr(WandbLogger, "log_image", lambda self, key, images, step: calls.append((key, images[0].size)))
    loggers = [
        CSVLogger(tmp_path),
        TensorBoardLogger(tmp_path),
        WandbLogger(save_dir=tmp_path, offline=True),
    ]
    trainer = Trainer(accelerator="cpu", logger=loggers, enable_checkpointing=False, enable_progress_bar=False)
    trainer.fit_loop.epoch_loop._batches_that_stepped = 3
    monkeypatch.setattr(loggers[2], "log_metrics", lambda metrics, step: calls.append(("figures", (step, len(metrics)))))
    log_picture(trainer, "samples", torch.rand(3, 8, 12))
    log_figures(trainer, {"quality/fid": 2.5})
    assert calls == [("samples", (12, 8)), ("figures", (3, 1))]
    loggers[1].finalize("success")
    assert any("tfevents" in path.name and path.stat().st_size > 200 for path in tmp_path.rglob("*"))


@pytest.mark.parametrize(("resolution", "side"), [(8, 8), (256, 8), (512, 4), (1024, 2), (2048, 2)])
def test_grids_of_large_pictures_hold_fewer(resolution: int, side: int, monkeypatch: pytest.MonkeyPatch) -> None:
    generator = Generator([2], z_dim=2, w_dim=2, mapping_layers=1)
    monkeypatch.setattr(generator, "resolution", resolution)
    # Its pictures are of 4 pixels all the same.
    grid = grid_of_latents(generator, seed=0)
    assert grid.shape == (3, 4 * side, 4 * side) and np.all((grid.numpy() >= 0) & (grid.numpy() <= 1))
    assert torch.equal(grid, grid_of_latents(generator, seed=0)) and not torch.equal(grid, grid_of_latents(generator, seed=1))


@pytest.mark.slow
def test_first_steps_at_1024_pixels(tmp_path: Path) -> None:
    write_photos(tmp_path / "photos", 2, size=1024)
    torch.manual_seed(0)
    generator = SizedGenerator(1024, 2048, 4, z_dim=4, w_dim=4, mapping_layers=1)
    model = StyleGAN2(
        generator,
        SizedDiscriminator(1024, 2048, 4),
        augmentation=AdaptiveAugmentation(initial=1.0, images_to_one=1e9),
        total_images=2,
        path_length_weight=2.0,
        path_length_interval=1,
    )
    trainer = Trainer(
        accelerator="cpu", max_epochs=-1, default_root_dir=tmp_path, precision="bf16-mixed", logger=False, **QUIET
    )
    trainer.fit(model, PortraitDataModule(str(tmp_path / "photos"), batch_size=2))
    assert int(model.images_seen) == 2 and all(torch.isfinite(value).all() for value in model.state_dict().values())
    assert model.generator.resolution == 1024 and model.generator.num_layers == 18


def test_what_cannot_be_measured_is_refused(tmp_path: Path, photos: Path) -> None:
    with pytest.raises(InputError, match="at least 2 pictures"):
        FrechetDistance(judge_file(tmp_path), generated=1)
    quality = FrechetDistance(judge_file(tmp_path))
    with pytest.raises(InputError, match="remove the callback"):
        Trainer(accelerator="cpu", logger=False, callbacks=[quality], default_root_dir=tmp_path, **QUIET).fit(
            module(), torch.utils.data.DataLoader(torch.zeros(4, 3, 8, 8))
        )


def test_fewer_pictures_than_ranks_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    trainer = Trainer(accelerator="cpu", logger=False, default_root_dir=tmp_path, **QUIET)
    monkeypatch.setattr(Trainer, "world_size", 4)
    monkeypatch.setattr(trainer, "datamodule", PortraitDataModule("photos"), raising=False)
    for options in ({"generated": 3}, {"real": 2}):
        with pytest.raises(InputError, match="each of 4 ranks"):
            FrechetDistance(judge_file(tmp_path), **options).setup(trainer, module(), "fit")
    FrechetDistance(judge_file(tmp_path), generated=4, real=4).setup(trainer, module(), "fit")
