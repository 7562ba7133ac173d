"""Typed face parameters: vector order, editing and refusals."""

import pytest
import torch

from models.morphable.parameters import COMPONENTS, FaceParameters, ParameterSizes
from renderers.errors import InputError


def numbered(batch: int, sizes: ParameterSizes = ParameterSizes()) -> torch.Tensor:
    return torch.arange(batch * sizes.total, dtype=torch.float64).reshape(batch, sizes.total)


def test_default_sizes_are_those_of_the_public_tools() -> None:
    sizes = ParameterSizes()
    assert sizes.total == 257
    assert sizes.widths == (80, 64, 80, 3, 27, 3)
    assert sizes.slice("rotation") == slice(224, 227)
    assert sizes.slice("translation") == slice(254, 257)


@pytest.mark.parametrize("batch", [0, 1, 3])
@pytest.mark.parametrize("sizes", [ParameterSizes(), ParameterSizes(5, 4, 2)])
def test_pack_and_unpack_are_inverse(batch: int, sizes: ParameterSizes) -> None:
    vector = numbered(batch, sizes)
    parameters = FaceParameters.unpack(vector, sizes)
    assert parameters.sizes == sizes
    assert len(parameters) == batch
    assert torch.equal(parameters.pack(), vector)
    for name in COMPONENTS:
        assert torch.equal(getattr(parameters, name), vector[:, sizes.slice(name)])


def test_replace_exchanges_only_what_is_given() -> None:
    parameters = FaceParameters.unpack(numbered(2))
    rotation = torch.full((2, 3), 0.5, dtype=torch.float64)
    changed = parameters.replace(rotation=rotation)
    assert torch.equal(changed.rotation, rotation)
    assert torch.equal(changed.identity, parameters.identity)
    assert not torch.equal(parameters.rotation, rotation)


def test_components_from_another_face() -> None:
    first, second = FaceParameters.unpack(numbered(2)), FaceParameters.unpack(-numbered(2))
    mixed = first.with_components_from(second, ("rotation", "expression"))
    for name in COMPONENTS:
        source = second if name in ("rotation", "expression") else first
        assert torch.equal(getattr(mixed, name), getattr(source, name))


def test_indexing_keeps_the_batch_axis() -> None:
    parameters = FaceParameters.unpack(numbered(4))
    assert torch.equal(parameters[1].pack(), numbered(4)[1:2])
    assert torch.equal(parameters[-1].pack(), numbered(4)[3:])
    assert torch.equal(parameters[1:3].pack(), numbered(4)[1:3])
    assert torch.equal(parameters[torch.tensor([2, 0])].pack(), numbered(4)[[2, 0]])
    assert len(list(parameters)) == 4
    with pytest.raises(IndexError):
        parameters[4]


def test_joining_moving_and_detaching() -> None:
    vector = numbered(3).requires_grad_()
    parameters = FaceParameters.unpack(vector)
    joined = FaceParameters.cat([parameters[:1], parameters[1:]])
    assert torch.equal(joined.pack(), vector)
    assert parameters.to(dtype=torch.float32).dtype == torch.float32
    assert parameters.device.type == "cpu"
    assert not parameters.detach().pack().requires_grad


def test_gradients_reach_the_vector() -> None:
    vector = numbered(2).requires_grad_()
    FaceParameters.unpack(vector).rotation.sum().backward()
    assert vector.grad is not None
    assert float(vector.grad.sum()) == 6.0


def test_zeros() -> None:
    parameters = FaceParameters.zeros(2, ParameterSizes(3, 4, 5), dtype=torch.float64)
    assert parameters.pack().shape == (2, 3 + 4 + 5 + 33)
    assert float(parameters.pack().abs().sum()) == 0.0


def test_refusals_are_one_clear_line() -> None:
    parameters = FaceParameters.zeros(2)
    cases = {
        "(batch, 257)": lambda: FaceParameters.unpack(torch.zeros(2, 200)),
        "got 'pose'": lambda: parameters.with_components_from(parameters, ("pose",)),
        "same face model": lambda: parameters.with_components_from(FaceParameters.zeros(3), ("rotation",)),
        "positive size": lambda: ParameterSizes(identity=0),
        "width 3": lambda: parameters.replace(rotation=torch.zeros(2, 4)),
        "same batch": lambda: parameters.replace(identity=torch.zeros(3, 80)),
    }
    for message, attempt in cases.items():
        # Under the run-time type checker a wrong shape may be refused by its annotation first.
        with pytest.raises((InputError, TypeError)) as caught:
            attempt()
        if isinstance(caught.value, InputError):
            assert message in str(caught.value)
            assert "\n" not in str(caught.value)
