"""Head pose from 2D landmarks alone: a rigid shape fitted through a perspective camera (perspective-n-point)."""

from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from renderers.camera import PerspectiveCamera
from renderers.errors import InputError
from renderers.rotation import euler_to_matrix, matrix_to_euler

# Chosen by us: yaw of the starts in radians. From the nearest of them the fit converges for any portrait's pose; the
# best of the results is taken.
_START_YAWS = (-0.8, 0.0, 0.8)
# Chosen by us (Marquardt 1963 leaves them open): first damping, relative to the normal matrix's diagonal, and its
# factors after a refused and after an accepted step.
_FIRST_DAMPING, _RAISE, _LOWER = 1e-2, 4.0, 0.25


class PoseFit(NamedTuple):
    """A rigid fit.

    Attributes:
        rotation: (B, 3) Euler radians (pitch, yaw, roll), R = Rz Ry Rx.
        translation: (B, 3) in the shape's unit, after rotation.
        error: (B,) root mean square distance of the projected shape to the landmarks, pixels.
    """

    rotation: Float[Tensor, "batch 3"]
    translation: Float[Tensor, "batch 3"]
    error: Float[Tensor, " batch"]


class _State(NamedTuple):
    matrix: Tensor
    translation: Tensor
    residual: Tensor
    jacobian: Tensor
    cost: Tensor


@torch.no_grad()
def fit_pose(
    landmarks: Float[Tensor, "batch points 2"],
    shape: Float[Tensor, "shape_points 3"],
    image_size: int,
    camera: PerspectiveCamera | None = None,
    weights: Float[Tensor, " shape_points"] | None = None,
    iterations: int = 30,
) -> PoseFit:
    """Rotation and translation that project `shape` closest to `landmarks`: Levenberg-Marquardt, batched, in float64.

    Minimises sum_i w_i |project(R s_i + t) - l_i|^2 over the rotation (left-multiplied exponential updates, so that no
    angle is singular) and the translation.

    Args:
        landmarks: (B, N, 2) pixels (x right, y down) of square pictures.
        shape: (N, 3) object frame (x right, y up, z to the viewer), in the camera's unit.
        image_size: side of the pictures in pixels.
        camera: the demo's camera if left out. The focal length only has to be near the truth: most of its error goes
            into the distance.
        weights: (N,) of each point, for instance zero for the jaw line; ones if left out.
        iterations: steps, each a 6x6 solve per picture.
    Returns: the fits, float64, without gradient.
    Raises: `InputError` for landmarks that are not finite, or of another number than the shape's.
    """
    if landmarks.shape[1:] != shape.shape[:1] + (2,) or shape.shape[0] < 4:
        raise InputError(
            f"expected landmarks (batch, points, 2) of a shape of at least 4 points, got {tuple(landmarks.shape)} and "
            f"shape {tuple(shape.shape)}; give both in the same order"
        )
    if not torch.isfinite(landmarks).all():
        raise InputError("expected finite landmarks, got NaN or infinity; leave out the pictures they come from")
    camera = camera or PerspectiveCamera()
    landmarks, shape = landmarks.double(), shape.double()
    roots = torch.ones_like(shape[:, 0]) if weights is None else weights.double().sqrt()
    fits = [_fit_from(landmarks, shape, image_size, camera, roots, iterations, start_yaw) for start_yaw in _START_YAWS]
    costs = torch.stack([fit.cost for fit in fits])
    best = costs.argmin(dim=0)
    batch = torch.arange(landmarks.shape[0], device=landmarks.device)
    matrix = torch.stack([fit.matrix for fit in fits])[best, batch]
    translation = torch.stack([fit.translation for fit in fits])[best, batch]
    error = (costs[best, batch] / roots.square().sum()).sqrt()
    return PoseFit(matrix_to_euler(matrix), translation, error)


