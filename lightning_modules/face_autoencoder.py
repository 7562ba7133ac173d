"""Training of a model-based face autoencoder: picture to face parameters, self-supervised (MoFA, Tewari et al., ICCV 2017)."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import torch
from jaxtyping import Float
from pytorch_lightning import LightningModule
from pytorch_lightning.utilities import rank_zero_info
from pytorch_lightning.utilities.types import OptimizerLRScheduler
from torch import Tensor

from lightning_modules.face_reconstruction import landmark_error, optimiser_of, statistical_regulariser
from lightning_modules.face_scene import FaceScene
from lightning_modules.frozen import freeze, leave_unsynchronised
from lightning_modules.reduction import of_all_ranks
from lightning_modules.render_loss import RenderLoss, RenderLossWeights
from lightning_modules.run_folder import folder_of
from models.morphable import FaceParameters
from models.observers import load_landmark_detector
from models.observers.judge import correlation
from models.stylerig.face_encoder import FaceEncoder
from models.stylerig.provenance import Provenance
from renderers.errors import InputError
from renderers.rotation import rotation_distance

WEIGHTS_NAME = "face_encoder.safetensors"
# What is compared with the truth coefficient by coefficient.
_COEFFICIENTS = ("identity", "expression", "reflectance", "illumination")


@dataclass(frozen=True)
class FaceAutoencoderSettings:
    """How the encoder is trained. By default as the demo's F, so that a picture and its code are read alike.

    Attributes:
        widths, blocks, num_features, working_size: Of the network, see `FaceEncoder`.
        loss: Weights of the rerendering loss.
        regulariser, expression_deviation, reflectance_ratio, illumination_ratio: See `FaceReconstructionSettings`.
        learning_rate: Peak learning rate of AdamW.
        landmark_steps: So many first steps look at landmarks only, until faces overlap and colours can be compared.
    """

    widths: Sequence[int] = (32, 64, 96, 128)
    blocks: Sequence[int] = (1, 2, 2, 1)
    num_features: int = 256
    working_size: int = 64
    loss: RenderLossWeights = field(
        default_factory=lambda: RenderLossWeights(landmark=17.5, photometric=50.0, robust=0.3, robust_landmarks=0.1)
    )
    regulariser: float = 0.004
    expression_deviation: float = 0.4
    reflectance_ratio: float = 1.0
    illumination_ratio: float = 2.0
    learning_rate: float = 2e-3
    landmark_steps: int = 200

    def __post_init__(self) -> None:
        weights = (self.regulariser, self.reflectance_ratio, self.illumination_ratio, self.landmark_steps)
        if min(self.learning_rate, self.expression_deviation) <= 0 or min(weights) < 0:
            raise InputError(
                f"expected a positive learning rate and deviation and weights of 0 or more, got {self}; correct them"
            )


class FaceAutoencoder(LightningModule):
    """The encoder is trained through a fixed decoder: face model and renderer. At the end of the fit its weights are written.

    Training batches are dicts with `image` (B, 3, S, S) in [-1, 1]; those of validation and test have `parameters` and `landmarks`, the
    truth, which is only measured against.

    Args:
        landmarker: 68-landmark network: this project's safetensors, or a folder with face-api weights.
        scene: Face model, camera and renderer.
        settings: Network, losses and optimiser.
        image_size: Pixels of the pictures, which those of the rendering are (or less, by the scene).
        weights: face_encoder.safetensors to test or to start from; null for an untrained network.
        output: File that the trained weights go to; null for face_encoder.safetensors in the run's folder.
    """

    def __init__(
        self,
        landmarker: str,
        scene: FaceScene = FaceScene(),
        settings: FaceAutoencoderSettings = FaceAutoencoderSettings(),
        image_size: int = 64,
        weights: str | None = None,
        output: str | None = None,
    ) -> None:
        super().__init__()
        self.landmarker = freeze(load_landmark_detector(landmarker))
        self.face_model = freeze(scene.load_face_model())
        self.loss = freeze(RenderLoss(scene.renderer(self.face_model, image_size), settings.loss))
        self.landmark_loss = freeze(RenderLoss(self.loss.renderer, replace(settings.loss, photometric=0.0)))
        self.provenance = Provenance.of(None, self.face_model, scene.camera)
        if weights is None:
            sizes = self.face_model.sizes
            self.network = FaceEncoder(
                sizes, settings.widths, settings.blocks, settings.num_features, settings.working_size
            )
        else:
            self.network = FaceEncoder.load(weights, self.provenance).requires_grad_(True).train()
        self.settings, self.output = settings, output
        self._trained = weights is not None
        self._seen: list[tuple[Tensor, Tensor, Tensor]] = []

    def setup(self, stage: str) -> None:
        leave_unsynchronised(self, self.landmarker, self.face_model, self.loss, self.landmark_loss)

    def forward(self, images: Float[Tensor, "batch 3 size size"]) -> Float[Tensor, "batch total"]:
        """Packed face parameters of pictures in [-1, 1]."""
        return self.network(images)

    def training_step(self, batch: dict[str, Tensor], batch_idx: int) -> Float[Tensor, ""]:
        images, settings = batch["image"], self.settings
        with torch.no_grad():
            landmarks = self.landmarker(images)
        parameters = self.network.parameters_of(images)
        loss = self.landmark_loss if self.global_step < settings.landmark_steps else self.loss
        assert isinstance(loss, RenderLoss)
        terms = loss(*loss.targets(images, landmarks), parameters)
        regulariser = statistical_regulariser(
            parameters, settings.expression_deviation, settings.reflectance_ratio, settings.illumination_ratio
        )
        total = terms.total + settings.regulariser * regulariser
        self.log("train/loss", total, prog_bar=True, sync_dist=True)
        parts = {"photometric": terms.photometric, "landmark": terms.landmark, "regulariser": regulariser}
        self.log_dict({f"train/{name}": value for name, value in parts.items()}, sync_dist=True)
        return total

    def validation_step(self, batch: dict[str, Tensor], batch_idx: int) -> None:
        self._measure(batch)

    def on_validation_epoch_end(self) -> None:
        self._report("validate")

    def on_test_start(self) -> None:
        if self.trainer.ckpt_path is None and not self._trained:
            raise InputError(
                "expected a trained face encoder to test, got an untrained one; add --model.weights with a face_encoder.safetensors or "
                "--ckpt_path with a checkpoint"
            )

    def test_step(self, batch: dict[str, Tensor], batch_idx: int) -> None:
        self._measure(batch)

    def on_test_epoch_end(self) -> None:
        self._report("test")

    def configure_optimizers(self) -> OptimizerLRScheduler:
        return optimiser_of(self, list(self.network.parameters()), "adamw", self.settings.learning_rate, decay=True)

    def on_fit_end(self) -> None:
        self._trained = True
        if self.trainer.is_global_zero:
            path = Path(self.output) if self.output else folder_of(self.trainer) / WEIGHTS_NAME
            rank_zero_info(f"face encoder written to {self.network.save(path, self.provenance)}")

    def _measure(self, batch: dict[str, Tensor]) -> None:
        read = self.network(batch["image"])
        renderer = self.loss.renderer
        assert isinstance(renderer.image_size, tuple)
        scale = renderer.image_size[0] / batch["image"].shape[-1]
        projected = renderer.project_landmarks(FaceParameters.unpack(read, self.network.sizes)) / scale
        self._seen.append((read, batch["parameters"], landmark_error(projected, batch["landmarks"])))

    def _report(self, prefix: str) -> None:
        """Against the truth: angles, landmarks, and of every coefficient how well and how far it follows."""
        read, true, landmarks = (of_all_ranks(self, torch.cat(parts)) for parts in zip(*self._seen, strict=True))
        self._seen.clear()
        reading, truth = (FaceParameters.unpack(values, self.network.sizes) for values in (read, true))
        degrees = 180 / math.pi
        values = {
            "landmark_error_px": landmarks.mean(),
            "rotation_error_deg": rotation_distance(reading.rotation, truth.rotation).median() * degrees,
            "yaw_slope": _slope(reading.rotation[:, 1:2], truth.rotation[:, 1:2]),
        }
        for name in _COEFFICIENTS:
            pair = getattr(reading, name), getattr(truth, name)
            # Weighted by how much each varies: of most blendshapes and bases little is there to be read.
            spread = pair[1].var(dim=0)
            known = spread > 1e-8
            corr = correlation(pair[0][:, known], pair[1][:, known]).nan_to_num()
            values[f"{name}_correlation"] = (corr * spread[known]).sum() / spread[known].sum()
            values[f"{name}_slope"] = _slope(*pair)
        for name, value in values.items():
            self.log(
                f"{prefix}/{name}", value, prog_bar=name in ("landmark_error_px", "rotation_error_deg"), sync_dist=True
            )


def _slope(read: Float[Tensor, "samples values"], true: Float[Tensor, "samples values"]) -> Float[Tensor, ""]:
    """Of the regression of readings on the truth, over all columns: 1 for one that follows the truth all the way."""
    centred = true - true.mean(dim=0)
    return ((read - read.mean(dim=0)) * centred).sum() / centred.square().sum().clamp_min(1e-12)
