"""Training of the network that reads codes of W from pictures: the generator makes its training pictures, so their codes are known."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from jaxtyping import Float
from pytorch_lightning import LightningModule
from pytorch_lightning.utilities import rank_zero_info
from pytorch_lightning.utilities.types import OptimizerLRScheduler
from torch import Tensor

from datamodules.latent_pairs import LatentPairs
from lightning_modules.face_reconstruction import optimiser_of
from lightning_modules.frozen import freeze, leave_unsynchronised
from lightning_modules.pair_batches import codes_and_images
from lightning_modules.reduction import log_means
from lightning_modules.run_folder import folder_of
from models.code_encoder import CodeEncoder
from models.stylegan2 import load_generator
from renderers.errors import InputError

WEIGHTS_NAME = "code_encoder.safetensors"


@dataclass(frozen=True)
class CodeEncoderSettings:
    """How the encoder is trained.

    Attributes:
        widths, blocks, num_features, working_size: Of the network, see `CodeEncoder`.
        learning_rate: Peak learning rate of AdamW.
    """

    widths: Sequence[int] = (24, 48, 64, 96)
    blocks: Sequence[int] = (1, 1, 1, 1)
    num_features: int = 128
    working_size: int = 64
    learning_rate: float = 2e-3

    def __post_init__(self) -> None:
        if self.learning_rate <= 0:
            raise InputError(f"expected a positive learning rate, got {self.learning_rate}; correct it")


class CodeEncoderModule(LightningModule):
    """Squared error of codes in units of the variance of W. At the end of the fit the weights are written.

    Batches are `LatentPairs` with images, each code of one latent (`max_latents: 1`): those of W.

    Args:
        generator: StyleGAN2 checkpoint whose codes are read.
        settings: Network and optimiser.
        weights: code_encoder.safetensors to test or to start from; null for an untrained network.
        output: File that the trained weights go to; null for code_encoder.safetensors in the run's folder.
    """

    def __init__(
        self,
        generator: str,
        settings: CodeEncoderSettings = CodeEncoderSettings(),
        weights: str | None = None,
        output: str | None = None,
    ) -> None:
        super().__init__()
        self.generator = freeze(load_generator(generator))
        if weights is None:
            self.network = CodeEncoder(
                self.generator.w_dim, settings.widths, settings.blocks, settings.num_features, settings.working_size
            )
            self.network.set_statistics(self.generator)
        else:
            # Lightning leaves the mode as it is: batch statistics would stay those of the file.
            self.network = CodeEncoder.load(weights, self.generator).requires_grad_(True).train()
        self.settings, self.output = settings, output
        self._trained = weights is not None

    def setup(self, stage: str) -> None:
        leave_unsynchronised(self, self.generator)

    def forward(self, images: Float[Tensor, "batch 3 size size"]) -> Float[Tensor, "batch width"]:
        """Codes of W of pictures in [-1, 1]."""
        return self.network(images)

    def training_step(self, batch: LatentPairs, batch_idx: int) -> Float[Tensor, ""]:
        codes, images = self._samples(batch)
        loss = self._error(self.network(images), codes)
        self.log("train/loss", loss, prog_bar=True, sync_dist=True)
        return loss

    def validation_step(self, batch: LatentPairs, batch_idx: int) -> None:
        self._measure(batch, "validate")

    def on_test_start(self) -> None:
        if self.trainer.ckpt_path is None and not self._trained:
            raise InputError(
                "expected a trained code encoder to test, got an untrained one; add --model.weights with a code_encoder.safetensors or "
                "--ckpt_path with a checkpoint"
            )

    def test_step(self, batch: LatentPairs, batch_idx: int) -> None:
        self._measure(batch, "test")

    def configure_optimizers(self) -> OptimizerLRScheduler:
        return optimiser_of(self, list(self.network.parameters()), "adamw", self.settings.learning_rate, decay=True)

    def on_fit_end(self) -> None:
        self._trained = True
        if self.trainer.is_global_zero:
            path = Path(self.output) if self.output else folder_of(self.trainer) / WEIGHTS_NAME
            rank_zero_info(f"code encoder written to {self.network.save(path, self.generator)}")

    def _samples(
        self, batch: LatentPairs
    ) -> tuple[Float[Tensor, "samples width"], Float[Tensor, "samples 3 size size"]]:
        """Codes of W and their pictures."""
        codes, images = codes_and_images(batch)
        if not torch.equal(codes, codes[:, :1].expand_as(codes)):
            raise InputError(
                "expected samples of one latent each, whose codes are those of W, got mixed ones; set data.max_latents to 1"
            )
        return codes[:, 0], images

    def _error(self, read: Tensor, codes: Tensor) -> Float[Tensor, ""]:
        return ((read - codes) / self.network.std_w).square().mean()

    @torch.no_grad()
    def _measure(self, batch: LatentPairs, prefix: str) -> None:
        """Of the codes read and of their pictures, beside those of the mean code, which knows nothing of the picture."""
        codes, images = self._samples(batch)
        read = self.network(images)
        mean = self.generator.mean_w.expand_as(codes)
        means = {
            "code_error": self._error(read, codes),
            "code_error_of_mean": self._error(mean, codes),
            "psnr_db": self._fidelity(read, images),
            "psnr_db_of_mean": self._fidelity(mean, images),
        }
        log_means(self, {f"{prefix}/{name}": value for name, value in means.items()}, len(codes), prog_bar=True)

    def _fidelity(self, codes: Tensor, images: Tensor) -> Float[Tensor, ""]:
        """Mean peak signal-to-noise ratio, in decibels, of the pictures of codes."""
        pictures = self.generator.synthesis(self.generator.broadcast(codes), noise="const").clamp(-1, 1)
        error = ((pictures - images) / 2).square().flatten(1).mean(dim=1)
        return -10 * error.clamp_min(1e-12).log10().mean()
