"""Supervised training of the judge on portraits with their true face parameters."""

import math
from collections.abc import Iterable
from itertools import islice

import torch
from torch import Tensor
from torch.nn import functional

from lightning_modules.augmentation import ImageAugmentation
from lightning_modules.observer import ObserverModule
from lightning_modules.reduction import of_all_ranks
from models.observers import JUDGED_COMPONENTS, Judge
from models.observers.judge import correlation
from renderers.rotation import rotation_distance


class JudgeModule(ObserverModule):
    """Squared error of every coefficient in units of its spread, averaged within components, weighted between them.

    Batches are dicts with `image` (B, 3, S, S) in [-1, 1] and `parameters` (B, total), packed face parameters.

    Args:
        network: the judge to train.
        augmentation: what training pictures go through; it must neither mirror, rotate nor recolour them, since pose,
            expression and light are what is learnt.
        rotation_weight, expression_weight, illumination_weight, identity_weight, reflectance_weight: of the components.
        statistics_batches: training batches from which mean and spread of the coefficients are taken.
        learning_rate, weight_decay, warmup, output: see `ObserverModule`.
    """

    weights_name = "judge.safetensors"
    network: Judge

    def __init__(
        self,
        network: Judge,
        augmentation: ImageAugmentation,
        rotation_weight: float = 1.0,
        expression_weight: float = 1.0,
        illumination_weight: float = 1.0,
        identity_weight: float = 1.0,
        reflectance_weight: float = 1.0,
        statistics_batches: int = 20,
        learning_rate: float = 3e-3,
        weight_decay: float = 0.02,
        warmup: float = 0.1,
        output: str | None = None,
    ) -> None:
        super().__init__(network, learning_rate, weight_decay, warmup, output)
        self.augmentation = augmentation
        weights = (rotation_weight, expression_weight, illumination_weight, identity_weight, reflectance_weight)
        self.component_weights = dict(zip(JUDGED_COMPONENTS, weights, strict=True))
        self.statistics_batches = statistics_batches
        self._seen: list[tuple[Tensor, Tensor]] = []

    def on_train_start(self) -> None:
        # A resumed run has them from its checkpoint; among ranks, the first one's are broadcast with the buffers.
        if self.global_step == 0:
            loader: Iterable[dict[str, Tensor]] = self.trainer.train_dataloader  # type: ignore[assignment]
            batches = islice(loader, self.statistics_batches)
            truth = torch.cat([self.network.targets(batch["parameters"]) for batch in batches])
            self.network.set_statistics(truth.to(self.device))

    def training_step(self, batch: dict[str, Tensor], batch_idx: int) -> Tensor:
        images, _ = self.augmentation(batch["image"])
        truth = (self.network.targets(batch["parameters"]) - self.network.mean) / self.network.spread
        read = self.network.split(self.network.standardised(self.network.features(images)))
        losses = {name: functional.mse_loss(read[name], true) for name, true in self.network.split(truth).items()}
        self.log_dict({f"train/{name}_loss": loss for name, loss in losses.items()})
        loss = sum((self.component_weights[name] * loss for name, loss in losses.items()), start=images.new_zeros(()))
        self.log("train/loss", loss, prog_bar=True)
        return loss

    def validation_step(self, batch: dict[str, Tensor], batch_idx: int) -> None:
        reading = self.network(batch["image"])
        read = torch.cat([getattr(reading, name) for name in JUDGED_COMPONENTS], dim=1)
        self._seen.append((read, self.network.targets(batch["parameters"])))

    def on_validation_epoch_end(self) -> None:
        read, true = (self.network.split(of_all_ranks(self, torch.cat(parts))) for parts in zip(*self._seen, strict=True))
        self._seen.clear()
        degrees = rotation_distance(read["rotation"], true["rotation"]) * (180 / math.pi)
        self.log("val/rotation_error_deg", degrees.median(), prog_bar=True, sync_dist=True)
        for name in JUDGED_COMPONENTS:
            self.log(f"val/{name}_correlation", correlation(read[name], true[name]).nanmean(), sync_dist=True)
