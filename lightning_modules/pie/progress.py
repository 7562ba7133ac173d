"""What the optimisation of portraits leaves behind as it goes: pictures."""

from typing import Any

from pytorch_lightning import Callback, LightningModule, Trainer
from torchvision.utils import make_grid, save_image

from datamodules.portrait_batches import PortraitStep
from lightning_modules.loggers import log_picture
from lightning_modules.pie.module import PIE
from lightning_modules.run_folder import folder_of
from renderers.errors import InputError
from renderers.images import to_unit


class EmbeddingPictures(Callback):
    """Writes ``pictures/NAME/<iteration>.png`` into the run's folder, NAME that of the first portrait of a batch: the portraits above, what
    their codes look like below; also shown by the run's loggers. The first rank alone.

    Args:
        every: Iterations from one picture to the next.
    """

    def __init__(self, every: int = 100) -> None:
        if every < 1:
            raise InputError(f"expected pictures every 1 or more iterations, got {every}; raise it")
        self.every = every

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        if not isinstance(pl_module, PIE):
            raise InputError(
                f"expected PIE to show pictures of, got {type(pl_module).__name__}; remove the callback EmbeddingPictures"
            )

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: PortraitStep, batch_idx: int
    ) -> None:
        """Write where a multiple of `every` was reached."""
        assert isinstance(pl_module, PIE)
        done = batch.iteration + 1
        if not trainer.is_global_zero or not batch.portraits or done % self.every:
            return
        pictures = pl_module.pictures()
        if pictures is None:
            return
        grid = make_grid(to_unit(pictures.flatten(0, 1)), nrow=pictures.shape[1], padding=1).cpu()
        path = folder_of(trainer) / "pictures" / batch.portraits[0].name / f"{done:06d}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        save_image(grid, path)
        log_picture(trainer, "pictures", grid)
