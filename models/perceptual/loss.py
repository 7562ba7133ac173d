"""The distance of pictures by their feature maps, and where the features come from."""

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional

from models.observers.identity import IdentityNet
from models.observers.landmarks import LandmarkNet
from models.observers.loading import load_face_embedder, load_landmark_detector
from models.perceptual.features import FeatureExtractor, ObserverFeatures
from models.perceptual.vgg16 import IMAGE2STYLEGAN_LAYERS, Vgg16Features, download_vgg16, read_vgg16
from models.weights import asset_path
from renderers.errors import InputError

_LOG = logging.getLogger(__name__)

# Added to squared lengths of feature vectors, which may be zero. Zhang et al. 2018 leave it open; small beside any of VGG's.
_EPSILON = 1e-10
VGG16 = "vgg16"
OBSERVERS = "observers"


class PerceptualLoss(nn.Module):
    """Squared differences of feature maps, summed over layers (Abdal et al. 2019, equation 2, with weights of 1).

    With `normalise`, feature vectors have unit length at each pixel first (Zhang et al. 2018, equation 1, without its
    learnt weights; LiftedGAN). With several `scales`, the mean over pictures reduced by these factors (LiftedGAN).

    Args:
        features: what pictures are compared by.
        normalise: whether feature vectors are scaled to unit length at each pixel.
        scales: factors that pictures are reduced by before the features, each a mean over blocks of pixels.
        reduction: each layer's mean over channels and pixels, or its sum as in PIE's equation 7.
    """

    def __init__(
        self,
        features: FeatureExtractor,
        normalise: bool = False,
        scales: Sequence[int] = (1,),
        reduction: Literal["mean", "sum"] = "mean",
    ) -> None:
        super().__init__()
        if not scales or min(scales) < 1:
            raise InputError(
                f"expected factors of 1 and more to reduce pictures by, got {tuple(scales)}; give at least one"
            )
        self.features = features
        self.normalise = normalise
        self.scales = tuple(scales)
        self.reduction = reduction

    @property
    def name(self) -> str:
        """Which features these are and where their weights come from."""
        return self.features.name

    def feature_maps(self, images: Float[Tensor, "batch 3 size size"]) -> list[Tensor]:
        """What pictures (B, 3, S, S) in [-1, 1] are compared by, for `distance`: a fixed target needs it once only."""
        maps: list[Tensor] = []
        for scale in self.scales:
            maps += self.features(functional.avg_pool2d(images, scale) if scale > 1 else images)
        # Squares of what half precision holds may exceed it.
        maps = [values.to(torch.promote_types(values.dtype, torch.float32)) for values in maps]
        if self.normalise:
            maps = [values * (values.square().sum(dim=1, keepdim=True) + _EPSILON).rsqrt() for values in maps]
        return maps

    def distance(self, first: Sequence[Tensor], second: Sequence[Tensor]) -> Float[Tensor, " batch"]:
        """Distance per picture, of two results of `feature_maps`.

        Raises: `InputError` unless the maps have the same shapes.
        """
        shapes, others = ([tuple(values.shape) for values in maps] for maps in (first, second))
        if shapes != others:
            raise InputError(
                f"expected feature maps of the same shapes, got {shapes} and {others}; resize the pictures alike"
            )
        squares = [(one - other).square().flatten(1) for one, other in zip(first, second, strict=True)]
        layers = [values.mean(dim=1) if self.reduction == "mean" else values.sum(dim=1) for values in squares]
        return torch.stack(layers).sum(dim=0) / len(self.scales)

    def forward(
        self, first: Float[Tensor, "batch 3 size size"], second: Float[Tensor, "batch 3 size size"]
    ) -> Float[Tensor, " batch"]:
        """Distance per picture of pictures (B, 3, S, S) in [-1, 1]; at least float32; differentiable in both.

        Raises: `InputError` unless both are square RGB images, of the same shape.
        """
        return self.distance(self.feature_maps(first), self.feature_maps(second))


def load_features(weights: str | Path, layers: Sequence[str] | None = None) -> FeatureExtractor:
    """Features of the source that is named; another is never put in its place.

    Args:
        weights: a VGG-16 weights file (torchvision's layout); or `vgg16` for torchvision's download; or `observers` for the
            shipped landmark and identity networks, which are not VGG-16: a warning says so.
        layers: of VGG-16, as in `Vgg16Features`; null for those of Image2StyleGAN and PIE.
    Raises: `InputError` if the source cannot be had, with the ways there are.
    """
    if str(weights) == OBSERVERS:
        if layers is not None:
            raise InputError(
                f"expected no layers for the shipped networks' features, got {tuple(layers)}; leave them out"
            )
        return _shipped_observers()
    chosen = IMAGE2STYLEGAN_LAYERS if layers is None else layers
    if str(weights) == VGG16:
        return Vgg16Features(download_vgg16(), "torchvision's ImageNet weights", chosen)
    return Vgg16Features(read_vgg16(weights), str(weights), chosen)


def perceptual_loss(
    weights: str | Path,
    layers: Sequence[str] | None = None,
    normalise: bool = False,
    scales: Sequence[int] = (1,),
    reduction: Literal["mean", "sum"] = "mean",
) -> PerceptualLoss:
    """A perceptual loss of the source that is named; its `name` says which.

    Args:
        weights, layers: as in `load_features`.
        normalise, scales, reduction: as in `PerceptualLoss`.
    Raises: `InputError` if the source cannot be had.
    """
    return PerceptualLoss(load_features(weights, layers), normalise, scales, reduction)


def _shipped_observers() -> ObserverFeatures:
    landmarker = load_landmark_detector(asset_path("demo_landmarks.safetensors"))
    identity = load_face_embedder(asset_path("demo_identity.safetensors"))
    assert isinstance(landmarker, LandmarkNet) and isinstance(identity, IdentityNet)
    features = ObserverFeatures(landmarker, identity)
    _LOG.warning(
        "perceptual loss on %s: figures do not compare with published ones; give a VGG-16 weights file for those",
        features.name,
    )
    return features
