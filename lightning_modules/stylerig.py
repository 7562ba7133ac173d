"""Training of RigNet on a fixed generator (StyleRig section 7): two-way cycle consistency on pairs of latent codes."""

from pathlib import Path

import torch
from jaxtyping import Float
from pytorch_lightning.trainer.states import TrainerFn
from pytorch_lightning.utilities import rank_zero_info
from pytorch_lightning.utilities.types import OptimizerLRScheduler
from torch import Tensor, nn

from datamodules.latent_pairs import LatentPairDataModule, LatentPairs
from lightning_modules.face_reconstruction import WEIGHTS_NAME as FACE_RECONSTRUCTION_NAME
from lightning_modules.face_reconstruction import optimiser_of
from lightning_modules.face_scene import FaceScene
from lightning_modules.frozen import freeze, leave_unsynchronised
from lightning_modules.measured import MeasuredModule
from lightning_modules.nested_reconstruction import FaceReconstructionRun
from lightning_modules.pair_batches import codes_and_images
from lightning_modules.reduction import log_means
from lightning_modules.render_loss import RenderLoss
from lightning_modules.rig_losses import StyleRigLosses
from lightning_modules.run_folder import folder_of
from lightning_modules.stylerig_settings import StyleRigSettings
from models.morphable import FaceParameters
from models.morphable.loading import recorded_source
from models.observers import load_landmark_detector
from models.stylegan2 import load_generator
from models.stylerig import (
    ParameterReader,
    ParameterStatistics,
    PictureReconstruction,
    Provenance,
    RigNetwork,
    RigSources,
    load_face_reconstruction,
    read_pictured,
)
from models.weights import locate, recorded
from renderers.errors import InputError

WEIGHTS_NAME = "rignet.safetensors"
# Pairs of a pass over the training set for its statistics: codes alone take hardly any memory, pictures of 1024 pixels do.
_CODES_AT_ONCE, _PICTURES_AT_ONCE = 250, 4


