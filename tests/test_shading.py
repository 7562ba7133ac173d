"""Normals, spherical harmonics, directional light."""

import math

import pytest
import torch
from torch import Tensor

from renderers.errors import InputError
from renderers.shading import (
    direction_from_angles,
    directional_light,
    irradiance,
    light_angles,
    light_direction,
    shade_lambert,
    shade_spherical_harmonics,
    spherical_harmonics_basis,
    vertex_normals,
)


@pytest.fixture
def normals() -> Tensor:
    points = torch.randn(2, 4000, 3, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    return torch.nn.functional.normalize(points, dim=-1)


def test_flat_face_towards_the_viewer() -> None:
    vertices = torch.tensor([[[0.0, 0.0, 0.0], [1.0, 0.0, 0.0], [0.0, 1.0, 0.0]]])
    expected = torch.tensor([0.0, 0.0, 1.0]).expand(1, 3, 3)
    torch.testing.assert_close(vertex_normals(vertices, torch.tensor([[0, 1, 2]])), expected)


@pytest.mark.parametrize("batch", [1, 3])
def test_faces_weigh_by_area(batch: int) -> None:
    # Vertex 0 joins a triangle of area 2 that faces z and one of area 1/2 that faces x. At batch 3 a cross product
    # whose axis is not named goes wrong.
    vertices = torch.tensor([[0.0, 0, 0], [2, 0, 0], [0, 2, 0], [0, 1, 0], [0, 0, 1]]).expand(batch, -1, -1)
    found = vertex_normals(vertices, torch.tensor([[0, 1, 2], [0, 3, 4]]))
    expected = torch.nn.functional.normalize(torch.tensor([1.0, 0.0, 4.0]), dim=0)
    torch.testing.assert_close(found[:, 0], expected.expand(batch, 3))


def test_lonely_vertex_has_no_normal_and_a_finite_gradient() -> None:
    vertices = torch.rand(1, 4, 3, requires_grad=True)
    found = vertex_normals(vertices, torch.tensor([[0, 1, 2]]))
    found.sum().backward()
    assert (found[0, 3] == 0).all() and vertices.grad is not None and vertices.grad.isfinite().all()


def test_basis_is_the_bfm_tools(normals: Tensor) -> None:
    pi = math.pi
    a = [pi, 2 * pi / 3**0.5, 2 * pi / 8**0.5]
    c = [1 / (4 * pi) ** 0.5, 3**0.5 / (4 * pi) ** 0.5, 3 * 5**0.5 / (12 * pi) ** 0.5]
    x, y, z = normals[0, 0].tolist()
    expected = [
        a[0] * c[0],
        -a[1] * c[1] * y,
        a[1] * c[1] * z,
        -a[1] * c[1] * x,
        a[2] * c[2] * x * y,
        -a[2] * c[2] * y * z,
        0.5 * a[2] * c[2] / 3**0.5 * (3 * z**2 - 1),
        -a[2] * c[2] * x * z,
        0.5 * a[2] * c[2] * (x**2 - y**2),
    ]
    torch.testing.assert_close(spherical_harmonics_basis(normals[0, 0]), torch.tensor(expected, dtype=torch.float64))


def test_basis_is_orthogonal_over_the_sphere(normals: Tensor) -> None:
    basis = spherical_harmonics_basis(normals.flatten(0, 1))
    # Antipodes and axis permutations would make the sum exact; random directions leave noise of about 1 / sqrt(8000).
    gram = basis.T @ basis / len(basis)
    scale = gram.diagonal().sqrt()
    assert (gram / scale / scale[:, None] - torch.eye(9, dtype=torch.float64)).abs().max() < 0.05


def test_zero_illumination_is_soft_white_light(normals: Tensor) -> None:
    albedo = torch.full_like(normals, 0.5)
    shaded = shade_spherical_harmonics(albedo, normals, torch.zeros(2, 27, dtype=torch.float64))
    torch.testing.assert_close(shaded, albedo * 0.8 * math.pi / math.sqrt(4 * math.pi))


def test_illumination_is_channel_major(normals: Tensor) -> None:
    illumination = torch.zeros(2, 27, dtype=torch.float64)
    illumination[:, 9] = 1.0
    change = irradiance(normals, illumination) - irradiance(normals, torch.zeros_like(illumination))
    assert change[..., [0, 2]].abs().max() == 0 and change[..., 1].min() > 0


def test_directional_light_is_the_second_order_fit(normals: Tensor) -> None:
    azimuth, elevation = torch.tensor([0.6, -1.2], dtype=torch.float64), torch.tensor([0.3, -0.4], dtype=torch.float64)
    strength = torch.tensor([[0.7, 0.6, 0.5], [0.4, 0.9, 1.0]], dtype=torch.float64)
    ambient = torch.tensor([0.3, 0.5], dtype=torch.float64)
    found = irradiance(normals, directional_light(azimuth, elevation, strength, ambient))
    cosine = normals @ direction_from_angles(azimuth, elevation)[:, :, None]
    fit = 1 / 4 + cosine / 2 + 5 / 32 * (3 * cosine**2 - 1)
    torch.testing.assert_close(found, ambient[:, None, None] + strength[:, None] * fit)
    assert (fit - cosine.clamp(min=0)).abs().max() <= 3 / 32 + 1e-12


@pytest.mark.parametrize(("azimuth", "elevation", "axis"), [(1.0, 0.0, 0), (0.0, 1.0, 1), (0.0, 0.0, 2)])
def test_light_comes_from_where_it_says(azimuth: float, elevation: float, axis: int) -> None:
    light = directional_light(*(torch.tensor([value]) for value in (azimuth, elevation, 1.0, 0.2)))
    towards, away = torch.zeros(2, 1, 1, 3)
    towards[..., axis], away[..., axis] = 1, -1
    assert irradiance(towards, light).min() > irradiance(away, light).max() + 0.5


def test_light_angles_invert_directional_light() -> None:
    azimuth, elevation = torch.tensor([0.6, -1.2, 2.5]), torch.tensor([0.3, -0.4, 1.0])
    light = directional_light(azimuth, elevation, torch.tensor([0.5, 1.0, 0.1]), torch.full((3,), 0.4))
    torch.testing.assert_close(light_angles(light), torch.stack((azimuth, elevation), dim=1))
    assert (light_direction(torch.zeros(1, 27)) == 0).all()


def test_lambert_shades_by_the_clamped_cosine() -> None:
    normals = torch.tensor([[[0.0, 0.0, 1.0], [1.0, 0.0, 0.0], [-1.0, 0.0, 0.0]]])
    direction = torch.nn.functional.normalize(torch.tensor([[1.0, 0.0, 1.0]]), dim=1)
    albedo = torch.full((1, 3, 3), 0.5)
    shaded = shade_lambert(albedo, normals, torch.tensor([0.2]), torch.tensor([1.0]), direction)
    lit = 0.5 * (0.2 + math.sqrt(0.5))
    torch.testing.assert_close(shaded[0, :, 0], torch.tensor([lit, lit, 0.1]))


def test_gradients() -> None:
    generator = torch.Generator().manual_seed(4)
    shapes = ((2, 6, 3), (2, 6, 3), (2, 27))
    vertices, albedo, light = (torch.rand(s, generator=generator, dtype=torch.float64).requires_grad_() for s in shapes)
    faces = torch.tensor([[0, 1, 2], [2, 3, 4], [4, 5, 0], [1, 3, 5]])
    assert torch.autograd.gradcheck(
        lambda v, a, g: shade_spherical_harmonics(a, vertex_normals(v, faces), g), (vertices, albedo, light)
    )
    values = [torch.tensor([value, 0.3], dtype=torch.float64, requires_grad=True) for value in (0.2, 0.4, 0.8, 0.5)]
    assert torch.autograd.gradcheck(directional_light, values)


def test_rejects_other_numbers_of_coefficients(normals: Tensor) -> None:
    with pytest.raises(InputError, match=r"\(batch, 27\), got \(2, 9\)"):
        irradiance(normals, torch.zeros(2, 9, dtype=torch.float64))
