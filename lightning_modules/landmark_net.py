"""Training of the 68-landmark network on portraits with their true landmarks."""

import torch
from torch import Tensor

from lightning_modules.augmentation import ImageAugmentation
from lightning_modules.observer import ObserverModule
from lightning_modules.reduction import log_means
from models.observers import LandmarkNet

# Chosen by us: below this distance (fraction of the picture) the loss is quadratic, so that it is smooth at zero.
_SMOOTH_BELOW = 0.002


class LandmarkNetModule(ObserverModule):
    """Mean distance between the network's landmarks and the true ones.

    Batches are dicts with `image` (B, 3, S, S) in [-1, 1] and `landmarks` (B, 68, 2) in pixels of it.

    Args:
        network: the network to train.
        augmentation: what training pictures go through, so that the network reads generated pictures as well.
        learning_rate, weight_decay, warmup, output: see `ObserverModule`.
    """

    weights_name = "landmarks.safetensors"

    def __init__(
        self,
        network: LandmarkNet,
        augmentation: ImageAugmentation,
        learning_rate: float = 4e-3,
        weight_decay: float = 0.02,
        warmup: float = 0.1,
        output: str | None = None,
    ) -> None:
        super().__init__(network, learning_rate, weight_decay, warmup, output)
        self.augmentation = augmentation

    def training_step(self, batch: dict[str, Tensor], batch_idx: int) -> Tensor:
        images, landmarks = self.augmentation(batch["image"], batch["landmarks"])
        offsets = (self.network(images) - landmarks) / images.shape[-1]
        loss = (offsets.square().sum(dim=-1) + _SMOOTH_BELOW**2).sqrt().mean()
        self.log("train/loss", loss, prog_bar=True)
        return loss

    def validation_step(self, batch: dict[str, Tensor], batch_idx: int) -> None:
        errors = torch.linalg.vector_norm(self.network(batch["image"]) - batch["landmarks"], dim=-1)
        log_means(self, {"val/landmark_error_px": errors.mean()}, len(errors), prog_bar=True)
        log_means(self, {"val/worst_landmark_error_px": errors.amax(dim=1).mean()}, len(errors))
