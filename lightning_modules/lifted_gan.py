"""Training of LiftedGAN (Shi et al., CVPR 2021) on a fixed generator: codes to depth, albedo, light and view, without any 3D truth."""

from pathlib import Path

import torch
from pytorch_lightning import Callback
from pytorch_lightning.trainer.states import TrainerFn
from pytorch_lightning.utilities import rank_zero_info, rank_zero_warn
from torch import Tensor

from datamodules.latent_pairs import LatentPairDataModule, LatentPairs
from lightning_modules.frozen import freeze, leave_unsynchronised
from lightning_modules.gan_start import check_intervals, check_precision
from lightning_modules.lifted_gan_losses import counted_pixels
from lightning_modules.lifted_gan_measures import depth_figures, identity_similarity, judged_turn, psnr
from lightning_modules.lifted_gan_objective import LiftedObjective
from lightning_modules.lifted_gan_perturbation import draw_perturbation
from lightning_modules.lifted_gan_progress import LiftedProgress
from lightning_modules.lifted_gan_settings import LiftedTraining
from lightning_modules.measured import MeasuredModule
from lightning_modules.pair_batches import codes_and_images
from lightning_modules.reduction import log_means
from lightning_modules.run_folder import folder_of
from models.lifted_gan import LiftedGAN, LiftedSettings
from models.observers import load_face_embedder, load_judge
from models.perceptual import LIFTEDGAN_LAYERS, perceptual_loss
from models.perceptual.loss import OBSERVERS
from models.stylegan2 import Generator, load_generator
from renderers.errors import InputError

WEIGHTS_NAME = "lifted_gan.safetensors"