def _fit_from(
    landmarks: Tensor,
    shape: Tensor,
    image_size: int,
    camera: PerspectiveCamera,
    roots: Tensor,
    iterations: int,
    start_yaw: float,
) -> _State:
    batch = landmarks.shape[0]
    angles = landmarks.new_tensor([0.0, start_yaw, 0.0]).expand(batch, 3)
    matrix = euler_to_matrix(angles)
    translation = _first_translation(landmarks, shape, matrix, image_size, camera)
    state = _linearise(matrix, translation, landmarks, shape, image_size, camera, roots)
    damping = landmarks.new_full((batch,), _FIRST_DAMPING)
    for _ in range(iterations):
        normal = state.jacobian.mT @ state.jacobian
        gradient = state.jacobian.mT @ state.residual[..., None]
        damped = normal + torch.diag_embed(normal.diagonal(dim1=-2, dim2=-1) * damping[:, None] + 1e-12)
        step = -torch.linalg.solve(damped, gradient)[..., 0]
        moved = _linearise(
            torch.linalg.matrix_exp(_cross_matrix(step[:, :3])) @ state.matrix,
            state.translation + step[:, 3:],
            landmarks,
            shape,
            image_size,
            camera,
            roots,
        )
        better = moved.cost < state.cost
        state = _State(
            *(
                torch.where(better.view(-1, *[1] * (new.ndim - 1)), new, old)
                for new, old in zip(moved, state, strict=True)
            )
        )
        damping = torch.where(better, damping * _LOWER, damping * _RAISE)
    return state


def _first_translation(
    landmarks: Tensor, shape: Tensor, matrix: Tensor, image_size: int, camera: PerspectiveCamera
) -> Tensor:
    """Where a rotated shape must be to have the landmarks' mean and size, all its points taken at one depth."""
    rotated = shape @ matrix.mT
    centre = rotated.mean(dim=1)
    extent = (rotated - centre[:, None])[..., :2].square().sum(dim=(1, 2)).sqrt()
    image_centre = landmarks.mean(dim=1)
    image_extent = (landmarks - image_centre[:, None]).square().sum(dim=(1, 2)).sqrt().clamp(min=1e-6)
    depth = camera.focal_length * image_size * extent / image_extent
    offset_x, offset_y = camera.principal_point
    x = (image_centre[:, 0] / image_size - 0.5 - offset_x) * depth / camera.focal_length
    y = (0.5 - image_centre[:, 1] / image_size - offset_y) * depth / camera.focal_length
    return torch.stack([x, y, camera.distance - depth], dim=-1) - centre


def _linearise(
    matrix: Tensor,
    translation: Tensor,
    landmarks: Tensor,
    shape: Tensor,
    image_size: int,
    camera: PerspectiveCamera,
    roots: Tensor,
) -> _State:
    """Weighted residuals (B, 2N) and their Jacobian (B, 2N, 6) by the rotation vector and the translation."""
    rotated = shape @ matrix.mT
    points = rotated + translation[:, None]
    pixels = camera.to_pixels(points, (image_size, image_size))
    residual = (pixels - landmarks) * roots[:, None]
    # Of pixels by the point: u = f x / d + const and v = -f y / d + const with f in pixels and d = distance - z.
    depth = camera.distance - points[..., 2]
    scale = camera.focal_length * image_size / depth
    zero = torch.zeros_like(scale)
    by_point = torch.stack(
        [
            torch.stack([scale, zero, scale * points[..., 0] / depth], dim=-1),
            torch.stack([zero, -scale, -scale * points[..., 1] / depth], dim=-1),
        ],
        dim=-2,
    )
    # Of the point by a rotation vector w: (w x r) = -[r]x w.
    by_rotation = by_point @ -_cross_matrix(rotated)
    jacobian = torch.cat([by_rotation, by_point], dim=-1) * roots[:, None, None]
    # A point at or behind the camera makes the step worthless, whatever its pixels.
    cost = torch.where((depth > 0).all(dim=1), residual.square().sum(dim=(1, 2)), torch.inf)
    return _State(matrix, translation, residual.flatten(1), jacobian.flatten(1, 2), cost)


def _cross_matrix(vectors: Tensor) -> Tensor:
    """[v]x with [v]x u = v x u, (..., 3, 3)."""
    x, y, z = vectors.unbind(-1)
    zero = torch.zeros_like(x)
    rows = ((zero, -z, y), (z, zero, -x), (-y, x, zero))
    return torch.stack([torch.stack(row, dim=-1) for row in rows], dim=-2)
