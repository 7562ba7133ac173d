"""Training of the differentiable face reconstruction F: W+ code to face parameters, self-supervised (StyleRig section 6)."""

import math
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Literal

import torch
from jaxtyping import Float
from pytorch_lightning import LightningModule
from pytorch_lightning.utilities import rank_zero_info
from pytorch_lightning.utilities.types import OptimizerLRScheduler
from torch import Tensor

from datamodules.latent_pairs import LatentPairs
from lightning_modules.edited_codes import EditedCodes, edit_pairs
from lightning_modules.face_scene import FaceScene
from lightning_modules.frozen import freeze, leave_unsynchronised
from lightning_modules.measured import MeasuredModule
from lightning_modules.pair_batches import codes_and_images
from lightning_modules.reduction import log_means
from lightning_modules.render_loss import RenderLoss, RenderLossWeights, landmarks_66
from lightning_modules.run_folder import folder_of
from models.morphable import FaceParameters
from models.observers import load_landmark_detector
from models.stylegan2 import load_generator
from models.stylerig import FaceReconstruction, Provenance, RigNet
from renderers.errors import InputError

# Relative weights of the squared coefficients in MoFA's regulariser, as public face code uses them.
REGULARISER_RATIOS = {"identity": 1.0, "expression": 0.8, "reflectance": 1.7e-3}
# Unit in which the prior on the light counts all 27 coefficients: the spread of those above the first of each colour over the demo's
# portraits; ours.
ILLUMINATION_DEVIATION = 0.06
WEIGHTS_NAME = "face_reconstruction.safetensors"


@dataclass(frozen=True)
class FaceReconstructionSettings:
    """How F is trained. Except for the network's three layers, the optimiser and MoFA's ratios, the paper leaves these open.

    Attributes:
        hidden: Width of the two intermediate layers.
        loss: Weights of the rerendering loss; its lambda_land for face reconstruction is not published.
        regulariser: Weight of MoFA's statistical regulariser against the normalised rerendering loss. Under the published sums
            (loss.normalised false) multiply it by the number of pixels that the face covers.
        expression_deviation: Standard deviation of the expression coefficients, in which the regulariser counts them: 1 for models
            such as Basel's, whose coefficients are in standard deviations; blendshape coefficients of portraits spread by 0.2 to 0.4.
        reflectance_ratio: Of the reflectance coefficients in the regulariser against those of the identity: 1.7e-3 in public face
            code. Where the photometric term weighs much more than landmarks, so little lets the skin explain what the light does.
        illumination_ratio: Of the illumination coefficients in it, which MoFA leaves free. On the front of a face the spherical harmonics
            of x and xz, and of y and yz, hardly differ: without a prior, what is read of each, and so the light's direction, is chance.
        optimiser: "adadelta" is the paper's (learning rate 0.01); the two were not compared.
        learning_rate: Peak learning rate.
        decay: Let the learning rate fall to zero along a half cosine over the run.
        landmark_steps: So many first steps look at landmarks only, until faces overlap and colours can be compared.
        edited: Training codes that are moved as edits move them; none unless asked for. Validation and test look at codes of pairs.
    """

    hidden: int = 512
    loss: RenderLossWeights = field(default_factory=lambda: RenderLossWeights(landmark=17.5, robust=0.3))
    regulariser: float = 0.01
    expression_deviation: float = 0.2
    reflectance_ratio: float = REGULARISER_RATIOS["reflectance"]
    illumination_ratio: float = 0.0
    optimiser: Literal["adamw", "adadelta"] = "adamw"
    learning_rate: float = 1e-3
    decay: bool = True
    landmark_steps: int = 100
    edited: EditedCodes = EditedCodes()

    def __post_init__(self) -> None:
        weights = (self.regulariser, self.reflectance_ratio, self.illumination_ratio, self.landmark_steps)
        if min(self.learning_rate, self.expression_deviation) <= 0 or min(weights) < 0:
            raise InputError(f"expected a positive learning rate and deviation and weights of 0 or more, got {self}; correct them")


