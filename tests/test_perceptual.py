"""Perceptual losses: VGG-16 from files, features of the shipped networks, values, gradients, and refusals."""

import warnings

import pytest
import torch
from torch import nn
from torch.nn import functional

from models.observers import IdentityNet, LandmarkNet
from models.perceptual import (
    IMAGE2STYLEGAN_LAYERS,
    LIFTEDGAN_LAYERS,
    ObserverFeatures,
    PerceptualLoss,
    Vgg16Features,
    load_features,
    perceptual_loss,
)
from models.perceptual.vgg16 import IMAGENET_MEAN, IMAGENET_STD
from renderers.errors import InputError


def torchvision_features() -> nn.Sequential:
    from torchvision.models.vgg import cfgs, make_layers

    torch.manual_seed(0)
    return make_layers(cfgs["D"], batch_norm=False).eval()


@pytest.fixture(scope="module")
def state() -> dict[str, torch.Tensor]:
    """The convolutions of an untrained VGG-16 by torchvision's names."""
    return {f"features.{name}": value for name, value in torchvision_features().state_dict().items()}


def tiny_observers(dtype: torch.dtype = torch.float32) -> ObserverFeatures:
    torch.manual_seed(0)
    landmarker = LandmarkNet(working_size=16, widths=(4, 6, 8), blocks=(1, 1), num_landmarks=3)
    return ObserverFeatures(landmarker, IdentityNet(embedding_dim=4, base_width=4, working_size=16)).to(dtype)


@pytest.fixture(params=["vgg16", "vgg16 normalised", "vgg16 scales", "observers"])
def loss(request, state) -> PerceptualLoss:
    if request.param == "observers":
        return PerceptualLoss(tiny_observers())
    features = Vgg16Features(state, "untrained", ("conv1_1", "conv1_2", "relu2_2"))
    scales = (1, 2) if "scales" in request.param else (1,)
    return PerceptualLoss(features, normalise="normalised" in request.param, scales=scales)


def pictures(batch: int = 2, size: int = 32, seed: int = 0) -> torch.Tensor:
    coarse = torch.rand(batch, 3, 6, 6, generator=torch.Generator().manual_seed(seed)) * 2 - 1
    return functional.interpolate(coarse, size=(size, size), mode="bicubic", align_corners=False).clamp(-1, 1)


def test_zero_for_equal_pictures_symmetric_and_per_picture(loss):
    first, second = pictures(3, seed=1), pictures(3, seed=2)
    assert torch.equal(loss(first, first), torch.zeros(3))
    distance = loss(first, second)
    assert distance.shape == (3,) and (distance > 0).all()
    torch.testing.assert_close(loss(second, first), distance)
    torch.testing.assert_close(loss(first[1:2], second[1:2]), distance[1:2], rtol=1e-3, atol=1e-5)
    torch.testing.assert_close(loss.distance(loss.feature_maps(first), loss.feature_maps(second)), distance)


def test_a_nearer_picture_is_nearer(loss):
    first, second = pictures(4, seed=1), pictures(4, seed=2)
    assert (loss(first, first + 0.1 * (second - first)) < loss(first, second)).all()


def test_gradients_reach_both_pictures_and_no_weights(loss):
    first, second = pictures(1, seed=1).requires_grad_(), pictures(1, seed=2).requires_grad_()
    loss(first, second).sum().backward()
    for images in (first, second):
        assert images.grad is not None and torch.isfinite(images.grad).all() and images.grad.abs().sum() > 0
    assert not any(parameter.requires_grad for parameter in loss.parameters())


def test_it_stays_in_evaluation_mode(loss):
    first, second = pictures(2, seed=1), pictures(2, seed=2)
    before = loss(first, second)
    loss.train()
    torch.testing.assert_close(loss(first, second), before)
    assert not loss.features.training


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_is_near(loss, dtype):
    first, second = pictures(seed=1), pictures(seed=2)
    expected = loss(first, second)
    found = loss.to(dtype)(first.to(dtype), second.to(dtype))
    loss.to(torch.float32)
    assert found.dtype == torch.float32
    torch.testing.assert_close(found, expected, rtol=0.1, atol=1e-3)


