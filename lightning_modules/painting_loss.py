"""What a warm-started generator is supervised by: the distance of its pictures from the portraits of the same latents."""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional

from lightning_modules.frozen import freeze
from models.observers import Judge, LandmarkNet, load_judge
from models.observers.judge import JUDGED_COMPONENTS
from models.observers.loading import load_landmark_detector
from models.stylegan2.losses import reconstruction_loss
from renderers.errors import InputError

# Weights of single landmarks: few points tell an expression and many an outline. They are ours.
_BROWS_AND_EYES, _MOUTH = (slice(17, 27), slice(36, 48)), slice(48, 68)
_BROWS_AND_EYES_WEIGHT, _MOUTH_WEIGHT = 1.5, 2.5
# Weights of what the reader reads; ours.
_READING_WEIGHTS = {"rotation": 2.0, "expression": 3.0, "illumination": 2.0, "identity": 1.0, "reflectance": 0.5}
# Side of the blocks of pixels over which the shading of a face is compared.
_SHADING_BLOCK = 4


@dataclass(frozen=True)
class PaintingWeights:
    """Weights of the terms of `PaintingLoss`; all are ours.

    Args:
        detail: Of the Laplacian term of `reconstruction_loss`, whose own weight is 1.
        face: Of the face's pixels by themselves, which background and hair outweigh in the whole picture.
        landmarks: Of the distance of landmarks, in pixels of a picture of 64.
        features: Of the landmark network's features.
        readings: Of the relative squared error of what the reader reads of pose, expression, light, shape and skin.
        reader_features: Of the reader's features.
    """

    detail: float = 1.0
    face: float = 0.0
    landmarks: float = 0.0
    features: float = 0.0
    readings: float = 0.0
    reader_features: float = 0.0


class PaintingLoss(nn.Module):
    """Distance of painted pictures from the portraits they should show.

    Besides the pixels of the whole picture: those of the face (L1 at full size and over blocks, which hold its shading), the landmarks that
    a frozen network reads in both, that network's features, and what a second one reads of the face parameters. Pixels alone say little
    about pitch and expression, which move few of them.

    Args:
        weights: Of the terms.
        landmarker: A landmark network of this project; needed where `weights` weigh landmarks or features, and only there.
        reader: A network of the judge's kind; needed where `weights` weigh readings or its features, and only there. It must not be
            the judge that measures the generator afterwards, but one that was trained apart from it.
    """

    landmark_weights: Tensor

    def __init__(self, weights: PaintingWeights, landmarker: str | None = None, reader: str | None = None) -> None:
        super().__init__()
        self.weights = weights
        reads = weights.landmarks > 0 or weights.features > 0
        if reads != (landmarker is not None):
            raise InputError(
                f"expected a landmark network exactly where landmarks or features are weighed, got {landmarker!r} with weights "
                f"{weights.landmarks} and {weights.features}; name one in warm_start.landmarker or set both weights to 0"
            )
        self.landmarker: LandmarkNet | None = None
        if landmarker is not None:
            network = load_landmark_detector(landmarker)
            if not isinstance(network, LandmarkNet):
                raise InputError(
                    f"expected a landmark network of this project, whose features are compared, got {landmarker}; name such weights"
                )
            self.landmarker = freeze(network)
        if (weights.readings > 0 or weights.reader_features > 0) != (reader is not None):
            raise InputError(
                f"expected a reader exactly where its readings or features are weighed, got {reader!r} with weights "
                f"{weights.readings} and {weights.reader_features}; name one in warm_start.reader or set both weights to 0"
            )
        self.reader: Judge | None = None if reader is None else freeze(load_judge(reader))
        emphasis = torch.ones(68, 1)
        for points in _BROWS_AND_EYES:
            emphasis[points] = _BROWS_AND_EYES_WEIGHT
        emphasis[_MOUTH] = _MOUTH_WEIGHT
        self.register_buffer("landmark_weights", emphasis / emphasis.mean(), persistent=False)

    def forward(
        self, painted: Float[Tensor, "batch 3 size size"], batch: dict[str, Tensor]
    ) -> tuple[Float[Tensor, ""], dict[str, Tensor]]:
        """The loss and its unweighted terms.

        Args:
            painted: Pictures of the first latents of the batch.
            batch: Portraits, with ``image`` (batch, 3, size, size) in [-1, 1] and, where the face is weighed, ``mask`` (batch, 1, size,
                size).
        """
        weights = self.weights
        portraits = batch["image"][: len(painted)]
        terms = {"pixels": reconstruction_loss(painted, portraits, weights.detail)}
        loss = terms["pixels"]
        if weights.face:
            if "mask" not in batch:
                raise InputError("expected masks of the portraits' faces, got none; set warm_start.painting.face to 0")
            terms["face"] = _face_distance(painted - portraits, batch["mask"][: len(painted)].to(painted.dtype))
            loss = loss + weights.face * terms["face"]
        if self.landmarker is not None:
            with torch.no_grad():
                true_points, true_maps = self.landmarker(portraits), self.landmarker.feature_maps(portraits)[:2]
            points, maps = self.landmarker(painted), self.landmarker.feature_maps(painted)[:2]
            distance = (points - true_points).abs() * self.landmark_weights * (64 / painted.shape[-1])
            terms["landmarks"] = distance.mean()
            terms["features"] = torch.stack(
                [(a.float() - b.float()).abs().mean() / b.float().std() for a, b in zip(maps, true_maps, strict=True)]
            ).sum()
            loss = loss + weights.landmarks * terms["landmarks"] + weights.features * terms["features"]
        if self.reader is not None:
            terms["readings"], terms["reader_features"] = _reader_distances(self.reader, painted, portraits)
            loss = loss + weights.readings * terms["readings"] + weights.reader_features * terms["reader_features"]
        return loss, {name: term.detach() for name, term in terms.items()}


def _face_distance(difference: Tensor, mask: Tensor) -> Float[Tensor, ""]:
    """L1 over the face's pixels, plus L1 of means over blocks, both per pixel of face."""
    inside = difference * mask
    share = mask.mean().clamp_min(1e-6)
    return (inside.abs().mean() + functional.avg_pool2d(inside, _SHADING_BLOCK).abs().mean()) / share


def _reader_distances(reader: Judge, painted: Tensor, portraits: Tensor) -> tuple[Float[Tensor, ""], Float[Tensor, ""]]:
    """Squared error of the readings over their variance among the portraits, weighed by component, and L1 of features in their spread."""
    with torch.no_grad():
        true_features = reader.features(portraits)
        true = reader.split(reader.standardised(true_features))
    features = reader.features(painted)
    read = reader.split(reader.standardised(features))
    errors = [
        _READING_WEIGHTS[name] * (read[name] - true[name]).square().mean() / _variance(true[name])
        for name in JUDGED_COMPONENTS
    ]
    return torch.stack(errors).sum(), (features - true_features).abs().mean() / _variance(true_features).sqrt()


def _variance(values: Float[Tensor, "batch values"]) -> Float[Tensor, ""]:
    """Mean square about the batch's mean: a reading that tells portraits little apart varies little and so counts little."""
    return (values - values.mean(dim=0)).square().mean().clamp_min(1e-6)
