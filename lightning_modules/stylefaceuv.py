"""Training of the UV generator (StyleFaceUV sections 3.3 and 3.4): detailed renders against the 2D generator's pictures."""

import copy
from collections.abc import Callable
from pathlib import Path

import torch
from pytorch_lightning import Callback
from pytorch_lightning.core.optimizer import LightningOptimizer
from pytorch_lightning.utilities import rank_zero_info
from torch import Tensor

from datamodules.latent_pairs import LatentPairDataModule, LatentPairs
from lightning_modules.face_scene import FaceScene
from lightning_modules.frozen import freeze, leave_unsynchronised
from lightning_modules.gan_progress import DISCRIMINATOR_FILE
from lightning_modules.gan_start import check_intervals, check_positive, check_precision
from lightning_modules.image_error import masked_psnr
from lightning_modules.measured import MeasuredModule
from lightning_modules.pair_batches import codes_and_images
from lightning_modules.reduction import log_means
from lightning_modules.run_folder import folder_of
from lightning_modules.stylefaceuv_checks import check_options, check_parts, check_stored
from lightning_modules.stylefaceuv_losses import UVLosses
from lightning_modules.stylefaceuv_progress import UVProgress
from lightning_modules.stylefaceuv_settings import UVSettings
from lightning_modules.stylefaceuv_views import FaceViews, PosedView, RenderedView
from models.morphable.loading import recorded_source
from models.perceptual import PerceptualLoss, perceptual_loss
from models.stylefaceuv.loading import load_code_reader, load_yaw_step
from models.stylefaceuv.sources import FaceSources
from models.stylefaceuv.surface import UVSurface
from models.stylefaceuv.uv_generator import UVGenerator, release_displacement_bound
from models.stylegan2 import Discriminator, Generator, load_discriminator, load_generator
from models.stylegan2.loading import save_discriminator
from models.stylerig import Provenance
from models.weights import locate, recorded
from renderers.errors import InputError
from renderers.face_renderer import FaceRenderer
from renderers.images import to_unit

WEIGHTS_NAME = "uv_generator.safetensors"
# As StyleGAN2's; the paper names Adam and its rate alone.
_BETAS = (0.0, 0.99)