class LiftedGanModule(MeasuredModule):
    """Trains the networks of a lifted generator; at the end of the fit their averaged weights are written.

    Batches are `LatentPairs` with images, of one latent each; both codes of a pair count. Perturbations follow from pairs and steps, so
    a resumed run continues exactly.

    Logged losses are those of the first rank's part of a batch: to average them would make ranks wait for each other in every step.
    """

    images_seen: Tensor
    steps: Tensor

    def __init__(
        self,
        generator: str,
        perceptual: str | None = None,
        embedder: str | None = None,
        judge: str | None = None,
        networks: LiftedSettings = LiftedSettings(),
        settings: LiftedTraining = LiftedTraining(),
        weights: str | None = None,
        sample_every: int = 10_000,
        output: str | None = None,
    ) -> None:
        """
        Args:
            generator: StyleGAN2 checkpoint G2D: this project's safetensors, a StyleGAN2-ADA pickle or a rosinality file.
            perceptual: What features compare pictures: a VGG-16 weights file, `vgg16` for torchvision's download, or `observers` for
                the shipped networks; null where their weight is 0.
            embedder: Identity network of L_idt: this project's safetensors, or facenet's; null where its weight is 0.
            judge: Network that validation reads the turn of faces by; null for none. No loss uses it.
            networks: Sizes and ranges of the networks.
            settings: Losses, perturbations and optimiser.
            weights: lifted_gan.safetensors for the same generator and networks, to test or to start from; null for untrained ones. The
                count of steps starts anew: set settings.convex_steps to 0.
            sample_every: Pictures between two sheets of samples.
            output: File that the trained weights go to; null for lifted_gan.safetensors in the run's folder.

        Raises:
            InputError: for files that are missing, broken or do not fit each other, and options that contradict each other.
        """
        super().__init__()
        check_intervals({"sample_every": sample_every})
        if settings.albedo > 0 and settings.high_pass == "blur" and networks.blur_radius == 0:
            raise InputError(
                "expected a networks.blur_radius above 0 to take the blur of albedo maps from them, got 0; raise it, or set "
                "settings.high_pass to laplacian or settings.albedo to 0"
            )
        self.automatic_optimization = False
        self.generator = freeze(load_generator(generator))
        self.lifted = (
            LiftedGAN(self.generator, networks) if weights is None else _read(weights, self.generator, networks)
        )
        self.lifted.networks.requires_grad_(True).train()
        self.average = LiftedGAN(self.generator, networks).eval()
        self.average.networks.load_state_dict(self.lifted.networks.state_dict())
        self.average.requires_grad_(False)
        layers = None if perceptual == OBSERVERS else LIFTEDGAN_LAYERS
        features = (
            None
            if perceptual is None
            else perceptual_loss(perceptual, layers, normalise=True, scales=settings.perceptual_scales)
        )
        identity = None if embedder is None else load_face_embedder(embedder)
        statistics = self.generator.mean_w, self.generator.std_w
        self.objective = freeze(LiftedObjective(settings, features, identity, *statistics))
        self.judge = None if judge is None else freeze(load_judge(judge))
        self.settings = settings
        self.sample_every = sample_every
        self.output = output
        self._trained = weights is not None
        self._degenerate: list[Tensor] = []
        self.register_buffer("images_seen", torch.zeros((), dtype=torch.int64))
        self.register_buffer("steps", torch.zeros((), dtype=torch.int64))

    def setup(self, stage: str) -> None:
        """Refuse weights of another precision than float32 and other data; keep frozen networks on their rank."""
        check_precision(self.trainer)
        data = getattr(self.trainer, "datamodule", None)
        if not isinstance(data, LatentPairDataModule) or data.recipe.max_latents != 1:
            found = (
                f"max_latents {data.recipe.max_latents}"
                if isinstance(data, LatentPairDataModule)
                else type(data).__name__
            )
            raise InputError(
                f"expected a LatentPairDataModule with max_latents 1 to train LiftedGAN on, whose codes are of W, got {found}; "
                "correct data"
            )
        frozen = [self.generator, self.average, self.objective, *([] if self.judge is None else [self.judge])]
        leave_unsynchronised(self, *frozen)

    def configure_optimizers(self) -> torch.optim.Optimizer:
        settings = self.settings
        return torch.optim.Adam(
            self.lifted.networks.parameters(), settings.learning_rate, weight_decay=settings.weight_decay, fused=True
        )

    def configure_callbacks(self) -> list[Callback]:
        """Sheets of samples."""
        return [LiftedProgress(self.sample_every)]

    def training_step(self, batch: LatentPairs, batch_idx: int) -> None:
        """One step, with the gradient of both parts of the perturbation loss."""
        codes, images = codes_and_images(batch)
        codes = codes[:, 0]
        optimizer = self.optimizers()
        assert not isinstance(optimizer, list)
        optimizer.zero_grad()
        loss, terms, output, perturbed = self.objective.faces(
            self.lifted, codes, images, batch.indices, int(self.steps)
        )
        self.manual_backward(loss)
        total = loss.detach()
        if self.settings.parts_in_turn and self.settings.perturbation > 0:
            assert perturbed is not None
            # Frees what the first pass keeps, before the second makes its own.
            depth = output.depth.detach()
            del loss, output
            loss, found = self.objective.manipulation(self.lifted, codes, perturbed)
            self.manual_backward(loss)
            total, terms = total + loss.detach(), terms | found
        else:
            depth = output.depth.detach()
        optimizer.step()
        self.log("train/loss", total, prog_bar=True)
        self.log_dict({f"train/{name}": value for name, value in terms.items()})
        self.log("train/depth_spread", depth_figures(depth, self.lifted.settings).spread, prog_bar=True)
        count = len(codes) * self.trainer.world_size
        self.images_seen += count
        self.steps += 1
        self._update_average(count)
        self.log("train/images_seen", float(self.images_seen))

    def check_trained(self, verb: str) -> None:
        if self.trainer.ckpt_path is None and not self._trained:
            raise InputError(
                f"expected a trained lifted generator to {verb}, got an untrained one; add --model.weights with a lifted_gan.safetensors "
                "or --ckpt_path with a checkpoint"
            )

    @torch.no_grad()
    def measure(self, batch: LatentPairs, prefix: str) -> None:
        """The averaged networks: renders against pictures, perturbed renders against G2D's pictures of M's codes, identity between
        texture and perturbed render, depth, and the turn of faces as the judge sees it."""
        codes, images = codes_and_images(batch)
        codes, lifted = codes[:, 0], self.average
        background = lifted.settings.background_depth
        output = lifted(codes)
        render = lifted.render(output)
        mask = counted_pixels(render, background)
        distance = self.objective.distance
        figures = {"reconstruction": distance(render.image, images, mask), "psnr_db": psnr(render, images, mask)}
        asked = draw_perturbation(batch.indices, 0, output.light, self.settings, lifted.settings)
        turned = lifted.render(output, asked.view, asked.light)
        moved = lifted.manipulate(codes, asked.view, asked.light).to(codes.dtype)
        picture = lifted.picture(moved).to(codes.dtype).clamp(-1, 1)
        mask = counted_pixels(turned, background)
        figures |= {
            "perturbed": distance(turned.image, picture, mask),
            "perturbed_psnr_db": psnr(turned, picture, mask),
        }
        if self.objective.embedder is not None:
            figures["identity_similarity"] = identity_similarity(self.objective.embedder, output.texture, turned.image)
        if self.judge is not None:
            figures |= judged_turn(self.judge, lifted, output, self.settings.turn_shift)
        depth = depth_figures(output.depth, lifted.settings)
        figures |= {"depth_spread": depth.spread, "depth_degenerate": depth.degenerate}
        if prefix == "validate":
            self._degenerate.append(depth.degenerate)
        log_means(self, {f"{prefix}/{name}": value for name, value in figures.items()}, len(codes))

    def on_validation_epoch_end(self) -> None:
        """Warn of depth that has collapsed: nothing brings it back."""
        shares, self._degenerate = self._degenerate, []
        # Untrained networks are nearly flat, as they should be.
        untrained = self.trainer.sanity_checking or (self.trainer.state.fn == TrainerFn.FITTING and int(self.steps) < 2)
        if shares and not untrained and (share := float(torch.stack(shares).mean())) > 0.5:
            rank_zero_warn(
                f"depth of {100 * share:.0f} % of the faces is flat, or at the ends of its range (validate/depth_degenerate): start "
                "again with a lower settings.learning_rate, or another seed"
            )

    def on_fit_end(self) -> None:
        self._trained = True
        if self.trainer.is_global_zero:
            path = Path(self.output) if self.output else folder_of(self.trainer) / WEIGHTS_NAME
            rank_zero_info(f"lifted generator written to {self.average.save(path)}")

    @torch.no_grad()
    def _update_average(self, count: int) -> None:
        half_life = self.settings.average_half_life
        if self.settings.average_rampup is not None:
            half_life = min(half_life, max(float(self.images_seen) * self.settings.average_rampup, 1e-8))
        new = 1 - 0.5 ** (count / half_life)
        own, average = self.lifted.networks.parameters(), self.average.networks.parameters()
        torch._foreach_lerp_(list(average), list(own), new)


def _read(weights: str, generator: Generator, networks: LiftedSettings) -> LiftedGAN:
    """The lifted generator of a file, whose settings must be those asked for."""
    lifted = LiftedGAN.load(weights, generator)
    if lifted.settings != networks:
        stored, asked = lifted.settings.to_config(), networks.to_config()
        name = next(name for name in stored if stored[name] != asked[name])
        raise InputError(
            f"expected networks.{name} {stored[name]} of {weights}, got {asked[name]}; set networks to those that it was trained with"
        )
    return lifted