def test_vgg16_gradients_in_float64(state):
    features = Vgg16Features(state, "untrained", ("conv1_1", "relu1_1")).double()
    for loss in (PerceptualLoss(features), PerceptualLoss(features, normalise=True, reduction="sum")):
        first = pictures(1, 4, seed=1).double().requires_grad_()
        second = pictures(1, 4, seed=2).double().requires_grad_()
        assert torch.autograd.gradcheck(loss, (first, second), fast_mode=True)


def test_observer_gradients_in_float64():
    loss = PerceptualLoss(tiny_observers(torch.float64))
    first = pictures(1, 8, seed=1).double().requires_grad_()
    assert torch.autograd.gradcheck(loss, (first, pictures(1, 8, seed=2).double()), fast_mode=True)


def test_vgg16_equals_torchvision(state):
    layers = (*IMAGE2STYLEGAN_LAYERS, *LIFTEDGAN_LAYERS, "pool5")
    images = pictures(2, 32)
    found = Vgg16Features(state, "untrained", layers)(images)
    mean, std = (torch.tensor(values).view(3, 1, 1) for values in (IMAGENET_MEAN, IMAGENET_STD))
    values, expected = ((images + 1) / 2 - mean) / std, []
    network = torchvision_features()
    for layer in network:
        # Their ReLU overwrites what came before it.
        values = functional.relu(values) if isinstance(layer, nn.ReLU) else layer(values)
        expected.append(values)
    for name, place in zip(layers, (0, 2, 12, 19, 8, 15, 22, 30), strict=True):
        torch.testing.assert_close(found[layers.index(name)], expected[place])


def test_figures_do_not_hang_on_the_resolution(state):
    small = [pictures(2, 32, seed) for seed in (1, 2)]
    large = [images.repeat_interleave(4, dim=-1).repeat_interleave(4, dim=-2) for images in small]
    features = Vgg16Features(state, "untrained", ("conv1_2", "relu2_2"), working_size=32)
    for loss in (PerceptualLoss(features), PerceptualLoss(tiny_observers())):
        torch.testing.assert_close(loss(*large), loss(*small), rtol=0.1, atol=0)
    # Means over pixels: twice the picture side by side and below is as far apart as once, but for the seams.
    loss = PerceptualLoss(Vgg16Features(state, "untrained", ("conv1_1",), working_size=None))
    tiled = [images.repeat(1, 1, 4, 4) for images in small]
    torch.testing.assert_close(loss(*tiled), loss(*small), rtol=0.1, atol=0)


def test_reductions_and_scales(state):
    features = Vgg16Features(state, "untrained", ("conv1_1",))
    first, second = pictures(2, 8, 1), pictures(2, 8, 2)
    mean, total = PerceptualLoss(features)(first, second), PerceptualLoss(features, reduction="sum")(first, second)
    torch.testing.assert_close(total, mean * 64 * 8 * 8)
    half = PerceptualLoss(features)(functional.avg_pool2d(first, 2), functional.avg_pool2d(second, 2))
    torch.testing.assert_close(PerceptualLoss(features, scales=(1, 2))(first, second), (mean + half) / 2)
    # Vectors of unit length are at most two apart.
    normalised = PerceptualLoss(features, normalise=True, reduction="sum")(first, second)
    assert (normalised <= 4 * 8 * 8).all()
    with pytest.raises(InputError, match="factors"):
        PerceptualLoss(features, scales=())


def test_black_layers_have_finite_gradients_when_normalised(state):
    zeros = {name: torch.zeros_like(value) for name, value in state.items()}
    loss = PerceptualLoss(Vgg16Features(zeros, "zeros", ("relu1_1",)), normalise=True)
    images = pictures(1, 8).requires_grad_()
    loss(images, pictures(1, 8, 3)).sum().backward()
    assert images.grad is not None and torch.isfinite(images.grad).all()