def statistical_regulariser(
    parameters: FaceParameters,
    expression_deviation: float = 1.0,
    reflectance_ratio: float = REGULARISER_RATIOS["reflectance"],
    illumination_ratio: float = 0.0,
) -> Float[Tensor, ""]:
    """MoFA's regulariser: weighted squared coefficients in standard deviations (Tewari et al. 2017, equation 8), batch mean.

    The illumination, which MoFA leaves free, is counted in units of `ILLUMINATION_DEVIATION`.
    """
    deviations = {
        "identity": 1.0,
        "expression": expression_deviation,
        "reflectance": 1.0,
        "illumination": ILLUMINATION_DEVIATION,
    }
    ratios = {**REGULARISER_RATIOS, "reflectance": reflectance_ratio, "illumination": illumination_ratio}
    terms = [
        ratio * (getattr(parameters, name) / deviations[name]).square().sum(dim=1) for name, ratio in ratios.items()
    ]
    return torch.stack(terms).sum(dim=0).mean()


def landmark_error(
    predicted: Float[Tensor, "batch 68 2"], observed: Float[Tensor, "batch 68 2"]
) -> Float[Tensor, " batch"]:
    """Mean distance over StyleRig's 66 landmarks, in the pixels of both."""
    return (landmarks_66(predicted) - landmarks_66(observed)).norm(dim=2).mean(dim=1)


