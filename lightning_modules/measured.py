"""What validation and test runs of StyleRig's two trainings have in common: they measure a trained network alone."""

from abc import ABC, abstractmethod

from pytorch_lightning import LightningModule
from pytorch_lightning.trainer.states import TrainerFn

from datamodules.latent_pairs import LatentPairs


class MeasuredModule(LightningModule, ABC):
    """Refuses to validate or test an untrained network, and measures both splits alike."""

    @abstractmethod
    def check_trained(self, verb: str) -> None:
        """Raise InputError for an untrained network; `verb` is "validate" or "test"."""

    @abstractmethod
    def measure(self, batch: LatentPairs, prefix: str) -> None:
        """Log the losses of a batch under names that begin with `prefix`, "validate" or "test"."""

    def on_validation_start(self) -> None:
        # Within a fit it is the training that is looked at.
        if self.trainer.state.fn == TrainerFn.VALIDATING:
            self.check_trained("validate")

    def validation_step(self, batch: LatentPairs, batch_idx: int) -> None:
        self.measure(batch, "validate")

    def on_test_start(self) -> None:
        self.check_trained("test")

    def test_step(self, batch: LatentPairs, batch_idx: int) -> None:
        self.measure(batch, "test")
