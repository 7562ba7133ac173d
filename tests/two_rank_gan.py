"""A StyleGAN2 trained by two processes: `python -m tests.two_rank_gan FOLDER` writes the parameters of each to FOLDER/rank{0,1}.pt.

A program of its own, because Lightning starts the second process with the words of the first.
"""

import sys
from pathlib import Path

import torch
from pytorch_lightning import LightningDataModule, Trainer
from torch import Tensor
from torch.utils.data import DataLoader

from datamodules.loading import RankSampler, ResumableLoader
from evaluation.generator_quality import FrechetDistance
from lightning_modules.stylegan2 import StyleGAN2
from lightning_modules.warm_start import WarmStart
from models.observers import Judge, save_observer
from models.stylegan2 import Discriminator, Generator
from models.stylegan2.augmentation import AdaptiveAugmentation
from tests.test_stylegan2_training import Portraits, Z


class SharedPortraits(LightningDataModule):
    """32 portraits, half of them for each rank."""

    def train_dataloader(self) -> ResumableLoader:
        assert self.trainer is not None
        sampler = RankSampler(32, self.trainer.world_size, self.trainer.global_rank, drop_uneven=True, shuffle_seed=0)
        return ResumableLoader(Portraits(32), sampler, batch_size=8)

    def measured_loader(self, count: int | None, batch_size: int) -> DataLoader[dict[str, Tensor]]:
        """The first pictures, every other one on each rank."""
        assert self.trainer is not None and count is not None
        sampler = RankSampler(count, self.trainer.world_size, self.trainer.global_rank, drop_uneven=False)
        return DataLoader(Portraits(32), batch_size, sampler=sampler)


def main(folder: Path) -> None:
    """Train two adversarial steps after the scaling of a warm start."""
    torch.manual_seed(0)
    torch.set_num_threads(1)
    warm_start = WarmStart(transition_images=1000, importance_images=8)
    networks = Generator([8, 6], z_dim=Z, w_dim=6, mapping_layers=2), Discriminator([8, 6])
    # Moved by each rank's own signs alone, the probability would go apart.
    augmentation = AdaptiveAugmentation(target=0.0, images_to_one=64.0, interval=1, initial=0.5)
    options = {"r1_interval": 1, "path_length_weight": 2.0, "total_images": 32}
    model = StyleGAN2(*networks, augmentation=augmentation, warm_start=warm_start, **options)
    # Each rank needs the file, which both write alike.
    judge = Judge(4, 3, 5, widths=(4, 8), blocks=(1, 1), num_features=6)
    quality = FrechetDistance(
        str(save_observer(folder / "judge.safetensors", judge)), every=16, generated=5, real=7, batch_size=2
    )
    trainer = Trainer(
        callbacks=[quality],
        accelerator="cpu",
        devices=2,
        strategy="ddp_find_unused_parameters_true",
        max_epochs=-1,
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        default_root_dir=folder,
    )
    trainer.fit(model, SharedPortraits())
    parameters = dict(model.named_parameters()) | {"probability": augmentation.probability}
    real = quality.real_statistics
    assert real is not None
    contents = {
        "images_seen": int(model.images_seen),
        "parameters": parameters,
        "real_mean": real.mean,
        "real_covariance": real.covariance,
    }
    torch.save(contents, folder / f"rank{trainer.global_rank}.pt")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
