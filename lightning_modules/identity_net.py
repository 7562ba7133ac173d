"""Training of the identity embedding: CosFace (Wang et al. 2018) over many people, several pictures of each."""

import torch
from pytorch_metric_learning.losses import CosFaceLoss
from torch import Tensor

from lightning_modules.augmentation import ImageAugmentation
from lightning_modules.observer import ObserverModule
from lightning_modules.reduction import of_all_ranks
from models.observers import IdentityNet, verification_scores
from renderers.errors import InputError


class IdentityNetModule(ObserverModule):
    """Large-margin cosine loss on who a picture shows; verification of people it never saw.

    Batches are dicts with `image` (B, 3, S, S) in [-1, 1] and `person` (B,) integers: 0..num_people-1 in training, any
    others in validation.

    Args:
        network: the network to train.
        augmentation: what training pictures go through.
        num_people: people in the training split.
        margin: CosFace's m; 0.35 in the paper (section 4.2).
        scale: CosFace's s; 64 in the paper for 10 thousand people and more, less for fewer (its equation 6).
        learning_rate, weight_decay, warmup, output: see `ObserverModule`.
    """

    weights_name = "identity.safetensors"

    def __init__(
        self,
        network: IdentityNet,
        augmentation: ImageAugmentation,
        num_people: int,
        margin: float = 0.35,
        scale: float = 32.0,
        learning_rate: float = 3e-3,
        weight_decay: float = 0.02,
        warmup: float = 0.1,
        output: str | None = None,
    ) -> None:
        super().__init__(network, learning_rate, weight_decay, warmup, output)
        self.augmentation = augmentation
        self.num_people = num_people
        self.cosface = CosFaceLoss(num_people, network.embedding_dim, margin=margin, scale=scale)
        self._seen: list[tuple[Tensor, Tensor]] = []

    def training_step(self, batch: dict[str, Tensor], batch_idx: int) -> Tensor:
        people = batch["person"]
        if int(people.max()) >= self.num_people:
            raise InputError(
                f"expected people 0 to {self.num_people - 1}, got {int(people.max())}; "
                "set num_people to the number of people of the data"
            )
        images, _ = self.augmentation(batch["image"])
        embeddings = self.network(images)
        # The softmax over people at scale s needs float32.
        with torch.autocast(embeddings.device.type, enabled=False):
            loss = self.cosface(embeddings, people)
        self.log("train/loss", loss, prog_bar=True)
        return loss

    def validation_step(self, batch: dict[str, Tensor], batch_idx: int) -> None:
        self._seen.append((self.network(batch["image"]), batch["person"]))

    def on_validation_epoch_end(self) -> None:
        embeddings, people = (of_all_ranks(self, torch.cat(parts)) for parts in zip(*self._seen, strict=True))
        self._seen.clear()
        area, accuracy = verification_scores(embeddings, people)
        self.log("val/verification_auc", area, prog_bar=True, sync_dist=True)
        self.log("val/verification_accuracy", accuracy, sync_dist=True)
