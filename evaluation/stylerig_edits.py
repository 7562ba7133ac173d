"""Measurement of pose edits: is the head turned as asked, and what else changes, against style mixing for the same rotation."""

import math
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

import torch
import torch.distributed as distributed
from jaxtyping import Float
from pytorch_lightning import Callback, LightningModule, Trainer
from torch import Tensor

from datamodules.latent_pairs import LatentPairs
from evaluation.picture_readers import JudgeReader, LandmarkReader, Reader, Reading
from evaluation.report import json_text, write_text
from lightning_modules.loggers import log_figures
from lightning_modules.run_folder import folder_of
from lightning_modules.stylerig import StyleRig
from models.morphable import FaceParameters
from models.observers import load_judge
from models.stylegan2 import Generator
from models.stylerig import FaceReconstruction, RigNet
from renderers.errors import InputError
from renderers.rotation import rotation_distance

# Edited codes of (codes to edit, codes whose component they are to take).
Transfer = Callable[[Tensor, Tensor], Tensor]


def transfer_by(rignet: RigNet, face_reconstruction: FaceReconstruction) -> Transfer:
    """StyleRig's mixing (section 8.1): codes with the controlled components of other codes."""

    def transfer(codes: Tensor, sources: Tensor) -> Tensor:
        return rignet(codes, face_reconstruction(sources))

    return transfer


def coarse_layers_of(count: int) -> Transfer:
    """Style mixing (Karras et al. 2019): the first `count` layers of the sources."""

    def transfer(codes: Tensor, sources: Tensor) -> Tensor:
        return torch.cat([sources[:, :count], codes[:, count:]], dim=1)

    return transfer


def with_rotation(
    rignet: RigNet,
    face_reconstruction: FaceReconstruction,
    codes: Float[Tensor, "batch layers width"],
    rotation: Float[Tensor, "batch 3"],
) -> Float[Tensor, "batch layers width"]:
    """Codes edited to an absolute rotation (Euler radians), everything else as reconstructed."""
    parameters: FaceParameters = face_reconstruction.parameters_of(codes)
    return rignet(codes, parameters.replace(rotation=rotation).pack())


@dataclass(frozen=True)
class TransferMeasurement:
    """What a transfer of the rotation did, medians over pairs.

    Attributes:
        turn_deg: Angle between the rotation achieved and the code's own: how far the head was turned.
        rotation_error_deg: Angle between the rotation achieved and the source's.
        axis_error_deg: Absolute differences in pitch, yaw and roll.
        changes: How far each property that should stay has moved: see `evaluation.reading_changes`.
    """

    turn_deg: float
    rotation_error_deg: float
    axis_error_deg: dict[str, float]
    changes: dict[str, float]


@dataclass(frozen=True)
class RotationEditMeasurement:
    """Pose edits over unseen pairs, read by one reader.

    Attributes:
        pairs: Number of pairs (w, v): the pose of v is asked of w.
        unedited: w itself against v: the error that an edit has to remove.
        edited: StyleRig's.
        mixing: Style mixing with 1, 2, ... coarse layers of v, up to the first that turns the head as exactly as StyleRig.
        error_ratio: Rotation error edited over unedited; infinite where nothing was asked.
        yaw_slope: Yaw achieved per yaw asked, both from w's own (least squares; 1 is exact); NaN where no yaw was asked.
        change_ratio: Change of each kept property by StyleRig over that by style mixing for the same rotation error,
            interpolated between the numbers of layers on both sides of it. Infinite where style mixing changes nothing for it, as
            for an edit that turns heads no better than none. Empty for readers of the pose alone.
    """

    pairs: int
    unedited: TransferMeasurement
    edited: TransferMeasurement
    mixing: dict[int, TransferMeasurement]
    error_ratio: float
    yaw_slope: float
    change_ratio: dict[str, float]

    def as_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return asdict(self)


@torch.no_grad()
def measure_rotation_edits(
    generator: Generator,
    transfer: Transfer,
    reader: Reader,
    w: Float[Tensor, "pairs layers width"],
    v: Float[Tensor, "pairs layers width"],
    batch_size: int = 50,
) -> RotationEditMeasurement:
    """Ask the pose of v of w, pair by pair, and read what came.

    Args:
        generator: The generator of the codes.
        transfer: The edit to measure.
        reader: Reads pictures: the judge, which took no part in the training, where it knows such pictures.
        w, v: Codes of unseen pairs.
        batch_size: Pictures at a time.
    """

    def read(codes: Tensor) -> Reading:
        readings = [reader.read(generator.synthesis(part).clamp(-1, 1)) for part in codes.split(batch_size)]
        return type(readings[0])(*(torch.cat(values) for values in zip(*readings, strict=True)))

    own, source, edited = read(w), read(v), read(transfer(w, v))
    unedited_result, edited_result = compare_readings(reader, own, own, source), compare_readings(reader, edited, own, source)
    mixing: dict[int, TransferMeasurement] = {}
    for count in range(1, generator.num_layers + 1):
        mixing[count] = compare_readings(reader, read(coarse_layers_of(count)(w, v)), own, source)
        if mixing[count].rotation_error_deg <= edited_result.rotation_error_deg:
            break
    asked, achieved = (source.rotation - own.rotation)[:, 1], (edited.rotation - own.rotation)[:, 1]
    same_rotation = _changes_at(edited_result.rotation_error_deg, [unedited_result, *mixing.values()])
    return RotationEditMeasurement(
        pairs=len(w),
        unedited=unedited_result,
        edited=edited_result,
        mixing=mixing,
        error_ratio=_ratio(edited_result.rotation_error_deg, unedited_result.rotation_error_deg),
        # Tensors divide zero by zero to NaN.
        yaw_slope=float((asked * achieved).sum() / asked.square().sum()),
        change_ratio={name: _ratio(edited_result.changes[name], same_rotation[name]) for name in same_rotation},
    )


