"""The camera: the units of its arguments, directions, the BFM tools' projection, inverse, gradients."""

import pytest
import torch

from renderers.camera import PerspectiveCamera, clip_to_pixels, pixels_to_clip
from renderers.errors import InputError


def test_directions_and_depth() -> None:
    camera = PerspectiveCamera(focal_length=4.0, distance=10.0)
    clip = camera.to_clip(torch.tensor([[[0.0, 0.0, 0.0], [1.25, 0.0, 0.0], [0.0, 1.25, 0.0], [0.0, 0.0, 2.0]]]))
    expected = torch.tensor([[[0.0, 0.0, 10.0], [1.0, 0.0, 10.0], [0.0, 1.0, 10.0], [0.0, 0.0, 8.0]]])
    torch.testing.assert_close(clip, expected)


def test_pixels_are_right_and_down_from_the_top_left_corner() -> None:
    points = torch.tensor([[[0.0, 0.0, 0.0], [-1.25, 1.25, 0.0], [1.25, -1.25, 0.0]]])
    pixels = PerspectiveCamera().to_pixels(points, (64, 64))
    torch.testing.assert_close(pixels, torch.tensor([[[32.0, 32.0], [0.0, 0.0], [64.0, 64.0]]]))


def test_projects_as_the_bfm_tools() -> None:
    points = torch.randn(2, 50, 3, generator=torch.Generator().manual_seed(1))
    depth = 10 - points[..., 2]
    x, y = 1015 * points[..., 0] / depth + 112, 224 - (1015 * points[..., 1] / depth + 112)
    pixels = PerspectiveCamera(1015 / 224, 10.0).to_pixels(points, (224, 224))
    torch.testing.assert_close(pixels, torch.stack((x, y), dim=-1), atol=1e-3, rtol=0)


def test_wide_images_keep_proportions_and_the_vertical_view() -> None:
    points = torch.tensor([[[0.5, 0.5, 0.0]]])
    camera = PerspectiveCamera()
    (x, y), (wide_x, wide_y) = camera.to_pixels(points, (64, 64))[0, 0], camera.to_pixels(points, (64, 128))[0, 0]
    torch.testing.assert_close((wide_x - 64, wide_y), (x - 32, y))


def test_principal_point_shifts_right_and_up() -> None:
    origin = torch.zeros(1, 1, 3)
    pixels = PerspectiveCamera(principal_point=(0.25, 0.125)).to_pixels(origin, (64, 128))
    torch.testing.assert_close(pixels, torch.tensor([[[64.0 + 16.0, 32.0 - 8.0]]]))


@pytest.mark.parametrize("batch", [1, 3])
def test_inverses(batch: int) -> None:
    points = torch.randn(batch, 20, 3, generator=torch.Generator().manual_seed(2), dtype=torch.float64)
    camera = PerspectiveCamera(3.0, 8.0, (0.1, -0.2))
    clip = camera.to_clip(points, aspect_ratio=1.5)
    torch.testing.assert_close(camera.from_clip(clip, aspect_ratio=1.5), points)
    torch.testing.assert_close(pixels_to_clip(clip_to_pixels(clip, (40, 60)), (40, 60)), clip[..., :2])


def test_points_in_the_camera_plane_stay_finite() -> None:
    points = torch.tensor([[[0.0, 0.0, 10.0], [1.0, 1.0, 10.0], [1.0, 1.0, 12.0]]], requires_grad=True)
    clip = PerspectiveCamera().to_clip(points)
    clip.sum().backward()
    assert clip.isfinite().all() and points.grad is not None and points.grad.isfinite().all()
    torch.testing.assert_close(clip[0, :, 2].detach(), torch.tensor([0.0, 0.0, -2.0]))


def test_gradients() -> None:
    points = torch.randn(2, 4, 3, generator=torch.Generator().manual_seed(3), dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda p: PerspectiveCamera().to_pixels(p, (64, 48)), (points,))


@pytest.mark.parametrize("values", [{"focal_length": 0.0}, {"distance": -1.0}, {"focal_length": float("nan")}])
def test_rejects_impossible_cameras(values: dict[str, float]) -> None:
    with pytest.raises(InputError, match="expected a positive camera"):
        PerspectiveCamera(**values)