class StyleRig(MeasuredModule):
    """Trains a RigNet, or the steering baseline; at the end of the fit its weights are written."""

    # A face reconstruction trained here is written where all processes look for it.
    prepare_data_per_node = False

    def __init__(
        self,
        generator: str,
        landmarker: str,
        face_reconstruction: str | None,
        scene: FaceScene = FaceScene(),
        settings: StyleRigSettings = StyleRigSettings(),
        face_reconstruction_run: FaceReconstructionRun = FaceReconstructionRun(),
        weights: str | None = None,
        output: str | None = None,
    ) -> None:
        """
        Args:
            generator: StyleGAN2 checkpoint: this project's safetensors, a StyleGAN2-ADA pickle or a rosinality file.
            landmarker: 68-landmark network: this project's safetensors, or a folder with face-api weights.
            face_reconstruction: Weights of F trained for this generator and scene, or of a face encoder (MoFA) trained for this
                scene, which reads the codes' pictures as in PIE; null trains F first, into the run's folder, where it can be named
                for the next run.
            scene: Face model, camera and renderer.
            settings: Controls, losses and optimiser.
            face_reconstruction_run: Used where face_reconstruction is null.
            weights: Weights of a network (rignet.safetensors) for the same generator, scene, kind and controls: to test, or to
                start a training from; null for an untrained one.
            output: File that the trained weights go to; null for rignet.safetensors in the run's folder.

        Raises:
            InputError: for files that are missing, broken or do not fit each other.
        """
        super().__init__()
        self.generator = freeze(load_generator(generator))
        self.landmarker = freeze(load_landmark_detector(landmarker))
        self.face_model = freeze(scene.load_face_model())
        self.provenance = Provenance.of(self.generator, self.face_model, scene.camera)
        self.face_reconstruction: ParameterReader | None = None
        if face_reconstruction is not None:
            self.face_reconstruction = self._read_by(face_reconstruction)
        # The steering baseline has its place, so that checkpoints and readers of either are alike.
        self.rignet: RigNetwork = (
            settings.untrained_network(self.generator, self.face_model.sizes)
            if weights is None
            else settings.trained_network(weights, self.provenance)
        )
        renderer = scene.renderer(self.face_model, self.generator.resolution)
        self.losses = nn.ModuleList(
            StyleRigLosses(control, RenderLoss(renderer, settings.render_weights(control)))
            for control in settings.controls
        )
        freeze(self.losses)
        self.scene = scene
        self.settings = settings
        self.output = output
        self._weights = weights
        self._sources = {"generator": generator, "landmarker": landmarker}
        # Found now: a file that is moved while this trains must not cost the trained weights.
        self._places = {
            "generator": recorded(locate(generator)),
            "face_model": recorded_source(scene.face_model_source),
        }
        self._face_reconstruction = None if face_reconstruction is None else recorded(locate(face_reconstruction))
        self._face_reconstruction_run = face_reconstruction_run

    def prepare_data(self) -> None:
        path = self._own_face_reconstruction()
        if self.face_reconstruction is not None or path.exists():
            return
        if self.trainer.state.fn != TrainerFn.FITTING:
            raise InputError(
                f"expected the face_reconstruction that the RigNet was trained with, got null and none at {path}; name its weights"
            )
        self._face_reconstruction_run.train(
            self.trainer, **self._sources, scene=self.scene, recipe=self._data().recipe, output=path
        )

    def setup(self, stage: str) -> None:
        if self.face_reconstruction is None:
            self.face_reconstruction = self._read_by(self._own_face_reconstruction())
        # Weights to start from mean nothing under other statistics than their own.
        if stage == "fit" and self._weights is None:
            self.rignet.normalise_by(self._statistics())
        leave_unsynchronised(self, self.generator, self.landmarker, self.face_model, self.face_reconstruction, self.losses)

    def forward(
        self, codes: Float[Tensor, "batch layers width"], parameters: Float[Tensor, "batch total"]
    ) -> Float[Tensor, "batch layers width"]:
        """Codes edited towards packed face parameters, of which the network reads those of its components."""
        assert self.face_reconstruction is not None
        return self.rignet.edit(codes, self.face_reconstruction(codes), parameters)

    def training_step(self, batch: LatentPairs, batch_idx: int) -> Float[Tensor, ""]:
        losses = self.pair_losses(batch)
        self.log("train/loss", losses["loss"], prog_bar=True, sync_dist=True)
        self.log_dict({f"train/{name}": value for name, value in losses.items() if name != "loss"}, sync_dist=True)
        return losses["loss"]

    def check_trained(self, verb: str) -> None:
        # Training starts from a decoder of zeros, which edits nothing.
        if not self.rignet.is_trained:
            raise InputError(
                f"expected a trained RigNet to {verb}, got an untrained one; add --model.weights with a rignet.safetensors or "
                "--ckpt_path with a checkpoint"
            )

    def measure(self, batch: LatentPairs, prefix: str) -> None:
        losses = {f"{prefix}/{name}": value for name, value in self.pair_losses(batch).items()}
        log_means(self, losses, len(batch.w))

    def configure_optimizers(self) -> OptimizerLRScheduler:
        settings = self.settings
        return optimiser_of(
            self, list(self.rignet.parameters()), settings.optimiser, settings.learning_rate, settings.decay
        )

    def on_fit_end(self) -> None:
        if self.trainer.is_global_zero:
            path = Path(self.output) if self.output else folder_of(self.trainer) / WEIGHTS_NAME
            written = self.rignet.save(path, self.provenance, self.sources)
            rank_zero_info(f"{type(self.rignet).__name__} written to {written}")

    @property
    def sources(self) -> RigSources:
        """Where the networks of this run are, for whoever opens the rig; during or after a run."""
        reconstruction = self._face_reconstruction or recorded(self._own_face_reconstruction())
        return RigSources(face_reconstruction=reconstruction, **self._places)

    def pair_losses(self, batch: LatentPairs) -> dict[str, Float[Tensor, ""]]:
        """The losses of equation 2 over both directions of each pair: `loss` (L_total, weighted), and without their weights
        `reconstruction`, and `edit` and `consistency` of each control (named by it where there are several)."""
        assert self.face_reconstruction is not None
        # Siamese: v is edited by w's parameters as w by v's, so both are one batch, exchanged with its own halves.
        codes, images = codes_and_images(batch)
        own_landmarks, own = self._observe(codes, images)
        exchange = torch.arange(len(codes), device=codes.device).roll(len(batch.w))
        requested = own[exchange]

        settings, packed = self.settings, own.pack()
        with torch.set_grad_enabled(settings.reconstruction > 0 and torch.is_grad_enabled()):
            reconstruction = self._code_distance(self.rignet.edit(codes, packed, packed), codes)
        # The samples of a pair, one per control, share w and F(w), so that L_rec of all of them (section 8.5) is one term.
        total = len(self.losses) * settings.reconstruction * reconstruction
        results = {"reconstruction": reconstruction}
        for losses in self.losses:
            assert isinstance(losses, StyleRigLosses)
            control = losses.control
            asked = own.with_components_from(requested, (control.component,))
            edited = self.rignet.edit(codes, packed, asked.pack())
            achieved = self.face_reconstruction.parameters_of(edited)
            target = losses.loss.targets(images, own_landmarks)
            requested_target = (target[0][exchange], target[1][exchange])
            edit, consistency = losses(
                requested, own, achieved, requested_target, target, settings.consistency > 0
            )
            suffix = f"_{control.component}" if len(self.losses) > 1 else ""
            results[f"edit{suffix}"], results[f"consistency{suffix}"] = edit, consistency
            total = total + control.weight * (edit + settings.consistency * consistency)
        return {"loss": total, **results}

    @torch.no_grad()
    def _observe(self, codes: Tensor, images: Tensor) -> tuple[Tensor, FaceParameters]:
        """Landmarks seen in the images, and the parameters that are read of their codes."""
        assert self.face_reconstruction is not None
        read = read_pictured(self.face_reconstruction, codes, images)
        return self.landmarker(images), FaceParameters.unpack(read, self.face_model.sizes)

    def _code_distance(
        self, codes: Float[Tensor, "batch layers width"], others: Float[Tensor, "batch layers width"]
    ) -> Float[Tensor, ""]:
        squared = (codes - others).square().sum(dim=(1, 2))
        if self.settings.normalised:
            # Per entry, in units of the variance of W: generators differ in the scale of their codes.
            squared = squared / (codes[0].numel() * self.generator.std_w.square().mean())
        return squared.mean()

    @torch.no_grad()
    def _statistics(self) -> ParameterStatistics:
        assert self.face_reconstruction is not None
        recipe = self._data().recipe
        pictured = isinstance(self.face_reconstruction, PictureReconstruction)
        size = _PICTURES_AT_ONCE if pictured else _CODES_AT_ONCE
        indices = torch.arange(self.settings.statistics_pairs, device=self.generator.mean_w.device).split(size)
        pairs = (recipe.pairs(self.generator, "train", part) for part in indices)
        network = self.face_reconstruction.to(self.generator.mean_w.device)
        return ParameterStatistics.over(network(torch.cat([pair.w, pair.v])) for pair in pairs)

    def _read_by(self, path: str | Path) -> ParameterReader:
        return freeze(load_face_reconstruction(path, self.provenance, self.generator))

    def _own_face_reconstruction(self) -> Path:
        """Where a face reconstruction trained by this run is kept."""
        return folder_of(self.trainer) / FACE_RECONSTRUCTION_NAME

    def _data(self) -> LatentPairDataModule:
        data = getattr(self.trainer, "datamodule", None)
        if not isinstance(data, LatentPairDataModule):
            raise InputError(
                f"expected a LatentPairDataModule to train StyleRig on, got {type(data).__name__}; name it in the config"
            )
        return data
