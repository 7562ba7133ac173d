"""Perspective-n-point: known poses come back."""

import pytest
import torch

from evaluation.pose_from_landmarks import fit_pose
from renderers.camera import PerspectiveCamera
from renderers.errors import InputError
from renderers.rotation import euler_to_matrix


def face_like_points() -> torch.Tensor:
    """68 points spread as on a face: about 1.4 dm wide, 1.5 high, 0.8 deep."""
    generator = torch.Generator().manual_seed(0)
    points = torch.rand(68, 3, generator=generator, dtype=torch.float64) - 0.5
    points = points * points.new_tensor([1.4, 1.5, 0.3])
    points[:, 2] -= points[:, 0].square() + 0.3 * points[:, 1].square()
    return points


def poses() -> tuple[torch.Tensor, torch.Tensor]:
    rotation = torch.tensor(
        [[0.0, 0, 0], [0.3, -0.2, 0.1], [-0.4, 0.9, -0.2], [0.1, -1.3, 0.3], [0.0, 0.0, 1.2]], dtype=torch.float64
    )
    translation = torch.tensor(
        [[0.0, 0, 0], [0.1, -0.1, 0.3], [-0.2, 0.1, -0.5], [0.0, 0.0, 1.0], [0.05, 0.2, 0.0]], dtype=torch.float64
    )
    return rotation, translation


@pytest.mark.parametrize("camera", [PerspectiveCamera(), PerspectiveCamera(2.5, 6.0, (0.05, -0.1))])
@pytest.mark.parametrize("size", [64, 1024])
def test_exact_landmarks_give_the_exact_pose(camera, size):
    shape, (rotation, translation) = face_like_points(), poses()
    points = shape @ euler_to_matrix(rotation).mT + translation[:, None]
    fit = fit_pose(camera.to_pixels(points, (size, size)), shape, size, camera)
    torch.testing.assert_close(fit.rotation, rotation, atol=1e-6, rtol=0)
    torch.testing.assert_close(fit.translation, translation, atol=1e-5, rtol=0)
    assert float(fit.error.max()) < 1e-5


def test_each_picture_is_fitted_by_itself():
    shape, (rotation, translation) = face_like_points(), poses()
    points = shape @ euler_to_matrix(rotation).mT + translation[:, None]
    pixels = PerspectiveCamera().to_pixels(points, (64, 64))
    torch.manual_seed(0)
    pixels = pixels + torch.randn_like(pixels) * 0.5
    together = fit_pose(pixels, shape, 64)
    alone = fit_pose(pixels[2:3], shape, 64)
    torch.testing.assert_close(together.rotation[2:3], alone.rotation, atol=1e-8, rtol=0)
    # Half a pixel of noise at 64 px: a few degrees at most, and an error of about its size.
    assert float((together.rotation - rotation).abs().max()) < 0.12
    assert float(together.error.max()) < 1.0


def test_it_is_a_minimum():
    """Noise leaves a residual; no small move of the fitted pose makes it smaller."""
    shape = face_like_points()
    camera = PerspectiveCamera()
    torch.manual_seed(1)
    pixels = camera.to_pixels(shape[None], (64, 64)) + torch.randn(1, 68, 2, dtype=torch.float64)
    fit = fit_pose(pixels, shape, 64)

    def error(rotation: torch.Tensor, translation: torch.Tensor) -> torch.Tensor:
        points = shape @ euler_to_matrix(rotation).mT + translation[:, None]
        return (camera.to_pixels(points, (64, 64)) - pixels).square().sum(-1).mean().sqrt()

    torch.testing.assert_close(error(fit.rotation, fit.translation), fit.error[0])
    for axis in range(3):
        for step in (-1e-3, 1e-3):
            move = torch.zeros(1, 3, dtype=torch.float64)
            move[0, axis] = step
            assert error(fit.rotation + move, fit.translation) > fit.error[0]
            assert error(fit.rotation, fit.translation + move) > fit.error[0]


def test_weights_leave_points_out():
    shape, (rotation, translation) = face_like_points(), poses()
    points = shape @ euler_to_matrix(rotation).mT + translation[:, None]
    pixels = PerspectiveCamera().to_pixels(points, (64, 64))
    pixels[:, :17] += 5.0
    weights = torch.ones(68)
    weights[:17] = 0
    fit = fit_pose(pixels, shape, 64, weights=weights)
    torch.testing.assert_close(fit.rotation, rotation, atol=1e-6, rtol=0)


def test_bad_landmarks():
    shape = face_like_points()
    with pytest.raises(InputError, match="same order"):
        fit_pose(torch.zeros(2, 66, 2), shape, 64)
    with pytest.raises(InputError, match="finite"):
        fit_pose(torch.full((2, 68, 2), float("nan")), shape, 64)
