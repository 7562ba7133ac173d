"""Observers validated by two processes: `python -m tests.two_rank_observers FOLDER` writes what each found to FOLDER/rank{0,1}.pt.

A program of its own, because Lightning starts the second process with the words of the first.
"""

import sys
from pathlib import Path

import torch
from pytorch_lightning import LightningModule
from torch.utils.data import DataLoader

from datamodules.loading import RankSampler
from lightning_modules.augmentation import ImageAugmentation
from lightning_modules.identity_net import IdentityNetModule
from models.observers import IdentityNet
from tests.test_observer_training import IMAGE_SIZE, Blobs, judge_module, landmark_module
from tests.tiny_stylerig import quiet_trainer

# Odd in number: one rank has one more.
SAMPLES = 9


def modules() -> list[LightningModule]:
    """The three, untrained and the same on every call."""
    landmarks, judge = landmark_module(), judge_module()
    network = IdentityNet(embedding_dim=8, base_width=4, working_size=IMAGE_SIZE)
    return [landmarks, judge, IdentityNetModule(network, ImageAugmentation(), num_people=4)]


def figures(folder: Path, devices: int) -> dict[str, float]:
    """All that they log in validation."""
    found: dict[str, float] = {}
    for module in modules():
        trainer = quiet_trainer(folder, devices=devices, strategy="ddp" if devices > 1 else "auto", enable_checkpointing=False)
        rank = trainer.global_rank
        loader = DataLoader(Blobs(SAMPLES), 2, sampler=RankSampler(SAMPLES, devices, rank, drop_uneven=False))
        found |= trainer.validate(module, loader, verbose=False)[0]
    return found


if __name__ == "__main__":
    torch.set_num_threads(1)
    folder = Path(sys.argv[1])
    result = figures(folder, 2)
    torch.save(result, folder / f"rank{torch.distributed.get_rank()}.pt")
