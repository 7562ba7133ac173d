"""Point rendering: occlusion, closed surfaces, masks, gradients, agreement with triangles."""

import pytest
import torch
from torch import Tensor

from renderers.errors import InputError
from renderers.points import closing_radius, splat_points
from renderers.rasterizer import interpolate, rasterize


def grid_mesh(count: int, jitter: float, seed: int = 0) -> tuple[Tensor, Tensor]:
    """A flat square of side 1.6 in clip space at depth 5, (count^2, 3), and its faces."""
    axis = torch.linspace(-0.8, 0.8, count)
    y, x = torch.meshgrid(axis, axis, indexing="ij")
    vertices = torch.stack((x, y, torch.full_like(x, 5.0)), dim=-1).reshape(-1, 3)
    inner = (vertices[:, :2].abs() < 0.79).all(dim=1)
    noise = (torch.rand(len(vertices), 2, generator=torch.Generator().manual_seed(seed)) - 0.5) * jitter * 1.6 / count
    vertices[:, :2] += noise * inner[:, None]
    index = torch.arange(count * count).reshape(count, count)
    a, b, c, d = index[:-1, :-1], index[:-1, 1:], index[1:, :-1], index[1:, 1:]
    faces = torch.cat([torch.stack(t, dim=-1).reshape(-1, 3) for t in ((a, b, c), (b, d, c))])
    return vertices, faces


def test_one_point_covers_its_disc() -> None:
    points = torch.tensor([[[0.0, 0.0, 2.0]]])
    colour = torch.tensor([[[0.2, 0.5, 0.9]]])
    result = splat_points(points, colour, (8, 8), radius=1.0)
    expected = torch.zeros(8, 8, dtype=torch.bool)
    expected[3:5, 3:5] = True  # the four centres at distance sqrt(0.5) of the corner that they share
    assert torch.equal(result.mask[0], expected)
    torch.testing.assert_close(result.features[0][expected], colour[0].expand(4, 3))
    torch.testing.assert_close(result.depth[0][expected], torch.full((4,), 2.0))
    assert (result.features[0][~expected] == 0).all() and result.depth[0][~expected].isinf().all()


def test_rows_run_down_and_columns_right_in_wide_images() -> None:
    points = torch.tensor([[[0.75, 0.5, 1.0]]])
    mask = splat_points(points, torch.ones(1, 1, 1), (4, 16), radius=0.75).mask[0]
    assert mask.nonzero().tolist() == [[0, 13], [0, 14], [1, 13], [1, 14]]


def test_nearest_wins_whatever_the_order() -> None:
    points = torch.tensor([[[0.0, 0.0, 3.0], [0.05, 0.0, 2.0]]])
    colours = torch.tensor([[[1.0, 0.0, 0.0], [0.0, 1.0, 0.0]]])
    for order in ([0, 1], [1, 0]):
        result = splat_points(points[:, order], colours[:, order], (16, 16), radius=1.5)
        assert (result.features[0][result.depth[0] < 2.5][:, 0] == 0).all()
        assert torch.equal(result.features[0, 7, 7], torch.tensor([0.0, 1.0, 0.0]))


def test_points_at_the_same_depth_blend() -> None:
    points = torch.tensor([[[0.0, 0.0, 2.0], [0.0, 0.0, 2.0]]])
    colours = torch.tensor([[[1.0, 0.0, 0.0], [0.0, 1.0, 0.0]]])
    image = splat_points(points, colours, (8, 8)).features
    torch.testing.assert_close(image[0, 4, 4], torch.tensor([0.5, 0.5, 0.0]))


