"""Fréchet distance between two sets of feature vectors, each taken as a Gaussian."""

from collections.abc import Callable
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


class RunningStatistics:
    """Mean and covariance of feature vectors that come in batches, without keeping them.

    Sums are kept in float64 of the vectors less the first batch's mean, so that large means cost no digits.
    """

    def __init__(self) -> None:
        self._count = 0
        self._origin: Tensor | None = None
        self._sum: Tensor | None = None
        self._products: Tensor | None = None

    def add(self, features: Float[Tensor, "samples features"]) -> None:
        """Take (N, F) feature vectors in."""
        features = features.double()
        if self._origin is None or self._sum is None or self._products is None:
            self._origin = features.mean(dim=0)
            self._sum = torch.zeros_like(self._origin)
            self._products = torch.zeros(features.shape[1], features.shape[1], dtype=torch.float64, device=features.device)
        centred = features - self._origin
        self._count += len(features)
        self._sum += centred.sum(dim=0)
        self._products += centred.T @ centred

    def statistics(self, sum_over_ranks: Callable[[Tensor], Tensor] = lambda values: values) -> FeatureStatistics:
        """The Gaussian of all vectors of all ranks.

        Args:
            sum_over_ranks: Adds a tensor up over the ranks, each of which has taken in at least one vector.

        Raises: `InputError` for fewer than two vectors or values that are not finite.
        """
        if self._origin is None or self._sum is None or self._products is None:
            raise InputError("expected at least 2 feature vectors, got 0 on a rank; give more pictures")
        count = sum_over_ranks(torch.tensor(float(self._count), dtype=torch.float64, device=self._sum.device))
        if count < 2:
            raise InputError(f"expected at least 2 feature vectors, got {int(count)}; give more pictures")
        # From the origin of this rank to that of all: sum of (x - m) (x - m)^T = P - d s^T - s d^T + n d d^T with d = m - o.
        mean = sum_over_ranks(self._sum + self._count * self._origin) / count
        shift = mean - self._origin
        products = self._products - torch.outer(shift, self._sum) - torch.outer(self._sum, shift)
        covariance = sum_over_ranks(products + self._count * torch.outer(shift, shift)) / (count - 1)
        if not torch.isfinite(covariance).all():
            raise InputError("expected finite feature vectors, got NaN or infinity; look for broken pictures among them")
        return FeatureStatistics(mean, covariance)


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
