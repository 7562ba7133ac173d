"""Euler angles: signs, order, references, inverse, gradients."""

import math

import pytest
import torch
from kornia.geometry.conversions import axis_angle_to_rotation_matrix
from scipy.spatial.transform import Rotation
from torch import Tensor

from renderers.errors import InputError
from renderers.rotation import euler_to_matrix, matrix_to_euler, rotation_distance


@pytest.fixture
def angles() -> Tensor:
    generator = torch.Generator().manual_seed(0)
    limits = torch.tensor([math.pi, math.pi / 2, math.pi], dtype=torch.float64)
    return (torch.rand(64, 3, generator=generator, dtype=torch.float64) * 2 - 1) * limits * 0.98


@pytest.mark.parametrize(
    ("axis", "start", "expected"),
    [
        (0, (0.0, 0.0, 1.0), (0.0, -1.0, 0.0)),  # positive pitch turns the nose down
        (1, (0.0, 0.0, 1.0), (1.0, 0.0, 0.0)),  # positive yaw turns it to the image's right
        (2, (0.0, 1.0, 0.0), (-1.0, 0.0, 0.0)),  # positive roll leans the head's top to the image's left
    ],
)
def test_signs(axis: int, start: tuple[float, ...], expected: tuple[float, ...]) -> None:
    angles = torch.zeros(1, 3, dtype=torch.float64)
    angles[0, axis] = math.pi / 2
    turned = euler_to_matrix(angles)[0] @ torch.tensor(start, dtype=torch.float64)
    torch.testing.assert_close(turned, torch.tensor(expected, dtype=torch.float64), atol=1e-12, rtol=0)


def test_matches_scipy(angles: Tensor) -> None:
    expected = torch.from_numpy(Rotation.from_euler("xyz", angles.numpy()).as_matrix())
    torch.testing.assert_close(euler_to_matrix(angles), expected)


def test_matches_products_of_kornia_rotations(angles: Tensor) -> None:
    pitch, yaw, roll = (axis_angle_to_rotation_matrix(angle) for angle in torch.diag_embed(angles).unbind(1))
    torch.testing.assert_close(euler_to_matrix(angles), roll @ yaw @ pitch)


def test_inverse(angles: Tensor) -> None:
    torch.testing.assert_close(matrix_to_euler(euler_to_matrix(angles)), angles)


@pytest.mark.parametrize("yaw", [math.pi / 2, -math.pi / 2])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_inverse_at_gimbal_lock_gives_the_same_rotation(yaw: float, dtype: torch.dtype) -> None:
    matrix = euler_to_matrix(torch.tensor([[0.3, yaw, -0.5]], dtype=dtype))
    found = matrix_to_euler(matrix)
    assert found[0, 2] == 0
    torch.testing.assert_close(euler_to_matrix(found), matrix, atol=1e-6, rtol=0)


def test_extra_batch_axes(angles: Tensor) -> None:
    grid = angles.reshape(4, 16, 3)
    torch.testing.assert_close(euler_to_matrix(grid).flatten(0, 1), euler_to_matrix(angles))
    torch.testing.assert_close(matrix_to_euler(euler_to_matrix(grid)), grid)


def test_gradients(angles: Tensor) -> None:
    few = angles[:3].requires_grad_()
    assert torch.autograd.gradcheck(euler_to_matrix, (few,))
    assert torch.autograd.gradcheck(lambda a: matrix_to_euler(euler_to_matrix(a)), (few,))


def test_gradient_of_the_inverse_at_identity_is_finite() -> None:
    angles = torch.zeros(1, 3, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda a: matrix_to_euler(euler_to_matrix(a)), (angles,))


def test_distance_is_the_angle_of_the_relative_rotation(angles: Tensor) -> None:
    other = angles.flip(0)
    relative = Rotation.from_euler("xyz", angles.numpy()) * Rotation.from_euler("xyz", other.numpy()).inv()
    torch.testing.assert_close(rotation_distance(angles, other), torch.from_numpy(relative.magnitude()))
    assert rotation_distance(angles, angles).max() == 0


def test_rejects_other_widths() -> None:
    with pytest.raises(InputError, match=r"\(\.\.\., 3\), got \(2, 4\)"):
        euler_to_matrix(torch.zeros(2, 4))