@pytest.mark.parametrize("jitter", [0.0, 0.8])
@pytest.mark.parametrize("count", [9, 40])
def test_closing_radius_leaves_no_hole_and_hides_what_lies_behind(count: int, jitter: float) -> None:
    vertices, faces = grid_mesh(count, jitter)
    size = 32
    behind = torch.rand(500, 3, generator=torch.Generator().manual_seed(1)) * torch.tensor([1.4, 1.4, 0.0])
    behind = behind + torch.tensor([-0.7, -0.7, 6.0])
    radius = (closing_radius(vertices, faces) * size / 2).clamp(min=0.75)
    points = torch.cat((vertices, behind))[None]
    colours = torch.zeros(1, points.shape[1], 1)
    colours[:, : len(vertices)] = 1
    result = splat_points(points, colours, (size, size), torch.cat((radius, torch.full((500,), 0.75))))
    covered = rasterize(vertices[None], faces, (size, size)).face_index[0] >= 0
    assert covered.sum() > 500
    assert result.mask[0][covered].all() and (result.features[0][covered] == 1).all()


def test_agrees_with_triangles_on_smooth_colours() -> None:
    vertices, faces = grid_mesh(60, 0.5)
    colours = (torch.sin(3 * vertices[:, :2]) + 1) / 2
    triangles = rasterize(vertices[None], faces, (32, 32))
    expected = interpolate(triangles, faces, colours[None])
    found = splat_points(vertices[None], colours[None], (32, 32), radius=1.0)
    both = found.mask & (triangles.face_index >= 0)
    assert (found.features - expected)[both].abs().max() < 0.05


def test_batches_do_not_mix() -> None:
    points = torch.rand(3, 50, 3, generator=torch.Generator().manual_seed(2)) * 2 - torch.tensor([1.0, 1.0, -1.0])
    colours = torch.rand(3, 50, 4, generator=torch.Generator().manual_seed(3))
    together = splat_points(points, colours, (12, 20), radius=1.3)
    for index in range(3):
        alone = splat_points(points[index, None], colours[index, None], (12, 20), radius=1.3)
        torch.testing.assert_close(together.features[index], alone.features[0])
        assert torch.equal(together.mask[index], alone.mask[0])


def test_points_behind_the_camera_or_outside_are_left_out() -> None:
    points = torch.tensor([[[0.0, 0.0, -1.0], [0.0, 0.0, 0.0], [5.0, 0.0, 1.0], [0.0, 1e12, 1.0]]])
    result = splat_points(points, torch.ones(1, 4, 3), (8, 8))
    assert not result.mask.any() and (result.features == 0).all()


def test_gradients() -> None:
    generator = torch.Generator().manual_seed(5)
    points = torch.rand(2, 12, 3, generator=generator, dtype=torch.float64)
    points = points * torch.tensor([2.0, 2.0, 0.02]) + torch.tensor([-1.0, -1.0, 2.0])
    colours = torch.rand(2, 12, 2, generator=generator, dtype=torch.float64)

    def render(points: Tensor, colours: Tensor) -> Tensor:
        result = splat_points(points, colours, (6, 7), radius=2.5, depth_tolerance=0.02)
        return torch.cat((result.features, torch.where(result.mask, result.depth, 0)[..., None]), dim=-1)

    assert torch.autograd.gradcheck(render, (points.requires_grad_(), colours.requires_grad_()), eps=1e-7, atol=1e-4)


def test_a_shift_is_recovered_from_the_picture() -> None:
    vertices, _ = grid_mesh(40, 0.6)
    colours = (torch.sin(4 * vertices[:, :2]) + 1)[None] / 2
    target = splat_points(vertices[None] + torch.tensor([0.05, -0.03, 0.0]), colours, (32, 32), radius=1.5)
    shift = torch.zeros(2, requires_grad=True)
    optimizer = torch.optim.Adam([shift], lr=0.005)
    for _ in range(60):
        found = splat_points(vertices[None] + torch.nn.functional.pad(shift, (0, 1)), colours, (32, 32), radius=1.5)
        loss = (found.features - target.features)[found.mask & target.mask].square().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert (shift.detach() - torch.tensor([0.05, -0.03])).abs().max() < 0.01


def test_rejects_bad_input() -> None:
    points = torch.zeros(1, 1, 3)
    with pytest.raises(InputError, match="finite points"):
        splat_points(points * torch.nan, points, (4, 4))
    with pytest.raises(InputError, match="positive radius"):
        splat_points(points, points, (4, 4), radius=0.0)