class DifferentiableFaceReconstruction(MeasuredModule):
    """Trains F on the codes of latent pairs; at the end of the fit its weights are written for `StyleRig` to use."""

    def __init__(
        self,
        generator: str,
        landmarker: str,
        scene: FaceScene = FaceScene(),
        settings: FaceReconstructionSettings = FaceReconstructionSettings(),
        output: str | None = None,
    ) -> None:
        """
        Args:
            generator: StyleGAN2 checkpoint: this project's safetensors, a StyleGAN2-ADA pickle or a rosinality file.
            landmarker: 68-landmark network: this project's safetensors, or a folder with face-api weights.
            scene: Face model, camera and renderer.
            settings: Network, loss and optimiser.
            output: File that the trained weights go to; null for face_reconstruction.safetensors in the run's folder.
        """
        super().__init__()
        self.generator = freeze(load_generator(generator))
        self.landmarker = freeze(load_landmark_detector(landmarker))
        self.face_model = freeze(scene.load_face_model())
        self.loss = freeze(RenderLoss(scene.renderer(self.face_model, self.generator.resolution), settings.loss))
        warm_up = replace(settings.loss, photometric=0.0)
        self.landmark_loss = freeze(RenderLoss(self.loss.renderer, warm_up))
        self.provenance = Provenance.of(self.generator, self.face_model, scene.camera)
        settings.edited.check_layers(self.generator.num_layers)
        self.editor: RigNet | None = None
        if settings.edited.rignet is not None:
            self.editor = freeze(RigNet.load(settings.edited.rignet, self.provenance))
        self.network = FaceReconstruction(
            self.generator.num_layers, self.generator.w_dim, self.face_model.sizes, settings.hidden
        )
        self.network.whiten_by(self.generator.mean_w, self.generator.std_w)
        self.settings = settings
        self.output = output
        self._trained = False

    def setup(self, stage: str) -> None:
        frozen = [self.generator, self.landmarker, self.face_model, self.loss, self.landmark_loss]
        leave_unsynchronised(self, *frozen, *([] if self.editor is None else [self.editor]))

    def forward(self, codes: Float[Tensor, "batch layers width"]) -> Float[Tensor, "batch total"]:
        """Packed face parameters of codes."""
        return self.network(codes)

    def training_step(self, batch: LatentPairs, batch_idx: int) -> Float[Tensor, ""]:
        codes, images, landmarks = self._observe(batch, edited=True)
        parameters = self.network.parameters_of(codes)
        loss = self.landmark_loss if self.global_step < self.settings.landmark_steps else self.loss
        terms = loss(*loss.targets(images, landmarks), parameters)
        regulariser = statistical_regulariser(
            parameters,
            self.settings.expression_deviation,
            self.settings.reflectance_ratio,
            self.settings.illumination_ratio,
        )
        total = terms.total + self.settings.regulariser * regulariser
        self.log("train/loss", total, prog_bar=True, sync_dist=True)
        parts = {"photometric": terms.photometric, "landmark": terms.landmark, "regulariser": regulariser}
        self.log_dict({f"train/{name}": value for name, value in parts.items()}, sync_dist=True)
        return total

    def check_trained(self, verb: str) -> None:
        if self.trainer.ckpt_path is None and not self._trained:
            raise InputError(
                f"expected a trained face reconstruction to {verb}, got an untrained one; add --ckpt_path with a checkpoint of its run"
            )

    def measure(self, batch: LatentPairs, prefix: str) -> None:
        codes, images, landmarks = self._observe(batch)
        parameters = self.network.parameters_of(codes)
        target, kept = self.loss.targets(images, landmarks)
        terms = self.loss(target, kept, parameters)
        projected = landmarks_66(self.loss.renderer.project_landmarks(parameters))
        error = (projected - kept).norm(dim=2).mean()
        values = {f"{prefix}/loss": terms.total, f"{prefix}/photometric": terms.photometric}
        log_means(self, values, len(codes))
        log_means(self, {f"{prefix}/landmark_error_px": error}, len(codes), prog_bar=True)

    def configure_optimizers(self) -> OptimizerLRScheduler:
        return optimiser_of(
            self,
            list(self.network.parameters()),
            self.settings.optimiser,
            self.settings.learning_rate,
            self.settings.decay,
        )

    def on_fit_end(self) -> None:
        self._trained = True
        if self.trainer.is_global_zero:
            path = Path(self.output) if self.output else folder_of(self.trainer) / WEIGHTS_NAME
            rank_zero_info(f"face reconstruction written to {self.network.save(path, self.provenance)}")

    @torch.no_grad()
    def _observe(self, batch: LatentPairs, edited: bool = False) -> tuple[Tensor, Tensor, Tensor]:
        """All codes of the pairs, moved where training asks for it, their images, and the landmarks observed there."""
        if edited and self.settings.edited.share > 0:
            batch = edit_pairs(self.settings.edited, self.generator, self.editor, batch)
        codes, images = codes_and_images(batch)
        return codes, images, self.landmarker(images)


def optimiser_of(
    module: LightningModule,
    parameters: list[torch.nn.Parameter],
    name: Literal["adamw", "adadelta"],
    learning_rate: float,
    decay: bool,
) -> OptimizerLRScheduler:
    """What `configure_optimizers` returns: the optimiser, and a half cosine over the run if the rate is to fall.

    Raises:
        InputError: for a falling rate in a run without end.
    """
    if name == "adadelta":
        optimiser: torch.optim.Optimizer = torch.optim.Adadelta(parameters, lr=learning_rate)
    else:
        # Without weight decay: the methods' own losses say what small means.
        optimiser = torch.optim.AdamW(parameters, lr=learning_rate, weight_decay=0.0)
    if not decay:
        return {"optimizer": optimiser}
    steps = module.trainer.estimated_stepping_batches
    if not math.isfinite(steps):
        raise InputError(
            "expected a run of a known length to let the learning rate fall, got none; set max_steps or decay: false"
        )
    schedule = torch.optim.lr_scheduler.LambdaLR(
        optimiser, lambda step: 0.5 * (1 + math.cos(math.pi * min(step / max(1.0, steps), 1.0)))
    )
    return {"optimizer": optimiser, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}
