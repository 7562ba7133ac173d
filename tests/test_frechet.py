"""Fréchet distance, spread ratios and reading changes."""

import math

import pytest
import torch

from evaluation.distributions import spread_ratio, spread_ratios
from evaluation.frechet import (
    FeatureStatistics,
    feature_statistics,
    frechet_distance,
    frechet_distance_of_halves,
    gaussian_frechet_distance,
)
from evaluation.reading_changes import reading_change
from models.observers import Judge, JudgeReading
from renderers.errors import InputError


def test_distance_of_diagonal_gaussians_is_known():
    first = FeatureStatistics(torch.tensor([0.0, 1.0]).double(), torch.diag(torch.tensor([4.0, 9.0])).double())
    second = FeatureStatistics(torch.tensor([3.0, 1.0]).double(), torch.diag(torch.tensor([1.0, 16.0])).double())
    # |m|^2 + (2 - 1)^2 + (3 - 4)^2
    assert gaussian_frechet_distance(first, second) == pytest.approx(9 + 1 + 1)


def test_distance_equals_scipys_matrix_root():
    linalg = pytest.importorskip("scipy.linalg")
    torch.manual_seed(0)
    first = feature_statistics(torch.randn(300, 12) @ torch.randn(12, 12))
    second = feature_statistics(torch.randn(200, 12) @ torch.randn(12, 12) + 0.5)
    root = linalg.sqrtm(first.covariance.numpy() @ second.covariance.numpy()).real
    expected = (first.mean - second.mean).square().sum() + (first.covariance + second.covariance).trace()
    assert gaussian_frechet_distance(first, second) == pytest.approx(float(expected) - 2 * root.trace(), rel=1e-8)


def test_distance_is_zero_to_itself_and_symmetric_also_when_singular():
    torch.manual_seed(0)
    features = torch.randn(20, 40)
    other = torch.randn(30, 40) * 2
    assert frechet_distance(features, features) == pytest.approx(0, abs=1e-5)
    assert frechet_distance(features, other) == pytest.approx(frechet_distance(other, features), rel=1e-6)


def test_halves_are_closer_than_other_distributions_and_repeatable():
    torch.manual_seed(0)
    features = torch.randn(4001, 8)
    halves = frechet_distance_of_halves(features, seed=3)
    assert halves == frechet_distance_of_halves(features, seed=3)
    assert 0 < halves < 0.05 < frechet_distance(features, features + 0.5)


def test_statistics_are_numpys():
    torch.manual_seed(0)
    features = torch.randn(50, 3)
    mean, covariance = feature_statistics(features)
    torch.testing.assert_close(mean, features.double().mean(0))
    torch.testing.assert_close(covariance, features.double().T.cov())


def test_bad_features():
    with pytest.raises(InputError, match="at least 2"):
        feature_statistics(torch.zeros(1, 3))
    with pytest.raises(InputError, match="finite"):
        feature_statistics(torch.full((3, 3), float("nan")))
    with pytest.raises(InputError, match="one length"):
        frechet_distance(torch.randn(4, 3), torch.randn(4, 2))


def test_spread_ratio():
    torch.manual_seed(0)
    reference = torch.randn(100, 3)
    assert spread_ratio(reference * 0.7 + 4, reference) == pytest.approx(0.7, rel=1e-5)
    table = torch.tensor([[1.0, 0.0], [-1.0, 0.0]])
    samples = torch.tensor([[1.0, 30.0], [-1.0, -30.0]])
    assert spread_ratio(samples, table, torch.tensor([1.0, 10.0])) == pytest.approx(math.sqrt(10))
    with pytest.raises(InputError, match="varies"):
        spread_ratio(table, torch.ones(2, 2))
    with pytest.raises(InputError, match="same columns"):
        spread_ratio(table, torch.ones(2, 3))


def reading(batch: int, **changes: torch.Tensor) -> JudgeReading:
    zeros = {
        "rotation": torch.zeros(batch, 3),
        "expression": torch.zeros(batch, 3),
        "illumination": torch.zeros(batch, 27),
        "identity": torch.zeros(batch, 4),
        "reflectance": torch.zeros(batch, 5),
        "features": torch.zeros(batch, 6),
    }
    return JudgeReading(**(zeros | changes))


def test_spread_ratios_of_readings():
    torch.manual_seed(0)
    judge = Judge(4, 3, 5, widths=(4, 8), blocks=(1, 1), num_features=6)
    portraits = JudgeReading(*(torch.randn_like(values) for values in reading(50)))
    rotation = portraits.rotation * torch.tensor([0.5, 2.0, 1.0])
    ratios = spread_ratios(judge, portraits._replace(rotation=rotation, expression=portraits.expression / 4), portraits)
    assert (ratios.pitch, ratios.yaw) == (pytest.approx(0.5), pytest.approx(2.0))
    assert ratios.expression == pytest.approx(0.25)
    assert ratios.illumination == ratios.identity == ratios.reflectance == pytest.approx(1)


def test_reading_change():
    judge = Judge(4, 3, 5, widths=(4, 8), blocks=(1, 1), num_features=6)
    judge.spread.fill_(2.0)
    after = reading(
        2,
        rotation=torch.tensor([[0.0, 0.5, 0.0], [0.0, 0.0, 0.0]]),
        expression=torch.tensor([[6.0, 0.0, 0.0], [0.0, 0.0, 0.0]]),
        identity=torch.ones(2, 4) * 2,
        reflectance=torch.ones(2, 5) * 2,
    )
    change = reading_change(judge, reading(2), after)
    torch.testing.assert_close(change.rotation_degrees, torch.tensor([math.degrees(0.5), 0.0]))
    torch.testing.assert_close(change.expression, torch.tensor([3 / math.sqrt(3), 0.0]))
    torch.testing.assert_close(change.identity, torch.ones(2))
    torch.testing.assert_close(change.illumination, torch.zeros(2))
