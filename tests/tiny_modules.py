"""The smallest model and data that the command line can train, for the tests of the command line itself."""

import os
import signal
from dataclasses import dataclass
from typing import Literal

import torch
from pytorch_lightning import LightningDataModule, LightningModule
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

from models.weights import locate
from renderers.errors import InputError


@dataclass(frozen=True)
class TinyWeights:
    """Weights of the loss.

    Args:
        fit: Weight of the only term.
    """

    fit: float = 1.0


class TinyModel(LightningModule):
    """Linear regression.

    Args:
        generator: Any text; a path that ends in .safetensors must exist.
        width: Number of inputs.
        mode: A closed choice.
        weights: Weights of the loss.
        fail: Where to raise an error.
    """

    def __init__(
        self,
        generator: str,
        width: int = 4,
        mode: Literal["plain", "other"] = "plain",
        weights: TinyWeights = TinyWeights(),
        fail: Literal["never", "input", "interrupt", "defect", "kill"] = "never",
    ) -> None:
        super().__init__()
        self.generator, self.mode, self.weights, self.fail = generator, mode, weights, fail
        if generator.endswith(".safetensors"):
            locate(generator)
        self.linear = nn.Linear(width, 1)

    def training_step(self, batch: list[Tensor], batch_index: int) -> Tensor:
        if self.fail == "input":
            raise InputError("expected finite vertices,\n got NaN; check the mesh")
        if self.fail == "interrupt" and batch_index == 1:
            raise KeyboardInterrupt
        if self.fail == "kill" and batch_index == 1:
            os.kill(os.getpid(), signal.SIGKILL)
        if self.fail == "defect":
            raise RuntimeError("a defect of the program")
        loss = self.linear(batch[0]).square().mean() * self.weights.fit
        self.log("train/loss", loss, on_step=True, prog_bar=True)
        return loss

    def test_step(self, batch: list[Tensor], batch_index: int) -> None:
        self.log("test/loss", self.linear(batch[0]).square().mean())

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.SGD(self.parameters(), lr=0.1)


class TinyData(LightningDataModule):
    """Random vectors.

    Args:
        size: Number of samples.
        width: Length of a sample.
    """

    def __init__(self, size: int = 8, width: int = 4) -> None:
        super().__init__()
        self.size, self.width = size, width

    def train_dataloader(self) -> DataLoader[tuple[Tensor, ...]]:
        return DataLoader(TensorDataset(torch.randn(self.size, self.width)), batch_size=2)

    def test_dataloader(self) -> DataLoader[tuple[Tensor, ...]]:
        return self.train_dataloader()
