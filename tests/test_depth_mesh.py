"""Depth maps as meshes: where pixels are, their normals, how they move, what is drawn, and which pixels learn depth."""

import math

import pytest
import torch
import torch.nn.functional as F

from renderers.camera import PerspectiveCamera
from renderers.depth_mesh import (
    clip_contour_gradient,
    depth_normals,
    depth_points,
    move_points,
    pixel_faces,
    render_depth_mesh,
)
from renderers.errors import InputError
from renderers.shading import vertex_normals

CAMERA = PerspectiveCamera(0.5 / math.tan(math.radians(5)), 1.0)
NO_MOTION = torch.zeros(1, 3)


def bump(size: int = 32, column: float = 0.0) -> torch.Tensor:
    """A face-like bump before a flat wall; `column` is its place from -1 to 1."""
    x = torch.linspace(-1, 1, size)
    squared = (x[None] - column) ** 2 + x[:, None] ** 2
    return (1.05 - 0.12 * torch.exp(-6 * squared))[None]


def test_pixels_span_the_image_from_edge_to_edge() -> None:
    points = depth_points(torch.full((1, 3, 5), 2.0), CAMERA)
    reach = 2 * math.tan(math.radians(5))
    # The wide image spans the field of view in height, 5/3 of it in width; depth 2 is one unit behind the origin.
    assert points[0, 0, 0].tolist() == pytest.approx([-reach * 5 / 3, reach, -1])
    assert points[0, 2, 4].tolist() == pytest.approx([reach * 5 / 3, -reach, -1])
    assert points[0, 1, 2].tolist() == pytest.approx([0, 0, -1])
    clip = CAMERA.to_clip(points.flatten(1, 2), aspect_ratio=5 / 3)
    torch.testing.assert_close(clip[0, :5, 0], torch.linspace(-1, 1, 5))


def test_a_frontal_wall_has_normals_towards_the_viewer() -> None:
    normals = depth_normals(torch.full((2, 6, 7), 1.0), CAMERA)
    torch.testing.assert_close(normals, torch.tensor([0.0, 0.0, 1.0]).expand(2, 6, 7, 3), atol=1e-5, rtol=0)


def test_normals_of_a_slanted_wall() -> None:
    """A plane z = 0.5 x - 0.2 y of the world, whose right side and lower side are nearer."""
    rays = depth_points(torch.ones(1, 9, 9, dtype=torch.float64), CAMERA)
    # The camera is at (0, 0, 1): a ray through p reaches the plane at depth s with s (p - camera) + camera on it.
    slope = torch.tensor([-0.5, 0.2, 1.0], dtype=torch.float64)
    camera = torch.tensor([0.0, 0.0, 1.0], dtype=torch.float64)
    depth = -(camera @ slope) / ((rays - camera) @ slope)
    normals = depth_normals(depth, CAMERA)
    expected = (slope / slope.norm()).expand(1, 9, 9, 3)
    torch.testing.assert_close(normals, expected)


def test_normals_agree_with_those_of_the_mesh() -> None:
    depth = bump(64)
    mesh = vertex_normals(depth_points(depth, CAMERA).flatten(1, 2), pixel_faces(64, 64)).view(1, 64, 64, 3)
    ours = depth_normals(depth, CAMERA)
    assert float((mesh * ours).sum(dim=3)[:, 1:-1, 1:-1].min()) > 0.99


def test_epsilon_shortens_normals_as_in_the_release() -> None:
    """Twice the area of four triangles between neighbours of a frontal wall, over itself and the epsilon."""
    spacing = 2 * math.tan(math.radians(5)) / 255
    length = float(depth_normals(torch.ones(1, 256, 256), CAMERA, epsilon=1e-7).norm(dim=3).mean())
    assert length == pytest.approx(4 * spacing**2 / (4 * spacing**2 + 1e-7), abs=1e-3)
    assert 0.94 < length < 0.96


def test_pixels_move_as_far_as_the_map_lets_them() -> None:
    points = depth_points(bump(8), CAMERA)
    rotation, translation = torch.tensor([[0.1, -0.4, 0.2]]), torch.tensor([[0.02, 0.03, -0.01]])
    moved = move_points(points, rotation, translation)
    transformation = torch.zeros(1, 1, 8, 8)
    transformation[..., 2:] = 0.25
    transformation[..., 4:] = 1
    mixed = move_points(points, rotation, translation, transformation)
    torch.testing.assert_close(mixed[:, :, :2], points[:, :, :2])
    torch.testing.assert_close(mixed[:, :, 2:4], 0.75 * points[:, :, 2:4] + 0.25 * moved[:, :, 2:4])
    torch.testing.assert_close(mixed[:, :, 4:], moved[:, :, 4:])


