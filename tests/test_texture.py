"""Texture look-up: which way up, bilinear values, seams, gradients."""

import torch

from renderers.rasterizer import rasterize
from renderers.texture import sample_texture, texture_pixels

TEXTURE = torch.tensor([[[[1.0, 2.0], [3.0, 4.0]]]])  # top row 1 2, bottom row 3 4


def test_u_runs_right_and_v_up() -> None:
    corners = torch.tensor([[0.0, 0.0], [1.0, 0.0], [0.0, 1.0], [1.0, 1.0]])
    torch.testing.assert_close(sample_texture(TEXTURE, corners)[0, :, 0], torch.tensor([3.0, 4.0, 1.0, 2.0]))


def test_texel_centres_are_exact_and_between_them_linear() -> None:
    uv = torch.tensor([[0.25, 0.75], [0.75, 0.25], [0.5, 0.75], [0.5, 0.5]])
    torch.testing.assert_close(sample_texture(TEXTURE, uv)[0, :, 0], torch.tensor([1.0, 4.0, 1.5, 2.5]))


def test_outside_reads_the_edge() -> None:
    torch.testing.assert_close(sample_texture(TEXTURE, torch.tensor([[-3.0, 9.0]])), torch.tensor([[[1.0]]]))


def test_coordinates_per_batch_entry() -> None:
    uv = torch.tensor([[[0.0, 0.0]], [[1.0, 1.0]]])
    torch.testing.assert_close(sample_texture(TEXTURE.expand(2, 1, 2, 2), uv).flatten(), torch.tensor([3.0, 2.0]))


def test_gradients() -> None:
    generator = torch.Generator().manual_seed(0)
    texture = torch.rand(2, 3, 5, 4, generator=generator, dtype=torch.float64, requires_grad=True)
    uv = torch.rand(7, 2, generator=generator, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(sample_texture, (texture, uv))


def test_pixels_show_detail_between_the_vertices() -> None:
    square = torch.tensor([[[-1.0, -1.0, 1.0], [1.0, -1.0, 1.0], [-1.0, 1.0, 1.0], [1.0, 1.0, 1.0]]])
    faces = torch.tensor([[0, 1, 2], [1, 3, 2]])
    uv = (square[0, :, :2] + 1) / 2
    texture = torch.rand(1, 3, 8, 8, generator=torch.Generator().manual_seed(1))
    image = texture_pixels(rasterize(square, faces, (8, 8)), faces, uv, texture)
    torch.testing.assert_close(image.permute(0, 3, 1, 2), texture)


def test_seams_take_their_own_faces() -> None:
    square = torch.tensor([[[-1.0, -1.0, 1.0], [1.0, -1.0, 1.0], [-1.0, 1.0, 1.0], [1.0, 1.0, 1.0]]])
    faces = torch.tensor([[0, 1, 2], [1, 3, 2]])
    uv = torch.tensor([[0.0, 0.0], [0.0, 0.0], [0.0, 0.0], [1.0, 1.0], [1.0, 1.0], [1.0, 1.0]])
    image = texture_pixels(rasterize(square, faces, (4, 4)), torch.tensor([[0, 1, 2], [3, 4, 5]]), uv, TEXTURE)
    assert image[0, 3, 0, 0] == 3 and image[0, 0, 3, 0] == 2


def test_empty_pixels_are_zero() -> None:
    triangle = torch.tensor([[[-1.0, -1.0, 1.0], [1.0, -1.0, 1.0], [-1.0, 1.0, 1.0]]])
    faces = torch.tensor([[0, 1, 2]])
    image = texture_pixels(rasterize(triangle, faces, (8, 8)), faces, torch.full((3, 2), 0.5), TEXTURE)
    assert image[0, 0, 7] == 0 and image[0, 7, 0] == 2.5