def compare_readings(reader: Reader, result: Reading, own: Reading, source: Reading) -> TransferMeasurement:
    """What a result shows against what it was made of (`own`) and the pose that it was asked (`source`)."""
    turn, error = (rotation_distance(result.rotation, other.rotation).rad2deg().median() for other in (own, source))
    axes = (result.rotation - source.rotation).rad2deg().abs().median(dim=0).values.tolist()
    changes = {name: float(change.median()) for name, change in reader.changes(own, result).items()}
    by_axis = dict(zip(("pitch", "yaw", "roll"), axes, strict=True))
    return TransferMeasurement(float(turn), float(error), by_axis, changes)


def _ratio(value: float, reference: float) -> float:
    return value / reference if reference > 0 else math.inf


def _changes_at(error: float, steps: list[TransferMeasurement]) -> dict[str, float]:
    """Changes of style mixing at a rotation error, linear between the last two steps, which lie on both sides of it."""
    before, after = steps[-2], steps[-1]
    span = before.rotation_error_deg - after.rotation_error_deg
    share = (before.rotation_error_deg - error) / span if span > 0 else 1.0
    share = min(max(share, 0.0), 1.0)
    return {name: before.changes[name] + share * (after.changes[name] - before.changes[name]) for name in after.changes}


class RotationEdits(Callback):
    """Measures pose edits on the test pairs of a `lightning test` run, or on the validation pairs at the end of a fit.

    Writes ``rotation_edits.json`` into the run's folder and logs the main figures, over the pairs of all ranks.

    Args:
        judge: Weights of the judge; null reads the pose alone, by fitting the mean landmarks to those that the module's
            landmark network sees, as for generators of pictures that the judge was not trained for.
    """

    FILE = "rotation_edits.json"

    def __init__(self, judge: str | None = None) -> None:
        self._judge = load_judge(judge) if judge is not None else None
        self._pairs: list[LatentPairs] = []

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        if not isinstance(pl_module, StyleRig) or "rotation" not in pl_module.rignet.components:
            raise InputError(
                "expected a StyleRig that controls rotation to measure pose edits of, got another module; "
                "remove the callback evaluation.stylerig_edits.RotationEdits"
            )

    def on_validation_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._pairs = []

    def on_test_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._pairs = []

    def on_validation_batch_end(
        self,
        trainer: Trainer,
        pl_module: LightningModule,
        outputs: Any,
        batch: LatentPairs,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        if trainer.sanity_checking:
            return
        # The pictures are made anew when they are measured: those of all pairs together may not fit into memory.
        self._pairs.append(LatentPairs(batch.indices, batch.w, batch.v))

    on_test_batch_end = on_validation_batch_end

    def on_test_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._measure(trainer, pl_module)

    def on_fit_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._measure(trainer, pl_module)

    def _measure(self, trainer: Trainer, pl_module: LightningModule) -> None:
        # Every rank takes part: another one may hold pairs where this one holds none.
        pairs = _of_all_ranks(self._pairs)
        if pairs is None or not trainer.is_global_zero:
            return
        assert isinstance(pl_module, StyleRig) and pl_module.face_reconstruction is not None
        reader: Reader = (
            LandmarkReader(pl_module.landmarker, pl_module.face_model, pl_module.scene.camera)
            if self._judge is None
            else JudgeReader(self._judge.to(pl_module.device))
        )
        measurement = measure_rotation_edits(
            pl_module.generator,
            transfer_by(pl_module.rignet, pl_module.face_reconstruction),
            reader,
            pairs.w.to(pl_module.device),
            pairs.v.to(pl_module.device),
        )
        write_text(folder_of(trainer) / self.FILE, json_text(measurement.as_dict()))
        if not math.isfinite(measurement.error_ratio):
            return
        figures = {
            "edit/rotation_error_deg": measurement.edited.rotation_error_deg,
            "edit/rotation_error_ratio": measurement.error_ratio,
        }
        log_figures(trainer, figures)


def _of_all_ranks(batches: list[LatentPairs]) -> LatentPairs | None:
    """The codes that all ranks have kept, on the CPU and in the order of their indices; None without any. Each is called with its own."""
    kept = [tuple(values.cpu() for values in batch[:3]) for batch in batches]
    if distributed.is_available() and distributed.is_initialized():
        gathered: list[Any] = [None] * distributed.get_world_size()
        distributed.all_gather_object(gathered, kept)
        kept = [batch for of_rank in gathered for batch in of_rank]
    if not kept:
        return None
    indices, w, v = (torch.cat(values) for values in zip(*kept, strict=True))
    order = indices.argsort()
    return LatentPairs(indices[order], w[order], v[order])
