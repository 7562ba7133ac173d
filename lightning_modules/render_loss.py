"""The rerendering loss of StyleRig (equation 1): photometric over the rendered face, and landmarks."""

from dataclasses import dataclass
from typing import NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn import functional

from models.morphable import FaceParameters
from renderers.errors import InputError
from renderers.face_renderer import FaceRenderer
from renderers.images import to_unit

# StyleRig compares 66 landmarks: the usual 68 less the two inner corners of the mouth (0-based).
LEFT_OUT_LANDMARKS = (60, 64)
# The share of a portrait's pixels that the face model covers; see `RenderLoss`. About 0.3 in FFHQ-like crops.
NOMINAL_FACE_SHARE = 0.3


class RenderLossTerms(NamedTuple):
    """Means over the batch, or the terms of each sample.

    Attributes:
        total: photometric_weight * photometric + landmark_weight * landmark.
        photometric: Unweighted.
        landmark: Unweighted.
    """

    total: Float[Tensor, "*batch"]
    photometric: Float[Tensor, "*batch"]
    landmark: Float[Tensor, "*batch"]


@dataclass(frozen=True)
class RenderLossWeights:
    """Weights of the rerendering loss.

    Attributes:
        landmark: lambda_land. StyleRig's supplement gives 17.5 for pose, 100.0 for expression, 7.8 for illumination, and none
            for face reconstruction.
        photometric: Of the photometric term, 1 in the paper.
        normalised: Divide by numbers of pixels so that weights mean the same at any resolution; false for the published sums.
        robust: Residual of a pixel (length of the RGB difference, colours in [0, 1]) above which its weight falls, as for
            hair, glasses and shadows that the face model lacks (Geman and McClure's function); null for the paper's squares.
        robust_landmarks: Likewise for the distance of a landmark, as a share of the image's height, for pictures in which the
            landmark network errs; null for the paper's squares.
    """

    landmark: float = 17.5
    photometric: float = 1.0
    normalised: bool = True
    robust: float | None = None
    robust_landmarks: float | None = None

    def __post_init__(self) -> None:
        bounds = [bound for bound in (self.robust, self.robust_landmarks) if bound is not None]
        if self.landmark < 0 or self.photometric < 0 or any(bound <= 0 for bound in bounds):
            raise InputError(
                f"expected weights of 0 or more and robust residuals above 0, got {self}; correct the weights"
            )


def landmarks_66(landmarks: Float[Tensor, "batch 68 2"]) -> Float[Tensor, "batch 66 2"]:
    """The 66 landmarks of StyleRig from the usual 68."""
    return landmarks[:, _kept(landmarks.device)]


class RenderLoss(nn.Module):
    """L_render(I, p) = L_photo + lambda_land L_land, with L_photo = || M (I - R(p)) ||^2 and L_land = || L_I - L_M ||^2.

    M is the pixels that the rendered face covers; it carries no gradient. Colours are in [0, 1], landmarks in pixels of the
    rendering, both our reading of the paper, under which its weights balance the terms.

    Normalised, L_photo is divided by the number of pixels of M, and L_land by `NOMINAL_FACE_SHARE` of the image's pixels.
    Where the face covers just that share, both are divided by the same number, so the published weights keep their balance;
    and neither changes with resolution, since squared pixel distances grow as the number of pixels does.

    Args:
        renderer: Draws the face; its image size is that of the loss.
        weights: Weights and normalisation.
    """

    def __init__(self, renderer: FaceRenderer, weights: RenderLossWeights) -> None:
        super().__init__()
        self.renderer = renderer
        self.weights = weights

    def targets(
        self, images: Float[Tensor, "batch 3 height width"], landmarks: Float[Tensor, "batch 68 2"]
    ) -> tuple[Float[Tensor, "batch 3 rows columns"], Float[Tensor, "batch 66 2"]]:
        """Pictures in [-1, 1] with their 68 landmarks in pixels, brought to the renderer's size, colour range and 66 points."""
        size = self.renderer.image_size
        scale = torch.tensor([size[1] / images.shape[3], size[0] / images.shape[2]], device=images.device)
        if images.shape[2:] != size:
            images = functional.interpolate(images, size=size, mode="area")
        return to_unit(images), landmarks_66(landmarks) * scale

    def forward(
        self,
        target: Float[Tensor, "batch 3 rows columns"],
        landmarks: Float[Tensor, "batch 66 2"],
        parameters: FaceParameters,
    ) -> RenderLossTerms:
        """The loss of parameters against pictures, from `targets`."""
        photometric, landmark = (values.mean() for values in self._each(target, landmarks, parameters))
        return self._weighted(photometric, landmark)

    def of_each(
        self,
        target: Float[Tensor, "batch 3 rows columns"],
        landmarks: Float[Tensor, "batch 66 2"],
        parameters: FaceParameters,
    ) -> RenderLossTerms:
        """As `forward`, with the terms of each sample, (batch,) each, in place of their means."""
        return self._weighted(*self._each(target, landmarks, parameters))

    def _weighted(self, photometric: Tensor, landmark: Tensor) -> RenderLossTerms:
        total = self.weights.photometric * photometric + self.weights.landmark * landmark
        return RenderLossTerms(total, photometric, landmark)

    def _each(
        self, target: Tensor, landmarks: Tensor, parameters: FaceParameters
    ) -> tuple[Float[Tensor, " batch"], Float[Tensor, " batch"]]:
        """The photometric and the landmark term of each sample."""
        height, width = self.renderer.image_size
        weights = self.weights
        if weights.photometric > 0:
            render = self.renderer(parameters)
            predicted = render.landmarks
            photometric = self._photometric(target, render.image, render.mask[:, 0])
        else:
            predicted = self.renderer.project_landmarks(parameters)
            photometric = target.new_zeros(len(target))
        squared = (landmarks - landmarks_66(predicted)).square().sum(dim=2)
        if weights.robust_landmarks is not None:
            squared = _bounded(squared, weights.robust_landmarks * height)
        squared = squared.sum(dim=1)
        return photometric, (squared / (NOMINAL_FACE_SHARE * height * width) if weights.normalised else squared)

    def _photometric(self, target: Tensor, image: Tensor, mask: Tensor) -> Float[Tensor, " batch"]:
        squared = (target - image).square().sum(dim=1)
        if self.weights.robust is not None:
            squared = _bounded(squared, self.weights.robust)
        summed = (mask * squared).sum(dim=(1, 2))
        # A face that has left the picture covers no pixel.
        return summed / mask.sum(dim=(1, 2)).clamp_min(1) if self.weights.normalised else summed


def _bounded(squared: Float[Tensor, "*shape"], bound: float) -> Float[Tensor, "*shape"]:
    """Geman and McClure's function: the square for small residuals, at most bound^2 for large ones."""
    return squared / (1 + squared / bound**2)


def _kept(device: torch.device) -> Int[Tensor, "66"]:
    return torch.tensor([i for i in range(68) if i not in LEFT_OUT_LANDMARKS], device=device)
