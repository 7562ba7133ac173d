"""Fréchet distances of generators: running statistics, feature networks from files, FID against torchmetrics."""

from pathlib import Path

import pytest
import torch
from torch import nn
from torchmetrics.image.fid import FrechetInceptionDistance
from torchvision.models import inception_v3
from torchvision.transforms.functional import normalize

from evaluation.frechet import RunningStatistics, feature_statistics, gaussian_frechet_distance
from evaluation.generator_quality import load_features
from models.inception import FidInception, TorchvisionInception, load_inception
from models.observers import IdentityNet, Judge, save_observer
from renderers.errors import InputError


def running(*parts: torch.Tensor) -> RunningStatistics:
    statistics = RunningStatistics()
    for part in parts:
        statistics.add(part)
    return statistics


def test_running_statistics_are_those_of_all_vectors() -> None:
    # A mean a thousand times the spread, which sums of squares would lose digits to.
    features = torch.randn(50, 6) @ torch.randn(6, 6) + 1000
    found = running(features[:3], features[3:20], features[20:]).statistics()
    expected = feature_statistics(features)
    torch.testing.assert_close(found.mean, expected.mean)
    torch.testing.assert_close(found.covariance, expected.covariance, rtol=1e-9, atol=1e-9)


def test_running_statistics_add_up_over_ranks() -> None:
    features = torch.randn(31, 4) + 5
    ranks = [running(features[:7], features[7:12]), running(features[12:])]

    def of(rank: int) -> tuple[torch.Tensor, torch.Tensor]:
        # What each rank would contribute, from the sums themselves: the call of one rank asks the other for its part.
        calls: list[torch.Tensor] = []
        both = iter(totals)

        def add(values: torch.Tensor) -> torch.Tensor:
            calls.append(values)
            return next(both)

        found = ranks[rank].statistics(add)
        return found.mean, found.covariance

    expected = feature_statistics(features)
    count = torch.tensor(31.0, dtype=torch.float64)
    totals = [count, expected.mean * 31, expected.covariance * 30]
    for rank in range(2):
        mean, covariance = of(rank)
        torch.testing.assert_close(mean, expected.mean)
        torch.testing.assert_close(covariance, expected.covariance)
    # And the contributions of both do add up to these totals.
    contributions: list[list[torch.Tensor]] = [[], []]
    for rank in range(2):
        given = iter(totals)
        ranks[rank].statistics(lambda values, rank=rank, given=given: contributions[rank].append(values) or next(given))
    for first, second, total in zip(*contributions, totals, strict=True):
        torch.testing.assert_close(first + second, total, rtol=1e-9, atol=1e-9)


def test_too_few_or_broken_vectors_are_refused() -> None:
    with pytest.raises(InputError, match="got 0"):
        RunningStatistics().statistics()
    with pytest.raises(InputError, match="got 1"):
        running(torch.zeros(1, 3)).statistics()
    with pytest.raises(InputError, match="finite"):
        running(torch.tensor([[1.0], [float("nan")]])).statistics()


def test_the_distance_is_torchmetrics() -> None:
    class Colours(nn.Module):
        """Features that need no network."""

        num_features = 12

        def forward(self, images: torch.Tensor) -> torch.Tensor:
            return nn.functional.adaptive_avg_pool2d(images.float(), 2).flatten(1)

    real, fake = torch.rand(40, 3, 8, 8), torch.rand(30, 3, 8, 8) * 0.7
    metric = FrechetInceptionDistance(feature=Colours(), normalize=True).set_dtype(torch.float64)
    metric.update(real, real=True)
    metric.update(fake, real=False)
    statistics = [running(Colours()(images)).statistics() for images in (real, fake)]
    assert gaussian_frechet_distance(*statistics) == pytest.approx(float(metric.compute()), rel=1e-5)


@pytest.fixture(scope="module")
def inception_states() -> dict[str, dict[str, torch.Tensor]]:
    """Weights of FID's and of torchvision's network, at random: they differ in the last layer and in what fills the names."""
    torch.manual_seed(0)
    fid = inception_v3(weights=None, num_classes=1008, aux_logits=False, init_weights=False)
    return {
        "fid": fid.state_dict(),
        "torchvision": inception_v3(weights=None, aux_logits=True, init_weights=False).state_dict(),
    }


def test_fid_is_measured_with_the_published_network(tmp_path: Path, inception_states: dict[str, dict[str, torch.Tensor]]) -> None:
    pytest.importorskip("torch_fidelity")
    torch.save(inception_states["fid"], tmp_path / "pt_inception.pth")
    reader = load_features(tmp_path / "pt_inception.pth")
    assert reader.metric == "fid" and isinstance(reader.network, FidInception)
    assert not any(parameter.requires_grad for parameter in reader.network.parameters())
    images = torch.rand(2, 3, 20, 20) * 2 - 1
    features = reader.read(images)
    assert features.shape == (2, 2048) and features.dtype == torch.float32
    # torchmetrics' own network with the same weights, on the same 8-bit pictures.
    bytes_ = (images * 127.5 + 128).clamp(0, 255).to(torch.uint8)
    metric = FrechetInceptionDistance(feature=2048, feature_extractor_weights_path=str(tmp_path / "pt_inception.pth"), antialias=False)
    torch.testing.assert_close(features, metric.inception(bytes_), rtol=1e-5, atol=1e-6)


