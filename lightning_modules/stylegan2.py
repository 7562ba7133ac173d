"""Training of a StyleGAN2 (Karras et al. 2020), by itself or after a supervised warm start on portraits with known latents."""

import copy
import time
from typing import Literal

import torch
import torch.distributed as distributed
from jaxtyping import Float
from pytorch_lightning import Callback, LightningModule
from pytorch_lightning.core.optimizer import LightningOptimizer
from torch import Tensor

from lightning_modules.frozen import leave_unsynchronised
from lightning_modules.gan_progress import GanProgress
from lightning_modules.gan_start import (
    check_batches,
    check_intervals,
    check_positive,
    check_precision,
    check_weights,
    start_discriminator,
    start_generator,
)
from lightning_modules.painting_loss import PaintingLoss
from lightning_modules.progress import check_seed, rank_seed
from lightning_modules.warm_start import WarmStart, portrait_latents, weigh_latents
from models.stylegan2.augmentation import AdaptiveAugmentation
from models.stylegan2.discriminator import Discriminator
from models.stylegan2.generator import Generator
from models.stylegan2.latents import mix, random_crossovers
from models.stylegan2.losses import (
    PathLengthPenalty,
    discriminator_loss,
    generator_loss,
    path_lengths,
    r1_penalty,
)
from renderers.errors import InputError


