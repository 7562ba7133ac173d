"""Training of the observers: augmentation keeps truth true, tiny networks learn, runs export and resume."""

import math
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
import yaml
from jsonargparse import ArgumentParser
from pytorch_lightning import LightningDataModule, LightningModule, Trainer, seed_everything
from torch.utils.data import DataLoader, Dataset

from datamodules.synthetic_portraits import SyntheticPortraitDataModule
from lightning_modules.augmentation import ImageAugmentation
from lightning_modules.identity_net import IdentityNetModule
from lightning_modules.judge import JudgeModule
from lightning_modules.landmark_net import LandmarkNetModule
from models.morphable.parameters import ParameterSizes
from models.observers import IdentityNet, Judge, LandmarkNet, load_face_embedder, load_judge, load_landmark_detector
from renderers.errors import InputError
from tests.conftest import ROOT

SIZES = ParameterSizes(4, 3, 5)
IMAGE_SIZE = 32


class Blobs(Dataset):
    """A bright spot whose place is every landmark, the yaw and the pitch, and whose colour is the person."""

    def __init__(self, count: int, people: int = 4, first_person: int = 0) -> None:
        generator = torch.Generator().manual_seed(count)
        self.place = 8 + torch.rand(count, 2, generator=generator) * (IMAGE_SIZE - 16)
        self.person = torch.arange(count) % people + first_person
        colours = torch.rand(people + first_person, 3, generator=torch.Generator().manual_seed(9))
        steps = torch.arange(IMAGE_SIZE) + 0.5
        distance = (steps[None, None] - self.place[:, :1, None]) ** 2 + (
            steps[None, :, None] - self.place[:, 1:, None]
        ) ** 2
        spots = (-distance / 18).exp()[:, None] * colours[self.person][..., None, None]
        self.images = spots * 2 - 1
        self.parameters = torch.zeros(count, SIZES.total)
        self.parameters[:, SIZES.slice("rotation")][:, :2] = (self.place / IMAGE_SIZE - 0.5) / 2

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, index: int) -> dict[str, torch.Tensor]:
        return {
            "image": self.images[index],
            "landmarks": self.place[index].expand(68, 2),
            "parameters": self.parameters[index],
            "person": self.person[index],
        }


def run(module, tmp_path, steps: int, resume: str | None = None, people: int = 4) -> Trainer:
    seed_everything(0)
    trainer = Trainer(
        max_steps=steps,
        accelerator="cpu",
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        default_root_dir=tmp_path,
        num_sanity_val_steps=0,
    )
    training = DataLoader(Blobs(64, people), batch_size=16, shuffle=True)
    trainer.fit(module, training, DataLoader(Blobs(32, people), batch_size=16), ckpt_path=resume)
    return trainer


def landmark_module(path: str | None = None) -> LandmarkNetModule:
    torch.manual_seed(0)
    network = LandmarkNet(working_size=IMAGE_SIZE, widths=(4, 8, 8), blocks=(1, 1))
    return LandmarkNetModule(network, ImageAugmentation(shift=0.05), learning_rate=1e-2, output=path)


def judge_module(path: str | None = None) -> JudgeModule:
    torch.manual_seed(0)
    network = Judge(4, 3, 5, widths=(4, 8), blocks=(1, 1), num_features=16, working_size=IMAGE_SIZE)
    return JudgeModule(network, ImageAugmentation(noise=0.02), learning_rate=1e-2, output=path)


def test_landmarks_are_learnt_and_exported(tmp_path):
    path = str(tmp_path / "landmarks.safetensors")
    trainer = run(landmark_module(path), tmp_path, 80)
    assert float(trainer.callback_metrics["val/landmark_error_px"]) < 2.0
    blobs = Blobs(20)
    errors = torch.linalg.vector_norm(load_landmark_detector(path)(blobs.images) - blobs.place[:, None], dim=-1)
    assert float(errors.mean()) < 2.0


def test_judge_is_learnt_in_units_of_the_truth(tmp_path):
    path = str(tmp_path / "judge.safetensors")
    trainer = run(judge_module(path), tmp_path, 150)
    spread = math.degrees(float(Blobs(64).parameters[:, SIZES.slice("rotation")].std(dim=0).norm()))
    assert float(trainer.callback_metrics["val/rotation_error_deg"]) < spread / 2
    judge = load_judge(path)
    truth = judge.targets(Blobs(64).parameters)
    torch.testing.assert_close(judge.mean, truth.mean(dim=0), atol=1e-5, rtol=0)


def test_identity_is_learnt(tmp_path):
    path = str(tmp_path / "identity.safetensors")
    torch.manual_seed(0)
    network = IdentityNet(embedding_dim=8, base_width=4, working_size=IMAGE_SIZE)
    module = IdentityNetModule(network, ImageAugmentation(), num_people=4, scale=8.0, learning_rate=1e-2, output=path)
    trainer = run(module, tmp_path, 60)
    assert float(trainer.callback_metrics["val/verification_auc"]) > 0.8
    assert load_face_embedder(path)(Blobs(2).images).shape == (2, 8)


def test_people_beyond_the_training_split_are_refused(tmp_path):
    network = IdentityNet(embedding_dim=8, base_width=4, working_size=IMAGE_SIZE)
    module = IdentityNetModule(network, ImageAugmentation(), num_people=3)
    with pytest.raises(InputError, match="num_people"):
        run(module, tmp_path, 1, people=4)


def test_runs_without_end_are_refused(tmp_path):
    data = DataLoader(Blobs(16), batch_size=16)
    trainer = Trainer(
        max_epochs=-1, accelerator="cpu", logger=False, enable_checkpointing=False, default_root_dir=tmp_path
    )
    with pytest.raises(InputError, match="known length"):
        trainer.fit(judge_module(), data, data)


