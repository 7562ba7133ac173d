"""Readers of pictures, by which edits are measured: the judge, or a fit of landmarks that reads the pose alone."""

from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor, nn

from evaluation.pose_from_landmarks import fit_pose
from evaluation.reading_changes import reading_change
from models.morphable import MorphableModel
from models.observers import Judge, JudgeReading
from renderers.camera import PerspectiveCamera

# The jaw line (0..16) is an outline that slides over the face as it turns, no fixed set of points.
_JAW = 17


class PoseReading(NamedTuple):
    """What a reader of the pose alone sees: (batch, 3) Euler radians."""

    rotation: Float[Tensor, "batch 3"]


Reading = JudgeReading | PoseReading


class JudgeReader:
    """Reads pictures by the judge."""

    def __init__(self, judge: Judge) -> None:
        self.judge = judge

    def read(self, images: Float[Tensor, "batch 3 size size"]) -> Reading:
        """Everything that the judge reads."""
        return self.judge(images)

    def changes(self, before: Reading, after: Reading) -> dict[str, Tensor]:
        """(batch) changes of what a pose edit should leave alone: see `evaluation.reading_changes`."""
        assert isinstance(before, JudgeReading) and isinstance(after, JudgeReading)
        change = reading_change(self.judge, before, after)
        return {"expression": change.expression, "illumination": change.illumination, "identity": change.identity}


class LandmarkReader:
    """Reads the pose alone, by fitting the mean face's landmarks to those that a network sees: for pictures no judge knows.

    Where the network is the one of the training's landmark loss, the reading is not independent of the training.
    """

    def __init__(self, landmarker: nn.Module, face_model: MorphableModel, camera: PerspectiveCamera) -> None:
        self.landmarker = landmarker
        self.shape = face_model.mean_shape[face_model.landmark_indices]
        self.weights = (torch.arange(len(self.shape), device=self.shape.device) >= _JAW).float()
        self.camera = camera

    def read(self, images: Float[Tensor, "batch 3 size size"]) -> Reading:
        """The pose of the fit."""
        fit = fit_pose(self.landmarker(images), self.shape, images.shape[-1], self.camera, self.weights)
        return PoseReading(fit.rotation.float())

    def changes(self, before: Reading, after: Reading) -> dict[str, Tensor]:
        """Nothing: landmarks alone do not tell expression, light and identity apart."""
        return {}


Reader = JudgeReader | LandmarkReader
