"""What the training of a UV generator leaves behind as it goes: sheets of samples and the checkpoint to resume from."""

from typing import Any, Protocol, cast

import torch
from jaxtyping import Float
from pytorch_lightning import Callback, LightningModule, Trainer
from torch import Tensor
from torchvision.utils import make_grid, save_image

from datamodules.latent_pairs import LatentPairDataModule, LatentPairs
from lightning_modules.loggers import log_picture
from lightning_modules.run_folder import CHECKPOINT_FOLDER, LAST_CHECKPOINT, folder_of
from lightning_modules.stylefaceuv_views import FaceViews
from models.stylefaceuv.uv_generator import UVGenerator, UVMaps
from models.stylegan2 import Generator
from renderers.images import to_unit

# Codes of a sheet, one row each.
_ROWS = 6


class TrainedUV(Protocol):
    """What is looked at of a module that trains a UV generator.

    Attributes:
        generator: The 2D generator.
        average: The averaged UV generator.
        views: Makes its renders.
        images_seen: () int64, pictures seen by all ranks together.
    """

    generator: Generator
    average: UVGenerator
    views: FaceViews
    images_seen: Tensor


class UVProgress(Callback):
    """Writes into the run's folder, whenever so many pictures were seen and at the end:

    - ``samples/<pictures seen>.png``, a sheet of validation codes (`sheet_of_codes`), also shown by the run's loggers,
    - ``checkpoints/last.ckpt`` to resume from. (Lightning's `ModelCheckpoint` counts the steps of both optimizers, of which a batch takes
      one or two: it would miss its multiples.)

    Args:
        every: Pictures from one writing to the next.
    """

    def __init__(self, every: int) -> None:
        self.every = every

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: LatentPairs, batch_idx: int
    ) -> None:
        """Write where a multiple of `every` was passed."""
        seen = int(cast(TrainedUV, pl_module).images_seen)
        if seen // self.every > (seen - 2 * len(batch.w) * trainer.world_size) // self.every:
            self.write(trainer, pl_module)

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Write the last state."""
        self.write(trainer, pl_module)

    @torch.no_grad()
    def write(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Write everything now."""
        module = cast(TrainedUV, pl_module)
        folder = folder_of(trainer)
        data = getattr(trainer, "datamodule", None)
        if trainer.is_global_zero:
            assert isinstance(data, LatentPairDataModule)
            indices = torch.arange(_ROWS, device=pl_module.device)
            pairs = data.recipe.pairs(module.generator, "validate", indices, images=True)
            assert pairs.image_w is not None
            sheet = sheet_of_codes(module.views, module.average, pairs.w, pairs.image_w)
            (folder / "samples").mkdir(parents=True, exist_ok=True)
            save_image(sheet, folder / "samples" / f"{int(module.images_seen):09d}.png")
            log_picture(trainer, "samples", sheet)
        trainer.save_checkpoint(folder / CHECKPOINT_FOLDER / LAST_CHECKPOINT)


@torch.no_grad()
def sheet_of_codes(
    views: FaceViews,
    network: UVGenerator,
    codes: Float[Tensor, "batch layers width"],
    images: Float[Tensor, "batch 3 size size"],
) -> Float[Tensor, "3 rows columns"]:
    """One row per code, values in [0, 1], on the CPU: for each view its picture, the coarse and the detailed face and the detailed face
    in plain grey; then the diffuse map and the displacement, half grey where it is zero.

    Args:
        views: Of the generator.
        network: Makes the maps.
        codes: W+ codes.
        images: Their pictures in [-1, 1].
    """
    columns: list[Tensor] = []
    maps = network(codes)
    for view in views.posed(codes, images):
        shown = maps if views.symmetric_maps == "shared" else network(view.codes)
        grey = UVMaps(torch.full_like(shown.diffuse, 0.6), shown.displacement)
        columns += [
            to_unit(view.target),
            views.coarse(view).image,
            views.detailed(view, shown).image,
            views.detailed(view, grey).image,
        ]
    columns += [maps.diffuse, 0.5 + maps.displacement / (2 * network.displacement_bound)]
    tiles = torch.stack(columns, dim=1).clamp(0, 1).flatten(0, 1).cpu()
    return make_grid(tiles, nrow=len(columns), padding=0)
