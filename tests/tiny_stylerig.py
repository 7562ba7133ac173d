"""A generator of 16 pixels, a landmark network and a face model small enough to train StyleRig in a test."""

from pathlib import Path
from typing import Any

import pytest
import pytorch_lightning as pl
import torch
from torch import nn

from lightning_modules.face_scene import FaceScene
from models.observers import LandmarkNet, save_observer
from models.stylegan2 import Generator
from models.stylegan2.loading import save_generator
from models.weights import half_matrices
from tests.toy_face import toy_face_model

RESOLUTION, LAYERS, WIDTH = 16, 6, 12


def write_networks(folder: Path, seed: int = 0) -> dict[str, str]:
    """Untrained networks on disk, as the modules' arguments name them."""
    torch.manual_seed(seed)
    generator = Generator([8, 8, 8], z_dim=10, w_dim=WIDTH, mapping_layers=2)
    codes = generator.mapping(torch.randn(500, 10))
    generator.mean_w.copy_(codes.mean(dim=0))
    generator.std_w.copy_(codes.std(dim=0))
    landmarker = LandmarkNet(working_size=16, widths=(4, 8, 8), blocks=(1, 1))
    save_generator(folder / "generator.safetensors", generator)
    save_observer(folder / "landmarks.safetensors", landmarker)
    return {"generator": str(folder / "generator.safetensors"), "landmarker": str(folder / "landmarks.safetensors")}


def as_written(network: nn.Module) -> None:
    """Round a network's matrices to the float16 of its file, so that what is read back is the same to the last bit."""
    network.load_state_dict(half_matrices(network.state_dict()))


def use_toy_face(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let every scene show the toy face."""
    monkeypatch.setattr(FaceScene, "load_face_model", lambda self: toy_face_model())


def quiet_trainer(folder: Path, **settings: Any) -> pl.Trainer:
    """A CPU trainer that prints nothing and writes into `folder`."""
    quiet = {"enable_progress_bar": False, "enable_model_summary": False, "num_sanity_val_steps": 0, "max_epochs": -1}
    return pl.Trainer(default_root_dir=folder, logger=False, accelerator="cpu", **{**quiet, **settings})
