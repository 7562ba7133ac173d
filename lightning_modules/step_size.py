"""Training of Fyaw(w, a): the step along the yaw direction after which a code's picture shows a yaw (StyleFaceUV section 3.2.2)."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import torch
from jaxtyping import Float
from pytorch_lightning.utilities import rank_zero_info
from pytorch_lightning.utilities.types import OptimizerLRScheduler
from torch import Tensor

from datamodules.counter_random import sample_keys, uniform
from datamodules.latent_pairs import LatentPairs
from lightning_modules.face_reconstruction import optimiser_of
from lightning_modules.face_scene import FaceScene
from lightning_modules.frozen import freeze, leave_unsynchronised
from lightning_modules.measured import MeasuredModule
from lightning_modules.reduction import log_means
from lightning_modules.run_folder import folder_of
from models.latent_directions import load_directions
from models.stylefaceuv import RELEASED_HIDDEN, MirrorStep, StepSize
from models.stylefaceuv.loading import CodeReader, load_code_reader, require_other_reader
from models.stylegan2 import load_generator
from models.stylerig import Provenance
from renderers.errors import InputError

WEIGHTS_NAME = "step_size.safetensors"
# Of the random numbers that say which angles a training pair is turned to.
_STREAM = 6
# Angles that a network is measured at: so many within those it is trained for, and degrees beyond them.
_WITHIN = 7
_BEYOND_DEG = (15.0, 30.0)


@dataclass(frozen=True)
class StepSizeSettings:
    """How Fyaw is trained. The paper leaves all of it open; what the release does is said beside each.

    Attributes:
        form: "any" for any target angle, the paper's; "mirror" for the release's, which knows the mirrored yaw alone.
        hidden: Widths of the hidden layers, as multiples of the code's width; the release's are 9, 6, 3 and 1.
        normalised: Codes are whitened, and outputs count in deviations of the codes along the direction. False: both as they are, as in
            the release, with a direction of length 1 over all layers.
        largest_angle_deg: Targets of training are uniform up to this, to either side; not for the form "mirror".
        learning_rate: Of Adam: 1e-3 in the release.
        decay: Let it fall to zero along a half cosine over the run.
    """

    form: Literal["any", "mirror"] = "any"
    hidden: Sequence[int] = RELEASED_HIDDEN
    normalised: bool = True
    largest_angle_deg: float = 45.0
    learning_rate: float = 1e-3
    decay: bool = True

    def __post_init__(self) -> None:
        if not (self.learning_rate > 0 and 0 < self.largest_angle_deg < 90):
            raise InputError(
                "expected a positive learning rate and a largest angle between 0 and 90 degrees, got "
                f"{self.learning_rate} and {self.largest_angle_deg}; correct them"
            )


class StepSizeModule(MeasuredModule):
    """L1 distance of the yaw that F3D reads of w + Fyaw(w, a) d from a. At the end of the fit the weights are written.

    Batches are `LatentPairs`, whose pictures are not needed: `images: false`. Figures, in degrees, are mean absolute differences of the
    yaw that is read from the one asked: `error_deg` over angles as trained, `error_deg_outside` beyond them, `mirror_error_deg` at the
    mirrored yaw, where nothing else is said of the reader that was trained through; those of the second reader end in `_seen`. What
    codes would give that are not moved ends in `_unmoved`.
    """

    def __init__(
        self,
        generator: str,
        coefficients: str,
        directions: str,
        direction: str = "yaw",
        scene: FaceScene = FaceScene(),
        settings: StepSizeSettings = StepSizeSettings(),
        second_reader: str | None = None,
        output: str | None = None,
    ) -> None:
        """
        Args:
            generator: StyleGAN2 checkpoint whose codes are moved.
            coefficients: Weights of F3D, which reads the yaw of codes; or of StyleRig's F or a face encoder in its place.
            directions: File of `lightning directions`.
            direction: Name of the yaw's direction in it.
            scene: Face model and camera that `coefficients` was trained with.
            settings: Network and optimiser.
            second_reader: Weights as `coefficients` that took no part in the training, by which `test` measures too; null for none.
            output: File that the trained weights go to; null for step_size.safetensors in the run's folder.

        Raises:
            InputError: for files that are missing, broken or do not fit each other, and a second reader that is the first.
        """
        super().__init__()
        if second_reader is not None:
            require_other_reader(coefficients, second_reader)
        self.generator = freeze(load_generator(generator))
        self.provenance = Provenance.of(self.generator, scene.load_face_model(), scene.camera)
        self.reader = freeze(load_code_reader(coefficients, self.provenance, self.generator))
        self.second_reader = (
            None if second_reader is None else freeze(load_code_reader(second_reader, self.provenance, self.generator))
        )
        found = load_directions(directions)
        found.require(self.generator)
        yaw, layers = found.named(direction), self.generator.num_layers
        form = StepSize if settings.form == "any" else MirrorStep
        self.network: StepSize | MirrorStep = form(layers, self.generator.w_dim, settings.hidden)
        normal = yaw.normal.expand(layers, -1)
        if settings.normalised:
            self.network.whiten_by(self.generator.mean_w, self.generator.std_w)
            self.network.move_along(normal, yaw.spread)
        else:
            self.network.move_along(normal / math.sqrt(layers))
        self.settings, self.output = settings, output
        self._trained = False

    def setup(self, stage: str) -> None:
        leave_unsynchronised(
            self, self.generator, self.reader, *([] if self.second_reader is None else [self.second_reader])
        )

    def forward(
        self, codes: Float[Tensor, "batch layers width"], yaw: Float[Tensor, " batch"]
    ) -> Float[Tensor, "batch layers width"]:
        """Codes moved to yaws, in radians.

        Raises:
            InputError: from a network that knows the mirrored yaw alone.
        """
        if isinstance(self.network, MirrorStep):
            raise InputError(
                "expected a network for any angle, this one knows the mirrored yaw alone; train the form any"
            )
        return self.network.turned(codes, yaw)

    def training_step(self, batch: LatentPairs, batch_idx: int) -> Float[Tensor, ""]:
        codes = torch.cat([batch.w, batch.v])
        if isinstance(self.network, StepSize):
            target = self._targets(batch)
            moved = self.network.turned(codes, target)
        else:
            target = -_yaw(self.reader, codes)
            moved = self.network.mirrored(codes, -target)
        loss = (_yaw(self.reader, moved) - target).abs().mean()
        self.log("train/loss", loss, sync_dist=True)
        self.log("train/error_deg", loss.detach().rad2deg(), prog_bar=True, sync_dist=True)
        return loss

    def check_trained(self, verb: str) -> None:
        if self.trainer.ckpt_path is None and not self._trained:
            raise InputError(
                f"expected a trained step size to {verb}, got an untrained one; add --ckpt_path with a checkpoint of its run"
            )

    @torch.no_grad()
    def measure(self, batch: LatentPairs, prefix: str) -> None:
        codes = torch.cat([batch.w, batch.v])
        readers: dict[str, CodeReader] = {"": self.reader}
        if self.second_reader is not None and prefix == "test":
            readers["_seen"] = self.second_reader
        shown = f"{prefix}/{'error_deg' if isinstance(self.network, StepSize) else 'mirror_error_deg'}"
        figures: dict[str, Tensor] = {}
        for suffix, reader in readers.items():
            own = _yaw(reader, codes)
            # The network is asked for what it was trained for: the mirror of the yaw as the first reader sees it.
            mirrored = self.network.mirrored(codes, _yaw(self.reader, codes))
            figures[f"mirror_error_deg{suffix}"] = _mean_degrees(_yaw(reader, mirrored), -own)
            figures[f"mirror_error_deg{suffix}_unmoved"] = _mean_degrees(own, -own)
            if isinstance(self.network, StepSize):
                figures.update(self._at_angles(self.network, reader, codes, own, suffix, prefix == "test"))
        named = {f"{prefix}/{name}": value for name, value in figures.items()}
        log_means(self, {shown: named.pop(shown)}, len(codes), prog_bar=True)
        log_means(self, named, len(codes))

    def configure_optimizers(self) -> OptimizerLRScheduler:
        return optimiser_of(
            self, list(self.network.parameters()), "adamw", self.settings.learning_rate, self.settings.decay
        )

    def on_fit_end(self) -> None:
        self._trained = True
        if self.trainer.is_global_zero:
            path = Path(self.output) if self.output else folder_of(self.trainer) / WEIGHTS_NAME
            rank_zero_info(f"step size written to {self.network.save(path, self.provenance)}")

    def _targets(self, batch: LatentPairs) -> Float[Tensor, " codes"]:
        """Radians for w and v of all pairs; they follow from the pairs' indices, as the pairs do."""
        draws = uniform(sample_keys(0, _STREAM, batch.indices), 2)
        return (2 * draws.T.flatten() - 1) * math.radians(self.settings.largest_angle_deg)

    def _at_angles(
        self, network: StepSize, reader: CodeReader, codes: Tensor, own: Tensor, suffix: str, each: bool
    ) -> dict[str, Tensor]:
        """Errors at angles within those of training and beyond them; of each angle if asked for, with the steps taken there."""
        largest = self.settings.largest_angle_deg
        within = torch.linspace(-largest, largest, _WITHIN).tolist()
        outside = [side * (largest + beyond) for side in (-1, 1) for beyond in _BEYOND_DEG]
        figures: dict[str, Tensor] = {}
        for name, angles in (("error_deg", within), ("error_deg_outside", outside)):
            errors = []
            for angle in angles:
                steps = network(codes, math.radians(angle))
                read = _yaw(reader, network.moved(codes, steps))
                errors.append(_mean_degrees(read, torch.full_like(read, math.radians(angle))))
                if each:
                    figures[f"error_deg_at_{angle:.0f}{suffix}"] = errors[-1]
                    figures[f"yaw_deg_at_{angle:.0f}{suffix}"] = read.rad2deg().mean()
                    if not suffix:
                        figures[f"step_at_{angle:.0f}"] = (steps.abs() / network.step_unit).mean()
            figures[f"{name}{suffix}"] = torch.stack(errors).mean()
        unmoved = [_mean_degrees(own, torch.full_like(own, math.radians(angle))) for angle in within]
        figures[f"error_deg{suffix}_unmoved"] = torch.stack(unmoved).mean()
        return figures


def _yaw(reader: CodeReader, codes: Float[Tensor, "batch layers width"]) -> Float[Tensor, " batch"]:
    """Radians that a reader sees of codes."""
    return reader.parameters_of(codes).rotation[:, 1]


def _mean_degrees(read: Float[Tensor, " batch"], asked: Float[Tensor, " batch"]) -> Float[Tensor, ""]:
    return (read - asked).abs().rad2deg().mean()
