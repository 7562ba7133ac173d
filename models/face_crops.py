"""FFHQ's oriented face crop as geometry: landmarks to a square of the photo, and points and pixels between the two.

A crop is a **quad**: the four corners of a square of the photo, turned with the face, in pixels of the photo (x right, y down,
pixel centres at half integers), in the order top left, bottom left, bottom right, top right of the crop. All functions work on
batches and are differentiable.
"""

import math

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional

from renderers.errors import InputError

# FFHQ's recipe (Karras et al., CVPR 2019; `recreate_aligned_images` of its repository): half the side is the larger of these
# multiples of the distances between the eyes and from the eyes to the mouth, and the centre lies this share of the way
# from the eyes to the mouth.
EYE_DISTANCE_FACTOR = 2.0
MOUTH_DISTANCE_FACTOR = 1.8
CENTRE_TOWARDS_MOUTH = 0.1
# Of the 68 landmarks: the six of either eye (the one on the image's left first), and the outer corners of the mouth.
LEFT_EYE, RIGHT_EYE = slice(36, 42), slice(42, 48)
MOUTH_CORNERS = (48, 54)
# Of MTCNN's five points: eye on the image's left, the other eye, nose, corners of the mouth.
FIVE_EYES, FIVE_MOUTH_CORNERS = (0, 1), (3, 4)


def ffhq_quads(
    left_eye: Float[Tensor, "faces 2"], right_eye: Float[Tensor, "faces 2"], mouth: Float[Tensor, "faces 2"]
) -> Float[Tensor, "faces 4 2"]:
    """The quads of faces by FFHQ's recipe.

    Args:
        left_eye: centre of the eye on the image's left, in pixels.
        right_eye: centre of the other eye.
        mouth: midpoint between the mouth's outer corners.
    """
    eyes = (left_eye + right_eye) / 2
    eye_to_eye, eye_to_mouth = right_eye - left_eye, mouth - eyes
    # The crop's horizontal: that of the eyes, averaged with the perpendicular of the line to the mouth.
    direction = eye_to_eye - _quarter_turn(eye_to_mouth)
    half_side = torch.maximum(
        eye_to_eye.norm(dim=-1) * EYE_DISTANCE_FACTOR, eye_to_mouth.norm(dim=-1) * MOUTH_DISTANCE_FACTOR
    )
    right = functional.normalize(direction, dim=-1) * half_side[:, None]
    down = _quarter_turn(right)
    centre = eyes + eye_to_mouth * CENTRE_TOWARDS_MOUTH
    return torch.stack([centre - right - down, centre - right + down, centre + right + down, centre + right - down], 1)


def _quarter_turn(vectors: Tensor) -> Tensor:
    """Turned from the image's right to its bottom: (x, y) to (-y, x)."""
    return torch.stack([-vectors[..., 1], vectors[..., 0]], dim=-1)


def quads_from_landmarks(landmarks: Float[Tensor, "faces points 2"]) -> Float[Tensor, "faces 4 2"]:
    """The quads of faces with 68 landmarks, or with MTCNN's five points (eyes, nose, corners of the mouth), in pixels.

    Raises: `InputError` for another number of points.
    """
    count = landmarks.shape[1]
    if count == 68:
        left_eye, right_eye = landmarks[:, LEFT_EYE].mean(1), landmarks[:, RIGHT_EYE].mean(1)
        return ffhq_quads(left_eye, right_eye, landmarks[:, MOUTH_CORNERS].mean(1))
    if count == 5:
        left_eye, right_eye = landmarks[:, FIVE_EYES[0]], landmarks[:, FIVE_EYES[1]]
        return ffhq_quads(left_eye, right_eye, landmarks[:, FIVE_MOUTH_CORNERS].mean(1))
    raise InputError(
        f"expected faces with 68 or 5 points, got {tuple(landmarks.shape)}; give (faces, 68, 2) or (faces, 5, 2)"
    )


def _frames(quads: Tensor) -> tuple[Tensor, Tensor]:
    """Top left corners (faces, 1, 2), and matrices (faces, 2, 2) whose rows are the top and the left side."""
    return quads[:, :1], torch.stack([quads[:, 3] - quads[:, 0], quads[:, 1] - quads[:, 0]], dim=1)


def crop_to_photo(
    points: Float[Tensor, "faces points 2"], quads: Float[Tensor, "faces 4 2"], size: int
) -> Float[Tensor, "faces points 2"]:
    """Points in pixels of crops of `size` px to pixels of the photo."""
    corner, sides = _frames(quads)
    return corner + points / size @ sides


def photo_to_crop(
    points: Float[Tensor, "faces points 2"], quads: Float[Tensor, "faces 4 2"], size: int
) -> Float[Tensor, "faces points 2"]:
    """Points in pixels of the photo to pixels of crops of `size` px: the inverse of `crop_to_photo`."""
    corner, sides = _frames(quads)
    return torch.linalg.solve(sides, points - corner, left=False) * size


def sample_quads(
    images: Float[Tensor, "faces channels height width"], quads: Float[Tensor, "faces 4 2"], size: int
) -> Float[Tensor, "faces channels size size"]:
    """Crops of `size` px, one per image, differentiable in images and quads.

    Bilinear samples, so many per pixel that a quad as large as the image skips none, averaged. Outside the image its border
    is repeated. `datamodules.photos` cuts the crops that are kept by the slower recipe of FFHQ, with blurred reflections.
    """
    height, width = images.shape[-2:]
    samples = math.ceil(max(height, width) / size)
    steps = torch.arange(size * samples, device=images.device, dtype=images.dtype) + 0.5
    rows, columns = torch.meshgrid(steps, steps, indexing="ij")
    grid = torch.stack([columns, rows], dim=-1).flatten(0, 1).expand(len(images), -1, -1)
    points = crop_to_photo(grid, quads.to(images.dtype), size * samples)
    points = points / points.new_tensor([width, height]) * 2 - 1
    points = points.unflatten(1, (size * samples, size * samples))
    sampled = functional.grid_sample(images, points, mode="bilinear", padding_mode="border", align_corners=False)
    return functional.avg_pool2d(sampled, samples)
