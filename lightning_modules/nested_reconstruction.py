"""The training of a face reconstruction within another run, where none is given."""

from dataclasses import dataclass, field
from pathlib import Path

from pytorch_lightning import Trainer
from pytorch_lightning.utilities import rank_zero_info

from datamodules.latent_pairs import LatentPairDataModule, PairRecipe
from lightning_modules.face_reconstruction import DifferentiableFaceReconstruction, FaceReconstructionSettings
from lightning_modules.face_scene import FaceScene
from lightning_modules.render_loss import RenderLossWeights
from renderers.errors import InputError


def _demo_settings() -> FaceReconstructionSettings:
    """Those of `configs/demo/face_reconstruction.yaml`: controls of every component need an F that sees the light, too."""
    return FaceReconstructionSettings(
        loss=RenderLossWeights(landmark=17.5, photometric=50.0, robust=0.3, robust_landmarks=0.1),
        regulariser=0.004,
        expression_deviation=0.4,
        reflectance_ratio=1.0,
        illumination_ratio=2.0,
        landmark_steps=50,
    )


@dataclass(frozen=True)
class FaceReconstructionRun:
    """The training of a face reconstruction where none is given, by default as `configs/demo/face_reconstruction.yaml` trains it.

    Attributes:
        steps: Training steps.
        batch_size: Pairs per step.
        settings: Network, loss and optimiser.
    """

    steps: int = 1500
    batch_size: int = 16
    settings: FaceReconstructionSettings = field(default_factory=_demo_settings)

    def __post_init__(self) -> None:
        if self.steps < 1 or self.batch_size < 1:
            raise InputError(f"expected at least 1 step of 1 pair, got {self.steps} steps of {self.batch_size}; raise them")

    def train(
        self, outer: Trainer, generator: str, landmarker: str, scene: FaceScene, recipe: PairRecipe, output: Path
    ) -> None:
        """Train on the device and under the precision of the outer run, on pairs that follow from their indices as its own do.

        Args:
            outer: Trainer of the outer run.
            generator, landmarker, scene: See `DifferentiableFaceReconstruction`.
            recipe: Of the outer run's pairs.
            output: File that the trained weights go to.

        Raises:
            InputError: for an outer run of several processes, of which all but one would wait.
        """
        if outer.world_size > 1:
            raise InputError(
                "expected a trained face_reconstruction for a run of several processes, got null; train it first by "
                "'lightning fit --config configs/demo/face_reconstruction.yaml' and name its weights"
            )
        rank_zero_info(f"no face reconstruction given: training one for this generator, {self.steps} steps")
        module = DifferentiableFaceReconstruction(generator, landmarker, scene, self.settings, str(output))
        data = LatentPairDataModule(
            batch_size=self.batch_size,
            train_pairs=self.steps * self.batch_size,
            max_latents=recipe.max_latents,
            truncation=recipe.truncation,
            seed=recipe.seed,
        )
        device = outer.strategy.root_device
        bar = outer.progress_bar_callback
        Trainer(
            max_steps=self.steps,
            max_epochs=-1,
            accelerator=device.type,
            devices=1 if device.index is None else [device.index],
            precision=outer.precision,
            logger=False,
            callbacks=[] if bar is None else [type(bar)()],
            enable_progress_bar=bar is not None,
            enable_checkpointing=False,
            enable_model_summary=False,
            limit_val_batches=0,
            default_root_dir=outer.default_root_dir,
        ).fit(module, data)
