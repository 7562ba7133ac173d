"""The training of a lifted generator of 16 pixels on the generator of `tests.tiny_stylerig`."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from datamodules.latent_pairs import LatentPairDataModule
from lightning_modules.lifted_gan import LiftedGanModule
from lightning_modules.lifted_gan_settings import LiftedTraining
from models.observers import IdentityNet, Judge, save_observer
from tests.lifted_gan_files import TINY
from tests.tiny_stylerig import write_networks

# Features of the shipped networks are large, and have tests of their own.
TRAINING = LiftedTraining(perceptual=0.0, perceptual_scales=(1,), albedo_pooling=2, average_half_life=8.0)
# Neither features nor an identity network.
PLAIN = replace(TRAINING, identity=0.0)


def write_lifted_gan_networks(folder: Path) -> dict[str, str]:
    """A generator and an identity network, by the module's arguments."""
    generator = write_networks(folder)["generator"]
    torch.manual_seed(1)
    embedder = IdentityNet(embedding_dim=8, base_width=4, working_size=16)
    return {"generator": generator, "embedder": str(save_observer(folder / "embedder.safetensors", embedder))}


def write_judge(folder: Path) -> str:
    """An untrained judge."""
    torch.manual_seed(2)
    judge = Judge(widths=(4, 8), blocks=(1, 1), num_features=8, working_size=16)
    return str(save_observer(folder / "judge.safetensors", judge))


def lifted_module(files: dict[str, str], settings: LiftedTraining = TRAINING, **options: Any) -> LiftedGanModule:
    """The module with weights of one seed."""
    torch.manual_seed(0)
    given: dict[str, Any] = {name: path for name, path in files.items() if name != "embedder" or settings.identity > 0}
    return LiftedGanModule(**given, **{"networks": TINY, "settings": settings, **options})


def tiny_pairs(**settings: Any) -> LatentPairDataModule:
    """Pairs of codes of W."""
    sizes = {"batch_size": 2, "train_pairs": 100, "validation_pairs": 2, "test_pairs": 2, "max_latents": 1, **settings}
    return LatentPairDataModule(**sizes)