def test_vgg16_files(state, tmp_path):
    images = pictures(1, 16)
    expected = Vgg16Features(state, "untrained")(images)
    torch.save(state | {"classifier.0.weight": torch.zeros(3, 3)}, tmp_path / "vgg16-397923af.pth")
    # LPIPS keeps torchvision's numbers in slices.
    slices = {name.replace("features", f"net.slice{1 + int(name.split('.')[1]) // 10}"): v for name, v in state.items()}
    torch.save(slices | {"lin0.model.1.weight": torch.zeros(1, 64, 1, 1)}, tmp_path / "lpips.pth")
    torch.save({name: value.half() for name, value in state.items()}, tmp_path / "half.pth")
    for name, tolerance in (("vgg16-397923af.pth", 1e-6), ("lpips.pth", 1e-6), ("half.pth", 1e-2)):
        features = load_features(tmp_path / name)
        assert "VGG-16" in features.name and name in features.name
        assert not any(parameter.requires_grad for parameter in features.parameters())
        for found, wanted in zip(features(images), expected, strict=True):
            torch.testing.assert_close(found, wanted, atol=tolerance, rtol=tolerance)


def test_files_of_other_networks_are_refused(state, tmp_path):
    path = tmp_path / "weights.pth"
    cases: list[tuple[object, str]] = [
        ({"conv1.weight": torch.zeros(64, 3, 7, 7)}, "found no convolution"),
        ([1, 2, 3], "found no convolution"),
        ({name: value for name, value in state.items() if ".28." not in name}, "misses features.28"),
        # VGG-19 has a fourth convolution in its third block, after those of VGG-16.
        (state | {"features.16.weight": torch.zeros(256, 256, 3, 3)}, "unknown features.16"),
        (state | {"features.0.weight": torch.zeros(64, 1, 3, 3)}, "another size of features.0"),
        (state | {"features.0.bias": torch.full((64,), float("nan"))}, "finite"),
    ]
    for content, message in cases:
        torch.save(content, path)
        with pytest.raises(InputError, match=message):
            load_features(path)
    torch.save(state, path)
    path.write_bytes(path.read_bytes()[:1000])
    with pytest.raises(InputError, match="cannot be read"):
        load_features(path)
    with pytest.raises(InputError, match="found none"):
        load_features(tmp_path / "absent.pth")


def test_unknown_layers_and_shapes_are_refused(state):
    for layers in (("conv6_1",), ()):
        with pytest.raises(InputError, match="layers of VGG-16"):
            Vgg16Features(state, "untrained", layers)
    loss = PerceptualLoss(Vgg16Features(state, "untrained", ("conv1_1",)))
    with pytest.raises(InputError, match="same shapes"):
        loss.distance(loss.feature_maps(pictures(1, 8)), loss.feature_maps(pictures(1, 16)))


def test_no_source_replaces_another(monkeypatch, tmp_path):
    from torchvision.models import VGG16_Weights

    monkeypatch.setenv("TORCH_HOME", str(tmp_path))

    def unreachable(url: str, *arguments: object, **options: object) -> None:
        assert options["weights_only"] is True
        raise OSError("no connection")

    monkeypatch.setattr("torchvision.models._api.load_state_dict_from_url", unreachable)
    assert VGG16_Weights.IMAGENET1K_V1.url.endswith("vgg16-397923af.pth")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with pytest.raises(
            InputError, match="vgg16-397923af.pth on another machine and give its path, or choose 'observers'"
        ):
            perceptual_loss("vgg16")


def test_the_download_is_torchvisions(monkeypatch, state):
    monkeypatch.setattr(
        "torchvision.models._api.load_state_dict_from_url",
        lambda *arguments, **options: state | {"classifier.0.bias": torch.zeros(3)},
    )
    loss = perceptual_loss("vgg16", ("conv1_1",))
    assert loss.name == "VGG-16 (torchvision's ImageNet weights)"


def test_shipped_networks_are_named_as_such(caplog):
    loss = perceptual_loss("observers")
    (record,) = caplog.records
    assert "not VGG-16" in record.getMessage() and record.levelname == "WARNING"
    assert "not VGG-16" in loss.name and "observer features" in loss.name
    assert (loss(pictures(2, 64, 1), pictures(2, 64, 2)) > 0).all()
    with pytest.raises(InputError, match="no layers"):
        perceptual_loss("observers", ("conv1_1",))
