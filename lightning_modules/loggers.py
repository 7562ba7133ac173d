"""Figures and pictures to whatever loggers a run has."""

from collections.abc import Mapping

from jaxtyping import Float
from pytorch_lightning import Trainer
from pytorch_lightning.loggers import TensorBoardLogger, WandbLogger
from torch import Tensor
from torchvision.transforms.functional import to_pil_image


def log_figures(trainer: Trainer, figures: Mapping[str, float]) -> None:
    """Log figures now, from the first rank: unlike `LightningModule.log`, whether or not this is one of every so many steps."""
    for logger in trainer.loggers:
        logger.log_metrics(dict(figures), step=_logged_step(trainer))


def log_picture(trainer: Trainer, name: str, picture: Float[Tensor, "3 height width"]) -> None:
    """Show a picture with values in [0, 1] at Weights & Biases and in TensorBoard; other loggers hold no pictures."""
    for logger in trainer.loggers:
        if isinstance(logger, WandbLogger):
            logger.log_image(name, [to_pil_image(picture.cpu())], step=_logged_step(trainer))
        elif isinstance(logger, TensorBoardLogger):
            logger.experiment.add_image(name, picture, _logged_step(trainer))


def _logged_step(trainer: Trainer) -> int:
    # What Lightning's own metrics and callbacks count by; `global_step` counts the steps of each optimizer.
    return trainer.fit_loop.epoch_loop._batches_that_stepped
