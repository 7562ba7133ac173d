"""Readers of generated faces, by which edits are measured: the judge, the face reconstruction, or a fit of landmarks."""

from abc import ABC, abstractmethod
from typing import ClassVar, NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor, nn

from evaluation.pose_from_landmarks import fit_pose
from evaluation.reading_changes import ReadingChange, Spreads, reading_change
from models.morphable import FaceParameters, MorphableModel
from models.observers import Judge, JudgeReading
from models.stylerig import CONTROLLABLE, ParameterReader, PictureReconstruction, read_pictured
from renderers.camera import PerspectiveCamera
from renderers.rotation import rotation_distance

# The jaw line (0..16) is an outline that slides over the face as it turns, no fixed set of points.
_JAW = 17


class PoseReading(NamedTuple):
    """What a reader of the pose alone sees: (batch, 3) Euler radians."""

    rotation: Float[Tensor, "batch 3"]


Reading = JudgeReading | PoseReading


def unit_of(component: str) -> str:
    """The unit of distances in a component."""
    return "deg" if component == "rotation" else "spreads"


def join(readings: list[Reading]) -> Reading:
    """Readings of batches as one."""
    return type(readings[0])(*(torch.cat(values) for values in zip(*readings, strict=True)))


class Reader(ABC):
    """Reads face properties of generated pictures.

    Attributes:
        name: Who reads, as captions say it.
        components: What it reads of what a network can control.
    """

    name: str
    components: ClassVar[tuple[str, ...]]

    @abstractmethod
    def read(
        self, images: Float[Tensor, "batch 3 size size"], codes: Float[Tensor, "batch layers width"]
    ) -> Reading:
        """What the pictures in [-1, 1] of these codes show."""

    @abstractmethod
    def distance(self, component: str, before: Reading, after: Reading) -> Float[Tensor, " batch"]:
        """How far a component of `components` has moved: degrees for the rotation, else root mean squares in spreads."""

    @abstractmethod
    def changes(self, before: Reading, after: Reading, edited: str = "rotation") -> dict[str, Float[Tensor, " batch"]]:
        """Changes of what an edit of `edited` should leave alone, in the units of `distance`; keys in degrees end in _deg."""

    @abstractmethod
    def coefficients(self, component: str, reading: Reading) -> Float[Tensor, "batch coefficients"]:
        """The numbers of a component of `components`, in units in which they may be added up."""

    def features(self, reading: Reading) -> Float[Tensor, "batch features"] | None:
        """Feature vectors for Fréchet distances; None of readers that have none."""
        return None


class CoefficientReader(Reader):
    """A reader of every component, measured in spreads of its own readings."""

    components = CONTROLLABLE
    spreads: Spreads

    def distance(self, component: str, before: Reading, after: Reading) -> Float[Tensor, " batch"]:
        if component == "rotation":
            return rotation_distance(before.rotation, after.rotation).rad2deg()
        change = self._change(before, after)
        # Identity geometry is edited without the skin, which then is to stay.
        return change.geometry if component == "identity" else getattr(change, component)

    def changes(self, before: Reading, after: Reading, edited: str = "rotation") -> dict[str, Float[Tensor, " batch"]]:
        change = self._change(before, after)
        kept = {"rotation_deg": change.rotation_degrees} if edited != "rotation" else {}
        kept |= {name: getattr(change, name) for name in ("expression", "illumination") if name != edited}
        return kept | ({"reflectance": change.reflectance} if edited == "identity" else {"identity": change.identity})

    def coefficients(self, component: str, reading: Reading) -> Float[Tensor, "batch coefficients"]:
        return getattr(reading, component) / self.spreads.component_spread(component)

    def _change(self, before: Reading, after: Reading) -> ReadingChange:
        assert isinstance(before, JudgeReading) and isinstance(after, JudgeReading)
        return reading_change(self.spreads, before, after)


class JudgeReader(CoefficientReader):
    """Reads pictures by the judge."""

    name = "the judge, which took no part in the training"

    def __init__(self, judge: Judge) -> None:
        self.judge = judge
        self.spreads = judge

    def read(self, images: Float[Tensor, "batch 3 size size"], codes: Float[Tensor, "batch layers width"]) -> Reading:
        return self.judge(images)

    def features(self, reading: Reading) -> Float[Tensor, "batch features"] | None:
        assert isinstance(reading, JudgeReading)
        return reading.features


class ReconstructionReader(CoefficientReader):
    """Reads codes by F, or their pictures by the face autoencoder in its place, where no judge knows these: what the training aimed
    at, not what an independent reader would see.

    Args:
        face_reconstruction: The rig's.
        parameter_std: Standard deviations of packed parameters over the training set: the units.
    """

    def __init__(self, face_reconstruction: ParameterReader, parameter_std: Float[Tensor, " total"]) -> None:
        who = "autoencoder" if isinstance(face_reconstruction, PictureReconstruction) else "reconstruction F"
        self.name = f"the face {who}, which the training itself used: no judge was given"
        self.face_reconstruction = face_reconstruction
        self.parameter_std = parameter_std
        self.spreads = self

    def component_spread(self, component: str) -> Tensor:
        """See `Spreads`."""
        return self.parameter_std[self.face_reconstruction.sizes.slice(component)]

    def read(self, images: Float[Tensor, "batch 3 size size"], codes: Float[Tensor, "batch layers width"]) -> Reading:
        read = read_pictured(self.face_reconstruction, codes, images)
        return reading_of(FaceParameters.unpack(read, self.face_reconstruction.sizes))


class LandmarkReader(Reader):
    """Reads the pose alone, by fitting the mean face's landmarks to those that a network sees: for pictures no judge knows.

    Where the network is the one of the training's landmark loss, the reading is not independent of the training.
    """

    name = "a fit of the mean face's landmarks to those of the training's landmark network"
    components = ("rotation",)

    def __init__(self, landmarker: nn.Module, face_model: MorphableModel, camera: PerspectiveCamera) -> None:
        self.landmarker = landmarker
        self.shape = face_model.mean_shape[face_model.landmark_indices]
        self.weights = (torch.arange(len(self.shape), device=self.shape.device) >= _JAW).float()
        self.camera = camera

    def read(self, images: Float[Tensor, "batch 3 size size"], codes: Float[Tensor, "batch layers width"]) -> Reading:
        fit = fit_pose(self.landmarker(images), self.shape, images.shape[-1], self.camera, self.weights)
        return PoseReading(fit.rotation.float())

    def distance(self, component: str, before: Reading, after: Reading) -> Float[Tensor, " batch"]:
        return rotation_distance(before.rotation, after.rotation).rad2deg()

    def changes(self, before: Reading, after: Reading, edited: str = "rotation") -> dict[str, Float[Tensor, " batch"]]:
        # Landmarks alone do not tell expression, light and identity apart.
        return {}

    def coefficients(self, component: str, reading: Reading) -> Float[Tensor, "batch coefficients"]:
        return reading.rotation


def reading_of(parameters: FaceParameters) -> JudgeReading:
    """Known parameters as a reading, without features."""
    return JudgeReading(
        rotation=parameters.rotation,
        expression=parameters.expression,
        illumination=parameters.illumination,
        identity=parameters.identity,
        reflectance=parameters.reflectance,
        features=parameters.rotation.new_zeros(len(parameters), 0),
    )
