"""Training of F3D, latent code to face parameters, on those that were fitted to pictures (StyleFaceUV section 3.2.1)."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from jaxtyping import Float
from pytorch_lightning import LightningModule
from pytorch_lightning.trainer.states import TrainerFn
from pytorch_lightning.utilities import rank_zero_info
from pytorch_lightning.utilities.types import OptimizerLRScheduler
from torch import Tensor, nn

from datamodules.face_fits.fitting import colour_errors
from datamodules.fitted_faces import FittedBatch, FittedFacesDataModule
from lightning_modules.face_reconstruction import landmark_error, optimiser_of
from lightning_modules.face_scene import FaceScene
from lightning_modules.frozen import freeze, leave_unsynchronised
from lightning_modules.reduction import log_means
from lightning_modules.run_folder import folder_of
from models.morphable import COMPONENTS, FaceParameters, ParameterSizes
from models.stylefaceuv import PUBLISHED_HIDDEN, CodeCoefficients
from models.stylegan2 import load_generator
from models.stylerig import ParameterStatistics, Provenance, load_face_reconstruction
from renderers.errors import InputError
from renderers.face_renderer import FaceRenderer
from renderers.images import to_unit
from renderers.rotation import rotation_distance

WEIGHTS_NAME = "code_coefficients.safetensors"


@dataclass(frozen=True)
class CodeCoefficientsSettings:
    """How F3D is trained; by default as the demo's.

    Attributes:
        hidden: Widths of the hidden layers, as multiples of the code's width: 9, 6, 3 in the paper, one more of 1 in the release.
        normalised: Codes are whitened, outputs and errors count in the deviations of the fitted coefficients, and each of the six
            components counts alike, or the three angles would be three numbers among 257. False: as published, the mean over all
            coefficients as they are.
        learning_rate: Of Adam at the start: 1e-5 in the paper.
        milestones: Epochs after which it falls to a tenth: the release's 5, 10 and 15 lead from the paper's first rate to its last, 1e-8.
            Empty: to zero along a half cosine over the run.
    """

    hidden: Sequence[int] = PUBLISHED_HIDDEN
    normalised: bool = True
    learning_rate: float = 1e-3
    milestones: Sequence[int] = ()

    def __post_init__(self) -> None:
        if self.learning_rate <= 0 or min(self.milestones, default=1) < 1:
            raise InputError(
                f"expected a positive learning rate and milestones of 1 or more, got {self.learning_rate} and "
                f"{list(self.milestones)}; correct them"
            )


def coefficient_loss(
    predicted: Float[Tensor, "batch total"],
    fitted: Float[Tensor, "batch total"],
    sizes: ParameterSizes,
    deviations: Float[Tensor, " total"] | None = None,
) -> Float[Tensor, ""]:
    """L1 distance of packed coefficients.

    Args:
        predicted, fitted: Both.
        sizes: Of the components.
        deviations: In which differences count, each component alike; None for the plain mean over all coefficients, as published.
    """
    difference = (predicted - fitted).abs()
    if deviations is None:
        return difference.mean()
    parts = (difference / deviations).split(sizes.widths, dim=1)
    return torch.stack([part.mean() for part in parts]).mean()


def coefficient_errors(predicted: FaceParameters, fitted: FaceParameters) -> dict[str, Float[Tensor, ""]]:
    """Mean absolute error of each component, and the mean angle between the rotations as `rotation_deg`."""
    errors = {name: (getattr(predicted, name) - getattr(fitted, name)).abs().mean() for name in COMPONENTS}
    return {**errors, "rotation_deg": rotation_distance(predicted.rotation, fitted.rotation).rad2deg().mean()}


def colour_error(
    renderer: FaceRenderer, parameters: FaceParameters, images: Float[Tensor, "batch 3 size size"]
) -> Float[Tensor, " batch"]:
    """Root mean square length of the RGB difference (colours in 0..1) over the rendered face; infinite where it left the picture.

    Args:
        renderer: Draws the faces.
        parameters: Of the faces.
        images: What they should look like, in [-1, 1], of the renderer's size or larger.
    """
    wanted = to_unit(nn.functional.interpolate(images, size=renderer.image_size, mode="area"))
    return colour_errors(renderer(parameters), wanted)


class CodeCoefficientsModule(LightningModule):
    """Trains F3D on batches of `FittedBatch`; at the end of the fit its weights are written.

    What is measured of it is measured of the mean of the fits too (`_of_mean`), and of an F where one is named (`_of_f`). Errors of
    coefficients are against the fits, of which F has seen none; landmarks of both are projected, and `test` also compares renderings
    with the generator's pictures, which is what F was trained for.
    """

    fitted_mean: Tensor
    fitted_std: Tensor

    def __init__(
        self,
        generator: str,
        scene: FaceScene = FaceScene(),
        settings: CodeCoefficientsSettings = CodeCoefficientsSettings(),
        face_reconstruction: str | None = None,
        output: str | None = None,
    ) -> None:
        """
        Args:
            generator: StyleGAN2 checkpoint whose codes were fitted.
            scene: Face model and camera of the fits; its size is that of renderings that are compared with pictures.
            settings: Network, loss and optimiser.
            face_reconstruction: Weights of StyleRig's F, or of a face encoder, that is measured on the same codes; null for none.
            output: File that the trained weights go to; null for code_coefficients.safetensors in the run's folder.
        """
        super().__init__()
        self.generator = freeze(load_generator(generator))
        self.face_model = freeze(scene.load_face_model())
        self.renderer = freeze(scene.renderer(self.face_model, self.generator.resolution))
        self.provenance = Provenance.of(self.generator, self.face_model, scene.camera)
        self.reference = (
            None
            if face_reconstruction is None
            else freeze(load_face_reconstruction(face_reconstruction, self.provenance, self.generator))
        )
        sizes = self.face_model.sizes
        self.network = CodeCoefficients(self.generator.num_layers, self.generator.w_dim, sizes, settings.hidden)
        if settings.normalised:
            self.network.whiten_by(self.generator.mean_w, self.generator.std_w)
        # Of the fits, which come with the data.
        self.register_buffer("fitted_mean", torch.zeros(sizes.total), persistent=False)
        self.register_buffer("fitted_std", torch.ones(sizes.total), persistent=False)
        self.settings, self.output = settings, output
        self._trained = False

    def setup(self, stage: str) -> None:
        frozen = [self.generator, self.face_model, self.renderer]
        leave_unsynchronised(self, *frozen, *([] if self.reference is None else [self.reference]))
        data = getattr(self.trainer, "datamodule", None)
        if not isinstance(data, FittedFacesDataModule):
            raise InputError(
                f"expected fitted faces to learn from, got a {type(data).__name__}; train with "
                "datamodules.fitted_faces.FittedFacesDataModule"
            )
        data.faces.provenance.check(self.provenance, f"what is fitted in {data.folder}")
        if data.faces.sizes != self.network.sizes:
            raise InputError(
                f"expected fits of {self.network.sizes}, {data.folder} holds those of {data.faces.sizes}; name their face model"
            )
        statistics = ParameterStatistics.over([data.training_parameters])
        self.fitted_mean.copy_(statistics.mean)
        self.fitted_std.copy_(statistics.std)
        # Weights of an earlier part of the run count in the statistics of that part, which its checkpoint brings along.
        if self.settings.normalised and not self._trained:
            self.network.normalise_by(statistics)

    def forward(self, codes: Float[Tensor, "batch layers width"]) -> Float[Tensor, "batch total"]:
        """Packed face parameters of codes."""
        return self.network(codes)

    def training_step(self, batch: FittedBatch, batch_idx: int) -> Float[Tensor, ""]:
        loss = self._loss(self.network(batch.codes), batch.parameters)
        self.log("train/loss", loss, prog_bar=True, sync_dist=True)
        return loss

    def on_validation_start(self) -> None:
        # Within a fit it is the training that is looked at.
        if self.trainer.state.fn == TrainerFn.VALIDATING:
            self._check_trained("validate")

    def validation_step(self, batch: FittedBatch, batch_idx: int) -> None:
        self._measure(batch, "validate")

    def on_test_start(self) -> None:
        self._check_trained("test")

    def test_step(self, batch: FittedBatch, batch_idx: int) -> None:
        self._measure(batch, "test", pictures=True)

    def configure_optimizers(self) -> OptimizerLRScheduler:
        weights, settings = list(self.network.parameters()), self.settings
        if not settings.milestones:
            return optimiser_of(self, weights, "adamw", settings.learning_rate, decay=True)
        optimiser = torch.optim.Adam(weights, lr=settings.learning_rate)
        schedule = torch.optim.lr_scheduler.MultiStepLR(optimiser, list(settings.milestones), gamma=0.1)
        return {"optimizer": optimiser, "lr_scheduler": {"scheduler": schedule, "interval": "epoch"}}

    def on_fit_end(self) -> None:
        self._trained = True
        if self.trainer.is_global_zero:
            path = Path(self.output) if self.output else folder_of(self.trainer) / WEIGHTS_NAME
            rank_zero_info(f"code coefficients written to {self.network.save(path, self.provenance)}")

    def _check_trained(self, verb: str) -> None:
        if self.trainer.ckpt_path is None and not self._trained:
            raise InputError(
                f"expected a trained network to {verb}, got an untrained one; add --ckpt_path with a checkpoint of its run"
            )

    def _loss(self, predicted: Tensor, fitted: Tensor) -> Float[Tensor, ""]:
        deviations = self.fitted_std if self.settings.normalised else None
        return coefficient_loss(predicted, fitted, self.network.sizes, deviations)

    @torch.no_grad()
    def _measure(self, batch: FittedBatch, prefix: str, pictures: bool = False) -> None:
        """Errors of held-out codes, by component, of the network and of what it is compared with."""
        sizes, count = self.network.sizes, len(batch.codes)
        read = {"": self.network(batch.codes), "_of_mean": self.fitted_mean.expand(count, -1)}
        if self.reference is not None:
            read["_of_f"] = self.reference(batch.codes)
        fitted = FaceParameters.unpack(batch.parameters, sizes)
        landmarks = self.renderer.project_landmarks(fitted)
        images = self.generator.synthesis(batch.codes, noise="const").clamp(-1, 1) if pictures else None
        figures: dict[str, Tensor] = {}
        for suffix, packed in read.items():
            found = FaceParameters.unpack(packed, sizes)
            errors = {"loss": self._loss(packed, batch.parameters), **coefficient_errors(found, fitted)}
            errors["landmarks_px"] = landmark_error(self.renderer.project_landmarks(found), landmarks).mean()
            if images is not None:
                errors["colours"] = colour_error(self.renderer, found, images).mean()
            figures.update({f"{prefix}/{name}{suffix}": value for name, value in errors.items()})
        if images is not None:
            figures[f"{prefix}/colours_of_fit"] = colour_error(self.renderer, fitted, images).mean()
        shown = f"{prefix}/rotation_deg"
        log_means(self, {shown: figures.pop(shown)}, count, prog_bar=True)
        log_means(self, figures, count)