def test_a_resumed_run_continues(tmp_path):
    """Statistics of the judge come from the checkpoint, and the schedule goes on where it stopped."""
    first = judge_module()
    seed_everything(0)
    quiet = {
        "accelerator": "cpu",
        "logger": False,
        "enable_checkpointing": False,
        "enable_progress_bar": False,
        "enable_model_summary": False,
        "default_root_dir": tmp_path,
    }
    data = DataLoader(Blobs(64), batch_size=16)
    trainer = Trainer(max_steps=8, **quiet)
    trainer.fit(first, data)
    trainer.save_checkpoint(tmp_path / "last.ckpt")
    second = judge_module()
    resumed = Trainer(max_steps=8, **quiet)
    resumed.fit(second, DataLoader(Blobs(16), batch_size=16), ckpt_path=tmp_path / "last.ckpt")
    assert resumed.global_step == 8
    assert load_judge(tmp_path / "judge.safetensors").working_size == IMAGE_SIZE
    torch.testing.assert_close(second.network.mean, first.network.mean)
    torch.testing.assert_close(second.network.readout.weight, first.network.readout.weight)


@pytest.mark.slow
def test_two_processes_validate_as_one(tmp_path):
    environment = {key: value for key, value in os.environ.items() if key != "LOCAL_RANK"}
    command = [sys.executable, "-m", "tests.two_rank_observers", str(tmp_path)]
    result = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=300)
    assert result.returncode == 0, result.stderr
    from tests.two_rank_observers import figures

    single = figures(tmp_path, 1)
    names = {"val/landmark_error_px", "val/worst_landmark_error_px", "val/rotation_error_deg", "val/verification_auc"}
    assert names < single.keys()
    for rank in range(2):
        found = torch.load(tmp_path / f"rank{rank}.pt", weights_only=True)
        assert found == pytest.approx(single, rel=1e-4, nan_ok=True)


@pytest.mark.parametrize(
    ("name", "module", "network"),
    [
        ("landmarks", LandmarkNetModule, LandmarkNet),
        ("judge", JudgeModule, Judge),
        ("identity", IdentityNetModule, IdentityNet),
    ],
)
def test_shipped_configs_build_the_default_networks(name, module, network):
    config = yaml.safe_load((Path(__file__).resolve().parents[1] / "configs" / "demo" / f"{name}.yaml").read_text())
    parser = ArgumentParser(exit_on_error=False)
    parser.add_subclass_arguments(LightningModule, "model")
    parser.add_subclass_arguments(LightningDataModule, "data")
    built = parser.instantiate_classes(parser.parse_object({"model": config["model"], "data": config["data"]}))
    assert isinstance(built.model, module)
    assert isinstance(built.data, SyntheticPortraitDataModule)
    assert built.model.network.config == network().config
    if isinstance(built.model, IdentityNetModule):
        settings = config["data"]["init_args"]
        assert built.model.num_people == settings["num_samples"] // settings["samples_per_person"]


def spot_place(image: torch.Tensor) -> torch.Tensor:
    """Centre of brightness above the dark ground, pixels."""
    steps = torch.arange(image.shape[-1]) + 0.5
    weight = (image.mean(0) + 1).clamp(min=0) ** 2
    return torch.stack([(weight * steps).sum(), (weight * steps[:, None]).sum()]) / weight.sum()


@pytest.mark.parametrize(
    "strengths",
    [
        {"flip": 1.0},
        {"rotation": 40.0},
        {"scale": 0.2},
        {"shift": 0.1},
        {"flip": 0.5, "rotation": 10.0, "scale": 0.1, "shift": 0.03},
    ],
)
def test_landmarks_move_with_the_picture(strengths):
    torch.manual_seed(0)
    blobs = Blobs(16)
    landmarks = blobs.place[:, None].expand(-1, 68, -1)
    images, moved = ImageAugmentation(**strengths)(blobs.images, landmarks)
    assert moved is not None
    places = torch.stack([spot_place(image) for image in images])
    torch.testing.assert_close(moved[:, 0], places, atol=0.5, rtol=0)


def test_mirrored_landmarks_keep_their_meaning():
    landmarks = torch.zeros(1, 68, 2)
    landmarks[:, 36] = torch.tensor([10.0, 12.0])  # outer corner of the eye at the image's left
    landmarks[:, 8] = torch.tensor([20.0, 30.0])  # chin
    _, moved = ImageAugmentation(flip=1.0)(torch.zeros(1, 3, 32, 32), landmarks)
    assert moved is not None
    torch.testing.assert_close(moved[0, 45], torch.tensor([22.0, 12.0]))
    torch.testing.assert_close(moved[0, 8], torch.tensor([12.0, 30.0]))
    _, twice = ImageAugmentation(flip=1.0)(torch.zeros(1, 3, 32, 32), moved)
    assert twice is not None
    torch.testing.assert_close(twice, landmarks)


def test_augmentation_is_off_by_default_repeatable_and_bounded():
    blobs = Blobs(8)
    images, landmarks = ImageAugmentation()(blobs.images)
    torch.testing.assert_close(images, blobs.images)
    assert landmarks is None
    strong = ImageAugmentation(0.5, 20.0, 0.2, 0.1, 0.5, 1.0, 0.3)
    torch.manual_seed(5)
    first, _ = strong(blobs.images)
    torch.manual_seed(5)
    second, _ = strong(blobs.images)
    torch.testing.assert_close(first, second)
    assert float(first.abs().max()) <= 1
    assert not torch.equal(first, blobs.images)