def test_positive_yaw_turns_a_bump_to_the_right_and_positive_pitch_down() -> None:
    depth = bump()
    near = (1.05 - depth)[:, None].repeat(1, 3, 1, 1)
    points = depth_points(depth, CAMERA)

    def centre(rotation: list[float]) -> tuple[float, float]:
        drawn = render_depth_mesh(
            move_points(points, torch.tensor([rotation]), NO_MOTION), near, CAMERA, background=0.0
        )
        weight = drawn.image[0, 0] ** 4
        place = torch.linspace(-1, 1, 32)
        return float((weight.sum(0) * place).sum() / weight.sum()), float((weight.sum(1) * place).sum() / weight.sum())

    assert centre([0.0, 0.4, 0.0])[0] > 0.05 > abs(centre([0.0, 0.0, 0.0])[0])
    assert centre([0.4, 0.0, 0.0])[1] > 0.05


def test_unmoved_meshes_fill_the_image_with_their_own_colours() -> None:
    # A linear ramp is what interpolation between vertices keeps; centres of pixels are inside the outermost vertices.
    ramp = torch.linspace(-1, 1, 16).expand(1, 3, 16, 16)
    drawn = render_depth_mesh(depth_points(torch.ones(1, 16, 16), CAMERA), ramp, CAMERA)
    assert bool((drawn.mask == 1).all())
    centres = (2 * torch.arange(16) + 1) / 16 - 1
    torch.testing.assert_close(drawn.image, centres.expand(1, 3, 16, 16))
    torch.testing.assert_close(drawn.depth, torch.ones(1, 16, 16))


def test_what_the_mesh_leaves_is_background() -> None:
    points = depth_points(torch.ones(1, 16, 16), CAMERA)
    shifted = move_points(points, NO_MOTION, torch.tensor([[0.1, 0.0, 0.0]]))
    drawn = render_depth_mesh(shifted, torch.zeros(1, 3, 16, 16), CAMERA, background=1.0)
    empty = drawn.mask[:, 0] == 0
    assert bool(empty[0, :, :8].all()) and not bool(empty[0, :, 12:].any())
    assert bool(torch.isinf(drawn.depth[empty]).all()) and bool((drawn.image.permute(0, 2, 3, 1)[empty] == 1).all())


def test_faces_turn_counter_clockwise_and_cover_each_square_twice() -> None:
    faces = pixel_faces(3, 4)
    assert faces.shape == (2 * 2 * 3, 3)
    points = depth_points(torch.ones(1, 3, 4), CAMERA).view(-1, 3)
    a, b, c = (points[faces[:, corner]] for corner in range(3))
    assert bool((torch.cross(b - a, c - a, dim=-1)[:, 2] > 0).all())


def test_gradients_of_depth_and_colour() -> None:
    depth = bump(6).double()[:, :5, :4].requires_grad_()
    colours = torch.rand(1, 2, 5, 4, dtype=torch.float64, requires_grad=True)
    rotation = torch.tensor([[0.05, -0.1, 0.02]], dtype=torch.float64)

    def draw(depth: torch.Tensor, colours: torch.Tensor) -> torch.Tensor:
        points = move_points(depth_points(depth, CAMERA), rotation, rotation * 0)
        return render_depth_mesh(points, colours, CAMERA, background=0.0).image

    assert torch.autograd.gradcheck(draw, (depth, colours), eps=1e-8, atol=1e-4)


def test_contours_give_depth_no_gradient() -> None:
    """Where the Laplacian of the gradient's support, with reflected borders, is not zero."""
    gradient = torch.randn(2, 9, 11) * (F.avg_pool2d(torch.randn(2, 1, 9, 11), 3, 1, 1)[:, 0] > -0.2)
    depth = torch.rand(2, 9, 11, requires_grad=True)
    kept = clip_contour_gradient(depth)
    torch.testing.assert_close(kept, depth, rtol=0, atol=0)
    kept.backward(gradient)
    kernel = torch.tensor([[0.0, -1.0, 0.0], [-1.0, 4.0, -1.0], [0.0, -1.0, 0.0]])[None, None]
    support = F.pad((gradient != 0).float()[:, None], (1, 1, 1, 1), mode="reflect")
    laplacian = F.conv2d(support, kernel)[:, 0]
    assert depth.grad is not None
    torch.testing.assert_close(depth.grad, gradient * (laplacian == 0), rtol=0, atol=0)
    assert 0 < int((depth.grad != 0).sum()) < int((gradient != 0).sum())


@pytest.mark.parametrize("sizes", [(1, 5), (5, 1)])
def test_maps_without_a_square_are_refused(sizes: tuple[int, int]) -> None:
    with pytest.raises(InputError, match="at least 2 x 2"):
        pixel_faces(*sizes)
    with pytest.raises(InputError, match="at least 3 x 3"):
        depth_normals(torch.ones(1, *sizes), CAMERA)