def test_torchvisions_network_has_its_own_name(tmp_path: Path, inception_states: dict[str, dict[str, torch.Tensor]]) -> None:
    torch.save(inception_states["torchvision"], tmp_path / "inception_v3.pth")
    reader = load_features(tmp_path / "inception_v3.pth")
    assert reader.metric == "frechet_torchvision" and isinstance(reader.network, TorchvisionInception)
    assert reader.read(torch.zeros(1, 3, 16, 16)).shape == (1, 2048)
    # torchvision's own way with these weights: pictures in [0, 1] normalised as it documents, which the network then undoes.
    original = inception_v3(weights=None, transform_input=True, aux_logits=True, init_weights=False)
    original.load_state_dict(inception_states["torchvision"])
    original.fc = nn.Identity()
    images = torch.rand(2, 3, 299, 299) * 2 - 1
    normalised = normalize((images + 1) / 2, [0.485, 0.456, 0.406], [0.229, 0.224, 0.225])
    torch.testing.assert_close(reader.read(images), original.eval()(normalised), rtol=1e-4, atol=1e-5)


def test_shipped_networks_are_never_called_fid(tmp_path: Path) -> None:
    judge = Judge(4, 3, 5, widths=(4, 8), blocks=(1, 1), num_features=6)
    reader = load_features(save_observer(tmp_path / "judge.safetensors", judge))
    assert reader.metric == "frechet_judge" and reader.read(torch.zeros(2, 3, 16, 16)).shape == (2, 6)
    reader = load_features(save_observer(tmp_path / "identity.safetensors", IdentityNet(8, 4)))
    assert reader.metric == "frechet_identity" and reader.read(torch.zeros(2, 3, 16, 16)).shape == (2, 8)
    assert load_features("assets/demo_judge.safetensors").metric == "frechet_judge"


def test_wrong_files_are_refused(tmp_path: Path, inception_states: dict[str, dict[str, torch.Tensor]]) -> None:
    (tmp_path / "text.pth").write_text("not weights")
    with pytest.raises(InputError, match="expected a whole checkpoint"):
        load_inception(tmp_path / "text.pth")
    torch.save({"fc.weight": torch.zeros(10, 2048)}, tmp_path / "other.pth")
    with pytest.raises(InputError, match=r"a last layer of \(10, 2048\)"):
        load_inception(tmp_path / "other.pth")
    torch.save(torch.zeros(3), tmp_path / "tensor.pth")
    with pytest.raises(InputError, match="expected a state dict of Inception-v3 in .*tensor.pth, got a Tensor"):
        load_inception(tmp_path / "tensor.pth")
    torch.save({"conv.weight": torch.zeros(3)}, tmp_path / "nameless.pth")
    with pytest.raises(InputError, match="a last layer of None"):
        load_inception(tmp_path / "nameless.pth")
    for name, contents in (("numbers", {3: torch.zeros(3)}), ("texts", {"fc.weight": "none"})):
        torch.save(contents, tmp_path / f"{name}.pth")
        with pytest.raises(InputError, match="names with tensors, got a"):
            load_inception(tmp_path / f"{name}.pth")
    torch.save({"fc.weight": torch.full((2,), float("nan"))}, tmp_path / "nan.pth")
    with pytest.raises(InputError, match="expected finite weights"):
        load_inception(tmp_path / "nan.pth")
    torch.save({"fc.weight": inception_states["torchvision"]["fc.weight"]}, tmp_path / "partial.pth")
    with pytest.raises(InputError, match="they differ") as caught:
        load_inception(tmp_path / "partial.pth")
    assert "\n" not in str(caught.value)
    with pytest.raises(InputError, match="found none"):
        load_features(tmp_path / "absent.pth")


def test_files_with_code_are_refused(tmp_path: Path) -> None:
    torch.save(nn.Linear(2, 2), tmp_path / "module.pth")
    with pytest.raises(InputError, match="expected a state dict") as caught:
        load_inception(tmp_path / "module.pth")
    assert "weights_only" not in str(caught.value)


def test_weights_of_the_older_layout_are_read(tmp_path: Path, inception_states: dict[str, dict[str, torch.Tensor]]) -> None:
    """That of torch before 1.6, in which the files of both networks are published."""
    state = inception_states["torchvision"]
    torch.save(state, tmp_path / "old.pth", _use_new_zipfile_serialization=False)
    found = load_inception(tmp_path / "old.pth").network.state_dict()
    assert found and all(torch.equal(value, state[name]) for name, value in found.items())
