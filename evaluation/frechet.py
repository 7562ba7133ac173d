"""Fréchet distance between two sets of feature vectors, each taken as a Gaussian."""

from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from renderers.errors import InputError


class FeatureStatistics(NamedTuple):
    """A Gaussian in feature space.

    Attributes:
        mean: (F,) float64.
        covariance: (F, F) float64, unbiased.
    """

    mean: Float[Tensor, " features"]
    covariance: Float[Tensor, "features features"]


def feature_statistics(features: Float[Tensor, "samples features"]) -> FeatureStatistics:
    """Mean and covariance of (N, F) feature vectors, in float64.

    Raises: `InputError` for fewer than two vectors or values that are not finite.
    """
    if features.shape[0] < 2:
        raise InputError(f"expected at least 2 feature vectors, got {features.shape[0]}; give more pictures")
    if not torch.isfinite(features).all():
        raise InputError("expected finite feature vectors, got NaN or infinity; look for broken pictures among them")
    features = features.double()
    mean = features.mean(dim=0)
    centred = features - mean
    return FeatureStatistics(mean, centred.T @ centred / (features.shape[0] - 1))


def gaussian_frechet_distance(first: FeatureStatistics, second: FeatureStatistics) -> float:
    """|m1 - m2|^2 + tr(C1 + C2 - 2 (C1 C2)^(1/2)) (Heusel et al. 2017, equation 6; Dowson and Landau 1982).

    The trace of the root is that of the root of the symmetric C1^(1/2) C2 C1^(1/2), which has the same eigenvalues:
    exact also where covariances are singular, with no offset on their diagonals.
    """
    if first.mean.shape != second.mean.shape:
        raise InputError(
            f"expected features of one length, got {first.mean.numel()} and {second.mean.numel()}; "
            "take both from the same network"
        )
    values, vectors = torch.linalg.eigh(first.covariance)
    root = vectors @ (values.clamp(min=0).sqrt()[:, None] * vectors.T)
    product = root @ second.covariance @ root
    # Rounding makes the product unsymmetric by its last bits.
    trace_root = torch.linalg.eigvalsh((product + product.T) / 2).clamp(min=0).sqrt().sum()
    traces = first.covariance.trace() + second.covariance.trace()
    return float((first.mean - second.mean).square().sum() + traces - 2 * trace_root)


def frechet_distance(first: Float[Tensor, "samples features"], second: Float[Tensor, "others other_features"]) -> float:
    """Fréchet distance between feature vectors (N, F) and (M, F).

    It is biased upwards for few samples: compare distances of the same numbers of samples only.
    """
    return gaussian_frechet_distance(feature_statistics(first), feature_statistics(second))


def frechet_distance_of_halves(features: Float[Tensor, "samples features"], seed: int = 0) -> float:
    """Fréchet distance between two random halves of one set: what sampling alone causes at half its size.

    Args:
        features: (N, F); one is left out if N is odd.
        seed: of the split.
    """
    order = torch.randperm(features.shape[0], generator=torch.Generator().manual_seed(seed)).to(features.device)
    half = features.shape[0] // 2
    return frechet_distance(features[order[:half]], features[order[half : 2 * half]])