class StyleFaceUV(MeasuredModule):
    """Trains the UV generator against a discriminator; at the end of the fit its averaged weights are written.

    Batches are `LatentPairs` with images; both codes of a pair count. Nothing in a step is random, so a resumed run continues exactly.

    Logged losses are those of the first rank's part of a batch: to average them would make ranks wait for each other in every step.
    """

    images_seen: Tensor
    steps: Tensor

    def __init__(
        self,
        generator: str,
        coefficients: str,
        step_size: str | None = None,
        discriminator: str | None = None,
        perceptual: str | None = None,
        scene: FaceScene = FaceScene(),
        settings: UVSettings = UVSettings(),
        weights: str | None = None,
        total_images: int | None = None,
        sample_every: int = 10_000,
        output: str | None = None,
    ) -> None:
        """
        Args:
            generator: StyleGAN2 checkpoint G2D: this project's safetensors, a StyleGAN2-ADA pickle or a rosinality file.
            coefficients: F3D for this generator and scene; or F of StyleRig; or a face encoder (MoFA), which reads the codes' pictures.
            step_size: Fyaw for this generator, of either form; null where there is one view alone.
            discriminator: Any file that holds the 2D discriminator, to start from; null for an untrained one.
            perceptual: What features L_percept compares: a VGG-16 weights file, `vgg16` for torchvision's download, or `observers` for
                the shipped networks; null where its weight is 0.
            scene: Face model and camera; triangles at the generator's size.
            settings: Views, losses and optimisers.
            weights: uv_generator.safetensors to test or to start from; null starts from the 2D generator.
            total_images: Training ends after so many pictures of codes; null leaves the end to the trainer, whose max_steps counts the
                steps of both optimizers.
            sample_every: Pictures between two checkpoints and sheets of samples.
            output: File that the trained weights go to; null for uv_generator.safetensors in the run's folder.

        Raises:
            InputError: for files that are missing, broken or do not fit each other, and options that contradict each other.
        """
        super().__init__()
        check_options(scene, settings, step_size, perceptual)
        check_intervals({"sample_every": sample_every})
        check_positive({"total_images": None if total_images is None else float(total_images)})
        self.automatic_optimization = False
        self.generator = freeze(load_generator(generator))
        self.face_model = freeze(scene.load_face_model())
        self.provenance = Provenance.of(self.generator, self.face_model, scene.camera)
        if weights is None:
            bound = settings.displacement_bound or release_displacement_bound(scene.camera)
            surface = UVSurface.of(self.face_model, scene.region, settings.closed)
            self.network = UVGenerator.from_generator(self.generator, bound, surface)
        else:
            self.network = UVGenerator.load(weights, self.provenance)
            check_stored(settings, scene, self.network, weights)
        self.average = copy.deepcopy(self.network).eval().requires_grad_(False)
        self.network.requires_grad_(True).train()
        self.discriminator = _opponent(self.generator, discriminator)
        size = self.generator.resolution
        self.views = freeze(
            FaceViews(
                self.generator,
                load_code_reader(coefficients, self.provenance, self.generator),
                None if step_size is None else load_yaw_step(step_size, self.provenance),
                FaceRenderer(
                    self.network.surface.apply(self.face_model), scene.camera, size, landmark_model=self.face_model
                ),
                scene.renderer(self.face_model, size),
                settings.symmetric_maps,
                settings.texture_sampling,
            )
        )
        features: PerceptualLoss | None = None if perceptual is None else perceptual_loss(perceptual)
        self.losses = freeze(UVLosses(settings, features))
        # Found now: a file that is moved while this trains must not cost the trained weights.
        self.sources = FaceSources(
            recorded(locate(generator)), recorded(locate(coefficients)), recorded_source(scene.face_model_source)
        )
        self.settings = settings
        self.total_images = total_images
        self.sample_every = sample_every
        self.output = output
        self._trained = weights is not None
        self.register_buffer("images_seen", torch.zeros((), dtype=torch.int64))
        self.register_buffer("steps", torch.zeros((), dtype=torch.int64))

    def setup(self, stage: str) -> None:
        """Refuse weights of another precision than float32 and other data; keep frozen networks on their rank."""
        check_precision(self.trainer)
        data = getattr(self.trainer, "datamodule", None)
        if not isinstance(data, LatentPairDataModule):
            raise InputError(
                f"expected a LatentPairDataModule to train StyleFaceUV on, got {type(data).__name__}; name it in the config"
            )
        leave_unsynchronised(self, self.generator, self.face_model, self.views, self.losses)

    def configure_optimizers(self) -> list[torch.optim.Optimizer]:
        settings = self.settings
        return [
            torch.optim.Adam(network.parameters(), lr=rate, betas=_BETAS, eps=1e-8, fused=True)
            for network, rate in (
                (self.network, settings.learning_rate),
                (self.discriminator, settings.discriminator_rate),
            )
        ]

    def configure_callbacks(self) -> list[Callback]:
        """Sheets of samples and checkpoints."""
        return [UVProgress(self.sample_every)]

    def training_step(self, batch: LatentPairs, batch_idx: int) -> None:
        """One step of the generator; before the first of every `generator_steps`, one of the discriminator."""
        codes, images = codes_and_images(batch)
        optimizers = self.optimizers()
        assert isinstance(optimizers, list)
        generator_optimizer, discriminator_optimizer = optimizers
        views = [
            self.views.posed(*part)
            for part in zip(
                codes.tensor_split(self._parts(codes)), images.tensor_split(self._parts(codes)), strict=True
            )
        ]
        turn, off_turn = divmod(int(self.steps), self.settings.generator_steps)
        if self.settings.adversarial > 0 and off_turn == 0:
            penalised = self.settings.r1_gamma > 0 and turn % self.settings.r1_interval == 0
            losses = self._step(
                views, discriminator_optimizer, lambda part: self._discriminator_losses(part, penalised)
            )
            self.log("train/discriminator", losses["logistic"], prog_bar=True)
            if penalised:
                self.log("train/r1", losses["r1"])
        losses = self._step(views, generator_optimizer, self._generator_losses)
        self.log("train/loss", losses["loss"], prog_bar=True)
        self.log_dict({f"train/{name}": value for name, value in losses.items() if name != "loss"})
        count = len(codes) * self.trainer.world_size
        self.images_seen += count
        self.steps += 1
        self._update_average(count)
        self.log("train/images_seen", float(self.images_seen), prog_bar=True)

    def on_train_start(self) -> None:
        check_parts(self.trainer, self.settings, self.discriminator)
        self._stop_when_due()

    def on_train_batch_end(self, outputs: object, batch: LatentPairs, batch_idx: int) -> None:
        self._stop_when_due()

    def check_trained(self, verb: str) -> None:
        if self.trainer.ckpt_path is None and not self._trained:
            raise InputError(
                f"expected a trained UV generator to {verb}, got an untrained one; add --model.weights with a uv_generator.safetensors "
                "or --ckpt_path with a checkpoint"
            )

    @torch.no_grad()
    def measure(self, batch: LatentPairs, prefix: str) -> None:
        """How close coarse and detailed faces of the averaged generator come to the pictures, where both cover them."""
        codes, images = codes_and_images(batch)
        posed = self.views.posed(codes, images)
        rendered = self.views.rendered(self.average, posed)
        figures: dict[str, Tensor] = {}
        for view, detailed, name in zip(posed, rendered, ("", "_symmetric"), strict=False):
            coarse = self.views.coarse(view)
            target, mask = to_unit(view.target), coarse.mask * detailed.mask
            figures[f"psnr_db{name}"] = masked_psnr(to_unit(detailed.image), target, mask).mean()
            figures[f"psnr_db_coarse{name}"] = masked_psnr(coarse.image, target, mask).mean()
            photometric, perceptual = self.losses.reconstruction(detailed)
            figures |= {f"photometric{name}": photometric, f"perceptual{name}": perceptual}
        displacement = self.average(codes).displacement.square().sum(dim=1).mean().sqrt()
        log_means(self, {f"{prefix}/{name}": value for name, value in figures.items()}, len(codes))
        log_means(self, {f"{prefix}/displacement": displacement}, len(codes))

    def on_fit_end(self) -> None:
        self._trained = True
        if self.trainer.is_global_zero:
            path = Path(self.output) if self.output else folder_of(self.trainer) / WEIGHTS_NAME
            written = self.average.save(path, self.provenance, self.sources, self.settings.stored_bits)
            rank_zero_info(f"UV generator written to {written}")
            if self.settings.adversarial > 0:
                save_discriminator(folder_of(self.trainer) / DISCRIMINATOR_FILE, self.discriminator)

    def _discriminator_losses(self, views: list[PosedView], penalised: bool) -> dict[str, Tensor]:
        with torch.no_grad():
            rendered = self.views.rendered(self.network, views)
        return self.losses.discriminator(self.discriminator, rendered, penalised)

    def _generator_losses(self, views: list[PosedView]) -> dict[str, Tensor]:
        rendered: list[RenderedView] = self.views.rendered(self.network, views)
        return self.losses.generator(self.discriminator, rendered)

    def _step(
        self,
        parts: list[list[PosedView]],
        optimizer: LightningOptimizer,
        losses: Callable[[list[PosedView]], dict[str, Tensor]],
    ) -> dict[str, Tensor]:
        """A step along the gradients of all parts of a batch; the mean losses."""
        self.toggle_optimizer(optimizer)
        optimizer.zero_grad()
        total = sum(len(views[0].codes) for views in parts)
        means: dict[str, Tensor] = {}
        for views in parts:
            share = len(views[0].codes) / total
            found = losses(views)
            self.manual_backward(share * found["loss"])
            means = {name: means.get(name, 0.0) + share * value.detach() for name, value in found.items()}
        optimizer.step()
        self.untoggle_optimizer(optimizer)
        return means

    def _parts(self, codes: Tensor) -> int:
        return min(self.settings.parts, len(codes))

    @torch.no_grad()
    def _update_average(self, count: int) -> None:
        half_life = self.settings.average_half_life
        if self.settings.average_rampup is not None:
            half_life = min(half_life, max(float(self.images_seen) * self.settings.average_rampup, 1e-8))
        new = 1 - 0.5 ** (count / half_life)
        torch._foreach_lerp_(list(self.average.parameters()), list(self.network.parameters()), new)

    def _stop_when_due(self) -> None:
        if self.total_images is not None and int(self.images_seen) >= self.total_images:
            self.trainer.should_stop = True


def _opponent(generator: Generator, path: str | None) -> Discriminator:
    """The 2D discriminator of a file, or an untrained one as large as the generator, to be trained."""
    if path is None:
        return Discriminator(generator.channels, blur_kernel=generator.blur_kernel, conv_clamp=generator.conv_clamp)
    discriminator = load_discriminator(path)
    if discriminator.resolution != generator.resolution:
        raise InputError(
            f"expected a discriminator of the generator's {generator.resolution} pixels, {path} holds one of {discriminator.resolution}; "
            "name that of the generator, or none"
        )
    return discriminator.requires_grad_(True).train()
