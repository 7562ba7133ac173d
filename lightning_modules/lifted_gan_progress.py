"""Sheets of samples that the training of a lifted generator leaves behind as it goes."""

from typing import Any, Protocol, cast

import torch
from jaxtyping import Float
from pytorch_lightning import Callback, LightningModule, Trainer
from torch import Tensor
from torchvision.utils import make_grid, save_image

from datamodules.latent_pairs import LatentPairDataModule, LatentPairs
from lightning_modules.lifted_gan_measures import turned_view
from lightning_modules.lifted_gan_settings import LiftedTraining
from lightning_modules.loggers import log_picture
from lightning_modules.run_folder import folder_of
from models.lifted_gan import LiftedGAN
from models.stylegan2 import Generator
from renderers.images import to_unit

# Codes of a sheet, one row each.
_ROWS = 6
_YAW_DEG = 30.0


class TrainedLift(Protocol):
    """What is looked at of a module that trains a lifted generator.

    Attributes:
        generator: G2D.
        average: The averaged lifted generator.
        images_seen: () int64, pictures seen by all ranks together.
        settings: Of the training.
    """

    generator: Generator
    average: LiftedGAN
    images_seen: Tensor
    settings: LiftedTraining


class LiftedProgress(Callback):
    """Writes ``samples/<pictures seen>.png`` into the run's folder, whenever so many pictures were seen and at the end: a sheet of
    validation codes (`sheet_of_faces`), also shown by the run's loggers.

    Args:
        every: Pictures from one sheet to the next.
    """

    def __init__(self, every: int) -> None:
        self.every = every

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: LatentPairs, batch_idx: int
    ) -> None:
        """Write where a multiple of `every` was passed."""
        seen = int(cast(TrainedLift, pl_module).images_seen)
        if seen // self.every > (seen - 2 * len(batch.w) * trainer.world_size) // self.every:
            self.write(trainer, pl_module)

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Write the last faces."""
        self.write(trainer, pl_module)

    @torch.no_grad()
    def write(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Write a sheet now."""
        if not trainer.is_global_zero:
            return
        module = cast(TrainedLift, pl_module)
        data = getattr(trainer, "datamodule", None)
        assert isinstance(data, LatentPairDataModule)
        indices = torch.arange(_ROWS, device=pl_module.device)
        pairs = data.recipe.pairs(module.generator, "validate", indices, images=True)
        assert pairs.image_w is not None
        sheet = sheet_of_faces(module.average, pairs.w[:, 0], pairs.image_w, module.settings.turn_shift)
        folder = folder_of(trainer) / "samples"
        folder.mkdir(parents=True, exist_ok=True)
        save_image(sheet, folder / f"{int(module.images_seen):09d}.png")
        log_picture(trainer, "samples", sheet)


@torch.no_grad()
def sheet_of_faces(
    lifted: LiftedGAN,
    codes: Float[Tensor, "batch width"],
    images: Float[Tensor, "batch 3 size size"],
    turn_shift: float,
) -> Float[Tensor, "3 rows columns"]:
    """One row per code, values in [0, 1], on the CPU: its picture and render; texture, albedo, depth (near is light), normals, shading
    and transformation map; the render turned by 30 degrees to the left and right, the same by M, and the render lit from the left.

    Args:
        lifted: G3D.
        codes: Of W.
        images: Their pictures in [-1, 1].
        turn_shift: See `turned_view`.
    """
    output, sizes = lifted(codes), lifted.settings
    normals = lifted.normals(output.depth)
    near = (sizes.max_depth - output.depth) / (sizes.max_depth - sizes.min_depth)
    left = output.light.new_tensor([-0.4, 0.8, 1.5, 0.0]).expand_as(output.light)
    turns = [turned_view(output, sizes, yaw, turn_shift) for yaw in (-_YAW_DEG, _YAW_DEG)]
    columns = [
        to_unit(images),
        to_unit(lifted.render(output).image),
        to_unit(output.texture),
        to_unit(output.albedo),
        near[:, None].expand(-1, 3, -1, -1),
        to_unit(normals.permute(0, 3, 1, 2)),
        lifted.shading(normals, output.light).expand(-1, 3, -1, -1),
        output.transformation.expand(-1, 3, -1, -1),
        *(to_unit(lifted.render(output, view).image) for view in turns),
        *(to_unit(lifted.picture(lifted.manipulate(codes, view, output.light))) for view in turns),
        to_unit(lifted.render(output, light=left).image),
    ]
    tiles = torch.stack(columns, dim=1).clamp(0, 1).flatten(0, 1).cpu()
    return make_grid(tiles, nrow=len(columns), padding=0)
