"""StyleFaceUV's networks on codes: coefficients, and steps along the yaw direction."""

import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from models.morphable import FaceParameters, ParameterSizes
from models.stylefaceuv import CodeCoefficients, MirrorStep, StepSize
from models.stylerig import ParameterStatistics, Provenance
from renderers.errors import InputError

LAYERS, WIDTH = 3, 4
SIZES = ParameterSizes(identity=3, expression=2, reflectance=5)
PROVENANCE = Provenance("digest", (1.0, 2.0), 4.0, 10.0, (0.0, 0.0))


def codes() -> torch.Tensor:
    return torch.randn(2, LAYERS, WIDTH, generator=torch.Generator().manual_seed(0))


def test_codes_of_another_generator_are_refused() -> None:
    for network in (CodeCoefficients(LAYERS, WIDTH, SIZES), MirrorStep(LAYERS, WIDTH)):
        with pytest.raises(InputError, match=r"\(batch, 3, 4\)"):
            network(torch.zeros(1, LAYERS + 1, WIDTH))
    with pytest.raises(InputError, match="positive sizes"):
        CodeCoefficients(LAYERS, WIDTH, SIZES, (9, 0))


@pytest.mark.parametrize(
    ("layers", "width", "sizes", "hidden"), [(14, 8, ParameterSizes(), (9, 6, 3)), (LAYERS, WIDTH, SIZES, (2,))]
)
def test_coefficients_have_the_published_form_at_any_size(
    layers: int, width: int, sizes: ParameterSizes, hidden: tuple[int, ...]
) -> None:
    network = CodeCoefficients(layers, width, sizes, hidden)
    for module, activation in ((network.geometry, torch.nn.Tanh), (network.reflectance, torch.nn.ELU)):
        linear = [each for each in module if isinstance(each, torch.nn.Linear)]
        assert [each.out_features for each in linear[:-1]] == [multiple * width for multiple in hidden]
        assert sum(isinstance(each, activation) for each in module) == len(hidden)
    parameters = network.parameters_of(torch.randn(2, layers, width))
    assert parameters.sizes == sizes and 0 < parameters.pack().abs().max() < 0.2


def test_whitening_and_statistics_are_affine_maps() -> None:
    network, other = CodeCoefficients(LAYERS, WIDTH, SIZES), CodeCoefficients(LAYERS, WIDTH, SIZES)
    other.load_state_dict(network.state_dict())
    mean, std = torch.randn(WIDTH), torch.rand(WIDTH) + 0.5
    statistics = ParameterStatistics(torch.randn(SIZES.total), torch.rand(SIZES.total) + 0.5)
    network.whiten_by(mean, std)
    network.normalise_by(statistics)
    torch.testing.assert_close(network(codes() * std + mean), other(codes()) * statistics.std + statistics.mean)


def test_gradients_reach_codes() -> None:
    network = CodeCoefficients(LAYERS, WIDTH, SIZES, (2, 1)).double()
    assert torch.autograd.gradcheck(network, (codes().double().requires_grad_(),))


def fitted_step() -> tuple[StepSize, torch.Tensor]:
    """A step size of a world whose yaw, in radians, is linear in the code, trained for a few steps; and what reads that yaw."""
    torch.manual_seed(0)
    reader, direction = torch.randn(LAYERS, WIDTH) * 0.1, torch.randn(LAYERS, WIDTH)
    network = StepSize(LAYERS, WIDTH, (4, 2))
    network.move_along(direction / direction.norm(), unit=2.0)
    optimizer = torch.optim.Adam(network.parameters(), lr=2e-2)
    for _ in range(100):
        batch, asked = torch.randn(64, LAYERS, WIDTH), math.radians(45) * (2 * torch.rand(64) - 1)
        yaw = (network.turned(batch, asked) * reader).sum(dim=(1, 2))
        optimizer.zero_grad()
        (yaw - asked).abs().mean().backward()
        optimizer.step()
    return network.requires_grad_(False), reader


def test_step_size_turns_codes_to_any_asked_yaw() -> None:
    network, reader = fitted_step()
    batch = torch.randn(200, LAYERS, WIDTH)
    own = (batch * reader).sum(dim=(1, 2))
    for degrees in (-60, -30, 0, 45):
        yaw = (network.turned(batch, math.radians(degrees)) * reader).sum(dim=(1, 2))
        before = (own - math.radians(degrees)).abs().mean()
        assert (yaw - math.radians(degrees)).abs().mean() < 0.25 * before
    mirrored = (network.mirrored(batch, own) * reader).sum(dim=(1, 2))
    assert (mirrored + own).abs().mean() < 0.25 * (2 * own).abs().mean()
    torch.testing.assert_close(network.mirrored(batch, own), network.turned(batch, -own))


def test_untrained_steps_are_small_and_need_a_direction() -> None:
    network = StepSize(LAYERS, WIDTH)
    assert network(codes(), 0.5).abs().max() < 0.1
    with pytest.raises(InputError, match="move_along"):
        network.turned(codes(), 0.5)
    with pytest.raises(InputError, match="shape"):
        network.move_along(torch.ones(1, WIDTH))
    for direction, unit in ((torch.zeros(LAYERS, WIDTH), 1.0), (torch.ones(LAYERS, WIDTH), 0.0)):
        with pytest.raises(InputError, match="above 0"):
            network.move_along(direction, unit)


@pytest.mark.parametrize("kind", [CodeCoefficients, StepSize, MirrorStep])
def test_weights_come_back_for_what_they_were_trained_for(tmp_path: Path, kind: type[Any]) -> None:
    network = kind(LAYERS, WIDTH, hidden=(3, 2)) if kind is not CodeCoefficients else kind(LAYERS, WIDTH, SIZES, (3, 2))
    network.whiten_by(torch.randn(WIDTH), torch.rand(WIDTH) + 0.5)
    if isinstance(network, StepSize | MirrorStep):
        network.move_along(torch.randn(LAYERS, WIDTH), 2.0)
    path = network.save(tmp_path / "n.safetensors", PROVENANCE)
    loaded = kind.load(path, PROVENANCE)
    arguments = (codes(), torch.tensor([0.1, -0.2])) if kind is StepSize else (codes(),)
    torch.testing.assert_close(loaded(*arguments), network(*arguments), atol=2e-3, rtol=2e-3)
    assert loaded.hidden == (3, 2) and not loaded.training
    with pytest.raises(InputError, match="expected the generator"):
        kind.load(path, replace(PROVENANCE, generator="other"))
    others: dict[type[Any], type[Any]] = {
        CodeCoefficients: StepSize,
        StepSize: MirrorStep,
        MirrorStep: CodeCoefficients,
    }
    with pytest.raises(InputError, match="of kind"):
        others[kind].load(path, PROVENANCE)


def test_parameters_pack_as_the_face_model_takes_them() -> None:
    network = CodeCoefficients(LAYERS, WIDTH, SIZES)
    parameters = network.parameters_of(codes())
    assert isinstance(parameters, FaceParameters) and torch.equal(parameters.pack(), network(codes()))
