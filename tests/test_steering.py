"""The steering baseline, and opening rigs whose kind is not known beforehand."""

from pathlib import Path

import pytest
import torch

from evaluation.run_checks.kinds import identify
from models.stylerig import (
    FaceReconstruction,
    ParameterStatistics,
    RigNet,
    RigNetwork,
    SteeringNetwork,
    load_rig_network,
    sources_of,
)
from models.weights import load_weights, save_weights
from renderers.errors import InputError
from tests.test_rignet import SOURCES, provenance, random_rignet
from tests.tiny_stylerig import as_written
from tests.toy_face import SIZES, toy_parameters


def random_steering(components: tuple[str, ...] = ("rotation",), layers: int = 5, w_dim: int = 7) -> SteeringNetwork:
    torch.manual_seed(0)
    network = SteeringNetwork(layers, w_dim, components, SIZES)
    torch.nn.init.normal_(network.decoder_weight)
    network.normalise_by(ParameterStatistics(torch.randn(SIZES.total), torch.rand(SIZES.total) + 0.5))
    return network


def test_untrained_network_changes_nothing() -> None:
    network, codes = SteeringNetwork(18, 512), torch.randn(3, 18, 512)
    assert not network.is_trained and random_steering().is_trained
    assert torch.equal(network.edit(codes, torch.randn(3, 257), torch.randn(3, 257)), codes)


@pytest.mark.parametrize("batch", [1, 4])
@pytest.mark.parametrize("components", [("rotation",), ("expression", "rotation"), ("illumination",), ("identity",)])
def test_an_edit_is_a_linear_map_per_layer(batch: int, components: tuple[str, ...]) -> None:
    network, codes = random_steering(components), torch.randn(batch, 5, 7)
    own, target = toy_parameters(batch).pack(), toy_parameters(batch, seed=1).pack()
    change = (target - own) / network.parameter_std
    control = torch.cat([change[:, SIZES.slice(name)] for name in components], dim=1)
    edited = network.edit(codes, own, target)
    for layer in range(5):
        torch.testing.assert_close(edited[:, layer], codes[:, layer] + control @ network.decoder_weight[layer])


def test_nothing_asked_changes_nothing() -> None:
    network, codes = random_steering(), torch.randn(2, 5, 7)
    own, other = toy_parameters(2, seed=1), toy_parameters(2, seed=2)
    elsewhere = other.with_components_from(own, ("rotation",))
    assert torch.equal(network.edit(codes, own.pack(), own.pack()), codes)
    assert torch.equal(network.edit(codes, own.pack(), elsewhere.pack()), codes)


def test_the_change_does_not_depend_on_the_code() -> None:
    network = random_steering()
    own, target = toy_parameters(1).pack(), toy_parameters(1, seed=1).pack()
    first, second = (network.edit(codes, own, target) - codes for codes in (torch.zeros(1, 5, 7), torch.randn(1, 5, 7)))
    torch.testing.assert_close(first, second)


def test_gradients() -> None:
    network = random_steering().double()
    codes, own, target = torch.randn(2, 5, 7).double(), toy_parameters(2).pack().double(), toy_parameters(2, seed=1).pack()
    inputs = tuple(value.requires_grad_(True) for value in (codes, own, target.double()))
    assert torch.autograd.gradcheck(network.edit, inputs)
    network.edit(*inputs).sum().backward()
    assert network.decoder_weight.grad is not None and network.decoder_weight.grad.abs().max() > 0


def test_wrong_shapes_and_components_are_refused() -> None:
    network, parameters = random_steering(), torch.zeros(1, SIZES.total)
    with pytest.raises(InputError, match="expected codes"):
        network.edit(torch.zeros(1, 4, 7), parameters, parameters)
    with pytest.raises(InputError, match="expected parameters"):
        network.edit(torch.zeros(1, 5, 7), torch.zeros(1, 9), torch.zeros(1, 9))
    with pytest.raises(InputError, match="components to control"):
        SteeringNetwork(5, 7, ("translation",), SIZES)


@pytest.mark.parametrize("network", [random_rignet(("rotation", "expression")), random_steering(("rotation", "expression"))])
def test_either_network_is_opened_from_its_file(tmp_path: Path, network: RigNetwork) -> None:
    path = network.save(tmp_path / "rig.safetensors", provenance(), SOURCES)
    loaded = load_rig_network(path, provenance(face_model=(1.001, 2.0)))
    assert type(loaded) is type(network) and loaded.components == ("rotation", "expression") and not loaded.training
    assert not any(parameter.requires_grad for parameter in loaded.parameters()) and sources_of(path) == SOURCES
    codes, own, target = torch.randn(2, 5, 7), toy_parameters(2).pack(), toy_parameters(2, seed=1).pack()
    as_written(network)
    assert torch.equal(loaded.edit(codes, own, target), network.edit(codes, own, target))


def test_files_of_other_kinds_are_refused(tmp_path: Path) -> None:
    faces = FaceReconstruction(5, 7, SIZES, hidden=4).save(tmp_path / "f.safetensors", provenance())
    with pytest.raises(InputError, match="expected a rignet or steering file, .* is of kind 'face-reconstruction'"):
        load_rig_network(faces, provenance())
    steering = random_steering().save(tmp_path / "s.safetensors", provenance(), SOURCES)
    with pytest.raises(InputError, match="kind rignet, .* holds steering"):
        RigNet.load(steering, provenance())
    with pytest.raises(InputError, match="generator that"):
        load_rig_network(steering, provenance(generator="b" * 64))
    with pytest.raises(InputError, match="found none"):
        load_rig_network(tmp_path / "none.safetensors", provenance())


def test_incomplete_files_are_refused(tmp_path: Path) -> None:
    path = random_steering().save(tmp_path / "s.safetensors", provenance(), SOURCES)
    state, config = load_weights(path, "steering")
    save_weights(path, state, "steering", {key: value for key, value in config.items() if key != "components"})
    with pytest.raises(InputError, match="configuration that fits"):
        load_rig_network(path, provenance())


def test_checks_of_a_run_know_it(tmp_path: Path) -> None:
    path = random_steering().save(tmp_path / "s.safetensors", provenance(), SOURCES)
    assert identify(path).kind == "steering network"