class StyleGAN2(LightningModule):
    """StyleGAN2 with non-saturating logistic loss, lazy R1 and path length regularisation, style mixing and an averaged generator.

    Batches are dictionaries with ``image`` (batch, 3, height, width) in [-1, 1], and ``latent`` (batch, z_dim) for a warm start. All random
    numbers of a step follow from the seed, the rank and the images seen, so a resumed run continues exactly. `GanProgress` writes
    samples, weights and checkpoints to the run's folder.

    Args:
        generator: What is trained.
        discriminator: Its opponent, for images of the same size.
        weights: Generator weights of this project to start from, or None. They know the importance of each latent number, or need
            none: `warm_start.importance_images` then does nothing.
        discriminator_weights: Weights of its opponent to start from, any file that `load_discriminator` reads, or None. Transfer learning
            starts from both networks (Karras et al. 2020, "Training GANs with Limited Data", section 4.2).
        learning_rate: Of the generator in the adversarial phase (0.002 in the paper's configuration for small images).
        discriminator_learning_rate: Of the discriminator; None for that of the generator.
        r1_gamma: Weight of R1; 0 leaves it out. ADA's rule of thumb is 0.0002 * resolution**2 / batch.
        r1_interval: Steps between two R1 penalties (16 in the paper).
        path_length_weight: Weight of path length regularisation (2 in the paper); 0 leaves it out.
        path_length_interval: Steps between two path length penalties (4 in the paper).
        path_length_shrink: A path length penalty sees the batch divided by this (2 in the paper's release).
        mixing_probability: How often a training sample mixes two codes (0.9 in the paper).
        noise: Noise pictures that training samples get. With "none" all noise strengths are set to zero: for pictures that follow from
            their latent alone, where noise can only imitate texture by grain.
        average_half_life: Half-life of the averaged generator, in images (10 thousand in the paper).
        average_rampup: Bound on the half-life as a part of the images seen so far (0.05 in ADA), so that the average forgets its start;
            None for no bound, as ADA has it where training starts from weights.
        augmentation: What the discriminator sees is changed by it, for sets of fewer than some ten thousand pictures; None for nothing. R1
            is then of gradients with respect to the changed pictures, which spares a second derivative of the changes; ADA's release
            takes those with respect to the pictures before the change.
        warm_start: The supervised first phase.
        total_images: Training ends after so many images; None leaves the end to the trainer, whose max_steps counts the steps of both
            optimizers.
        sample_every: Images between two checkpoints, sample grids and weights files.
        seed: Of latents, mixing, noise and flips.

    Logged losses are those of the first rank's part of a batch: to average them would make ranks wait for each other in every step.
    """

    images_seen: Tensor
    discriminator_steps: Tensor

    def __init__(
        self,
        generator: Generator,
        discriminator: Discriminator,
        weights: str | None = None,
        discriminator_weights: str | None = None,
        learning_rate: float = 0.002,
        discriminator_learning_rate: float | None = None,
        r1_gamma: float = 1.0,
        r1_interval: int = 16,
        path_length_weight: float = 0.0,
        path_length_interval: int = 4,
        path_length_shrink: int = 2,
        mixing_probability: float = 0.9,
        noise: Literal["random", "none"] = "random",
        average_half_life: float = 10_000.0,
        average_rampup: float | None = 0.05,
        augmentation: AdaptiveAugmentation | None = None,
        warm_start: WarmStart = WarmStart(),
        total_images: int | None = None,
        sample_every: int = 20_000,
        seed: int = 0,
    ) -> None:
        super().__init__()
        if generator.resolution != discriminator.resolution:
            raise InputError(
                f"expected a generator and a discriminator of one size, got {generator.resolution} and {discriminator.resolution} "
                "pixels; give both channels for as many resolutions"
            )
        check_intervals(
            {
                "r1_interval": r1_interval,
                "path_length_interval": path_length_interval,
                "path_length_shrink": path_length_shrink,
                "sample_every": sample_every,
            }
        )
        check_weights(r1_gamma, path_length_weight, mixing_probability)
        check_seed(seed)
        discriminator_learning_rate = learning_rate if discriminator_learning_rate is None else discriminator_learning_rate
        check_positive(
            {
                "learning_rate": learning_rate,
                "discriminator_learning_rate": discriminator_learning_rate,
                "average_half_life": average_half_life,
                "average_rampup": average_rampup,
                "total_images": total_images,
            }
        )
        self.automatic_optimization = False
        self.generator = generator
        self.discriminator = discriminator
        self._weighs_latents = warm_start.importance_images > 0 and weights is None
        if weights is not None:
            start_generator(generator, weights)
        if discriminator_weights is not None:
            start_discriminator(discriminator, discriminator_weights)
        self.average = copy.deepcopy(generator).requires_grad_(False)
        self.path_length = PathLengthPenalty()
        self.painting = PaintingLoss(warm_start.painting, warm_start.landmarker, warm_start.reader)
        self.learning_rate = learning_rate
        self.discriminator_learning_rate = discriminator_learning_rate
        self.r1_gamma = r1_gamma
        self.r1_interval = r1_interval
        self.path_length_weight = path_length_weight
        self.path_length_interval = path_length_interval
        self.path_length_shrink = path_length_shrink
        self.mixing_probability = mixing_probability
        self.noise: Literal["random", "none"] = noise
        self.average_half_life = average_half_life
        self.average_rampup = average_rampup
        self.augmentation = augmentation
        self.warm_start = warm_start
        self.total_images = total_images
        self.sample_every = sample_every
        self.seed = seed
        self.register_buffer("images_seen", torch.zeros((), dtype=torch.int64))
        self.register_buffer("discriminator_steps", torch.zeros((), dtype=torch.int64))
        self._last_step = time.monotonic()

    def configure_optimizers(self) -> list[torch.optim.Optimizer]:
        """Adam with the corrections of lazy regularisation (appendix B of the paper): k + 1 steps are taken where k were."""
        networks = (
            (self.generator, self.learning_rate, self._generator_ratio),
            (self.discriminator, self.discriminator_learning_rate, self._discriminator_ratio),
        )
        return [
            torch.optim.Adam(network.parameters(), lr=rate * ratio, betas=(0.0, 0.99**ratio), eps=1e-8, fused=True)
            for network, rate, ratio in networks
        ]

    def training_step(self, batch: dict[str, Tensor], batch_idx: int) -> None:
        """One step of the discriminator and one of the generator."""
        seen = int(self.images_seen)
        rng = self.step_rng()
        images = batch["image"]
        warm = self.warm_start
        adversarial = seen >= warm.images
        optimizers = self.optimizers()
        assert isinstance(optimizers, list)
        generator_optimizer, discriminator_optimizer = optimizers
        # Set at each step, since a checkpoint brings the rates it was written with.
        _set_adam(discriminator_optimizer, self.discriminator_learning_rate, 0.0, self._discriminator_ratio)
        _set_adam(
            generator_optimizer,
            self.learning_rate if adversarial else warm.learning_rate,
            0.0 if adversarial else warm.momentum,
            self._generator_ratio,
        )
        if seen >= warm.images - warm.discriminator_images:
            self.toggle_optimizer(discriminator_optimizer)
            self._train_discriminator(images, discriminator_optimizer, rng)
            self.untoggle_optimizer(discriminator_optimizer)
        self.toggle_optimizer(generator_optimizer)
        self._train_generator(batch, adversarial, generator_optimizer, rng)
        self.untoggle_optimizer(generator_optimizer)
        count = len(images) * self.trainer.world_size
        self.images_seen += count
        self._update_average(count)
        now = time.monotonic()
        self.log("train/images_per_second", count / (now - self._last_step))
        self._last_step = now
        self.log("train/images_seen", float(self.images_seen), prog_bar=True)

    def setup(self, stage: str) -> None:
        """Refuse weights of another precision than float32; keep the frozen network of the supervised loss on its rank."""
        check_precision(self.trainer)
        leave_unsynchronised(self, self.painting)

    def on_train_start(self) -> None:
        """Scale the mapping network's inputs for a warm start, once; end a run that has seen all its images; start the clock.

        Raises:
            InputError: if batches are no multiples of the discriminator's groups, or lack what a warm start needs.
        """
        check_batches(self.trainer, self.discriminator)
        if self._weighs_latents and int(self.images_seen) == 0:
            batches = self.trainer.train_dataloader
            assert batches is not None
            weigh_latents(self.generator, batches, self.warm_start, self._mean_over_ranks)
            self.average.load_state_dict(self.generator.state_dict())
        if self.noise == "none":
            # Here and not at the start: a checkpoint may bring strengths that were trained.
            self._silence(self.generator)
            self._silence(self.average)
        self._stop_when_due()
        self._last_step = time.monotonic()

    def on_train_batch_end(self, outputs: object, batch: dict[str, Tensor], batch_idx: int) -> None:
        """End a run that has seen all its images."""
        self._stop_when_due()

    def configure_callbacks(self) -> list[Callback]:
        """Samples, weights and checkpoints."""
        return [GanProgress(self.sample_every)]

    def step_rng(self) -> torch.Generator:
        """Source of the random numbers of this rank's next step."""
        return torch.Generator(self.device).manual_seed(rank_seed(self.seed, self.global_rank, int(self.images_seen)))

    def sample_codes(self, count: int, rng: torch.Generator) -> Float[Tensor, "batch layers width"]:
        """W+ codes of training samples: two codes mixed at a random layer with the mixing probability, one otherwise."""
        z = torch.randn(2 * count, self.generator.z_dim, generator=rng, device=self.device)
        codes = self.generator.mapping(z).unflatten(0, (count, 2))
        cuts = random_crossovers(count, self.generator.num_layers, self.mixing_probability, rng, self.device)
        return mix(codes, cuts, self.generator.num_layers)

    def _train_discriminator(self, images: Tensor, optimizer: LightningOptimizer, rng: torch.Generator) -> None:
        with torch.no_grad():
            fakes = self.generator.synthesis(self.sample_codes(len(images), rng), self.noise, rng)
            images, fakes = self._augmented(images, rng), self._augmented(fakes, rng)
        real_logits, fake_logits = self.discriminator(images), self.discriminator(fakes)
        loss = discriminator_loss(real_logits, fake_logits)
        self._step(loss, optimizer)
        self.log("train/discriminator", loss, prog_bar=True)
        self.log_dict({"train/real_logit": real_logits.mean(), "train/fake_logit": fake_logits.mean()})
        if self.augmentation is not None:
            self.augmentation.adapt(real_logits.detach(), len(images) * self.trainer.world_size, self._mean_over_ranks)
            self.log("train/augmentation", self.augmentation.probability, prog_bar=True)
        if self.r1_gamma and int(self.discriminator_steps) % self.r1_interval == 0:
            penalty = r1_penalty(self.discriminator, images)
            self._step(penalty * (self.r1_gamma / 2 * self.r1_interval), optimizer)
            self.log("train/r1", penalty)
        self.discriminator_steps += 1

    def _train_generator(
        self, batch: dict[str, Tensor], adversarial: bool, optimizer: LightningOptimizer, rng: torch.Generator
    ) -> None:
        images = batch["image"]
        losses: list[Tensor] = []
        weight, fraction = self.warm_start.supervision(int(self.images_seen))
        if weight > 0:
            count = max(round(len(images) * fraction), 1)
            codes = self.generator.broadcast(self.generator.mapping(portrait_latents(batch, self.generator.z_dim)[:count]))
            painted = self.generator.synthesis(codes)
            supervised, terms = self.painting(painted, batch)
            losses.append(weight * supervised)
            self.log("train/supervised", supervised, prog_bar=True)
            self.log_dict({f"train/supervised_{name}": term for name, term in terms.items()})
        if adversarial:
            fakes = self.generator.synthesis(self.sample_codes(len(images), rng), self.noise, rng)
            logits = self.discriminator(self._augmented(fakes, rng))
            losses.append(generator_loss(logits))
            self.log("train/generator", losses[-1], prog_bar=True)
        self._step(torch.stack(losses).sum(), optimizer)
        step = int(self.discriminator_steps)
        if adversarial and self.path_length_weight and step % self.path_length_interval == 0:
            codes = self.sample_codes(max(len(images) // self.path_length_shrink, 1), rng)
            penalty = self.path_length(path_lengths(self.generator, codes, rng))
            self._step(penalty * (self.path_length_weight * self.path_length_interval), optimizer)
            self.log("train/path_length", self.path_length.mean_length)

    def _augmented(self, images: Tensor, rng: torch.Generator) -> Tensor:
        return images if self.augmentation is None else self.augmentation(images, rng)

    @property
    def _generator_ratio(self) -> float:
        return _lazy_ratio(self.path_length_interval) if self.path_length_weight else 1.0

    @property
    def _discriminator_ratio(self) -> float:
        return _lazy_ratio(self.r1_interval) if self.r1_gamma else 1.0

    def _mean_over_ranks(self, values: Tensor) -> Tensor:
        mean = self.trainer.strategy.reduce(values.to(self.device), reduce_op="mean")
        if distributed.is_available() and distributed.is_initialized():
            # The first rank's, as sums may round differently on another. The strategy's own broadcast pickles: what arrives would lie on
            # the first rank's device.
            distributed.broadcast(mean, src=0)
        return mean

    def _stop_when_due(self) -> None:
        if self.total_images is not None and int(self.images_seen) >= self.total_images:
            self.trainer.should_stop = True

    @staticmethod
    @torch.no_grad()
    def _silence(generator: Generator) -> None:
        for name, parameter in generator.named_parameters():
            if name.endswith("noise_strength"):
                parameter.zero_()

    def _step(self, loss: Float[Tensor, ""], optimizer: LightningOptimizer) -> None:
        optimizer.zero_grad()
        self.manual_backward(loss)
        optimizer.step()

    @torch.no_grad()
    def _update_average(self, count: int) -> None:
        half_life = self.average_half_life
        if self.average_rampup is not None:
            half_life = min(half_life, max(float(self.images_seen) * self.average_rampup, 1e-8))
        new = 1 - 0.5 ** (count / half_life)
        torch._foreach_lerp_(list(self.average.parameters()), list(self.generator.parameters()), new)


def _lazy_ratio(interval: int) -> float:
    """Correction of Adam for a penalty that every `interval` steps takes a step of its own."""
    return interval / (interval + 1)


def _set_adam(optimizer: LightningOptimizer, learning_rate: float, momentum: float, ratio: float) -> None:
    for group in optimizer.param_groups:
        group["lr"], group["betas"] = learning_rate * ratio, (momentum, 0.99**ratio)
