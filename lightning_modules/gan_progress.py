"""What a GAN's training leaves behind as it goes: samples, weights and the checkpoint to resume from."""

from typing import Any, Protocol, cast

import torch
from jaxtyping import Float
from pytorch_lightning import Callback, LightningModule, Trainer
from torch import Tensor
from torchvision.utils import make_grid, save_image

from lightning_modules.loggers import log_picture
from lightning_modules.run_folder import CHECKPOINT_FOLDER, LAST_CHECKPOINT, folder_of
from models.stylegan2.discriminator import Discriminator
from models.stylegan2.generator import Generator
from models.stylegan2.latents import code_statistics
from models.stylegan2.loading import save_discriminator, save_generator
from renderers.images import to_unit

GENERATOR_FILE = "generator.safetensors"
DISCRIMINATOR_FILE = "discriminator.safetensors"
# Side of a grid of samples: as many pictures as fit, for large ones at least 2 x 2.
_GRID_PIXELS = 2048
_GRID_SIDE = 8


class AveragedGan(Protocol):
    """What is looked at of a module that trains a GAN.

    Attributes:
        average: The averaged generator.
        discriminator: The discriminator.
        images_seen: () int64, real images seen by all ranks together.
        seed: Of the pictures that are shown.
    """

    average: Generator
    discriminator: Discriminator
    images_seen: Tensor
    seed: int


class GanProgress(Callback):
    """Writes into the run's folder, whenever so many images were seen and at the end:

    - ``samples/<images seen>.png``, a grid of the averaged generator's pictures of fixed latents, also shown by the run's loggers,
    - ``generator.safetensors``, the averaged generator with the statistics of its W, and ``discriminator.safetensors``,
    - ``checkpoints/last.ckpt`` to resume from. (Lightning's `ModelCheckpoint` counts steps of optimizers, of which a step of a GAN takes
      two to four: it would miss its multiples.)

    Args:
        every: Images from one writing to the next.
    """

    def __init__(self, every: int) -> None:
        self.every = every

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: dict[str, Tensor], batch_idx: int
    ) -> None:
        """Write where a multiple of `every` was reached."""
        if is_due(trainer, pl_module, batch, self.every):
            self.write(trainer, pl_module)

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Write the last state."""
        self.write(trainer, pl_module)

    @torch.no_grad()
    def write(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Write everything now."""
        module = cast(AveragedGan, pl_module)
        folder = folder_of(trainer)
        if trainer.is_global_zero:
            grid = grid_of_latents(module.average, module.seed)
            (folder / "samples").mkdir(parents=True, exist_ok=True)
            save_image(grid, folder / "samples" / f"{int(module.images_seen):09d}.png")
            log_picture(trainer, "samples", grid)
            average = module.average
            mean, deviation = code_statistics(average.mapping, average.z_dim, device=pl_module.device)
            average.mean_w.copy_(mean)
            average.std_w.copy_(deviation)
            save_generator(folder / GENERATOR_FILE, average)
            save_discriminator(folder / DISCRIMINATOR_FILE, module.discriminator)
        trainer.save_checkpoint(folder / CHECKPOINT_FOLDER / LAST_CHECKPOINT)


@torch.no_grad()
def grid_of_latents(generator: Generator, seed: int) -> Float[Tensor, "3 height width"]:
    """Pictures of fixed latents in rows, values in [0, 1], on the CPU."""
    side = min(max(_GRID_PIXELS // generator.resolution, 2), _GRID_SIDE)
    z = torch.randn(side**2, generator.z_dim, generator=torch.Generator().manual_seed(seed)).to(generator.const.device)
    images = torch.cat([to_unit(generator(part)).clamp(0, 1).cpu() for part in z.split(side)])
    return make_grid(images, nrow=side, padding=0)


def is_due(trainer: Trainer, pl_module: LightningModule, batch: dict[str, Tensor], every: int) -> bool:
    """Whether the step of this batch, of a module with `images_seen`, went past a multiple of `every` images."""
    seen = int(cast(AveragedGan, pl_module).images_seen)
    return seen // every > (seen - len(batch["image"]) * trainer.world_size) // every
