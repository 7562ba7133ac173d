"""Perceptual losses: pictures compared by the feature maps of a frozen network."""

from models.perceptual.features import FeatureExtractor, ObserverFeatures
from models.perceptual.loss import PerceptualLoss, load_features, perceptual_loss
from models.perceptual.vgg16 import IMAGE2STYLEGAN_LAYERS, LIFTEDGAN_LAYERS, Vgg16Features

__all__ = [
    "IMAGE2STYLEGAN_LAYERS",
    "LIFTEDGAN_LAYERS",
    "FeatureExtractor",
    "ObserverFeatures",
    "PerceptualLoss",
    "Vgg16Features",
    "load_features",
    "perceptual_loss",
]
