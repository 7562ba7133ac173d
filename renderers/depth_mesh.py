"""A depth map drawn as a mesh from other views: one vertex per pixel, two triangles per square of four pixels (LiftedGAN, section 3.1.1).

The world's origin lies `camera.distance` in front of the camera: that is the pivot of rotations. Pixels span the image from edge to
edge, x = 2 u / (W - 1) - 1 in clip space, as in the authors' release: a border pixel's vertex is on the image's border.
"""

from typing import Any, NamedTuple

import torch
from jaxtyping import Float, Int64
from torch import Tensor
from torch.nn import functional

from renderers.camera import PerspectiveCamera
from renderers.errors import InputError
from renderers.rasterizer import interpolate, rasterize
from renderers.rotation import euler_to_matrix


class DepthMeshRender(NamedTuple):
    """What `render_depth_mesh` returns.

    Attributes:
        image: (B, C, H, W) interpolated colours, the background where empty.
        mask: (B, 1, H, W), 1 where the mesh covers the pixel's centre, else 0; carries no gradient.
        depth: (B, H, W) distance from the camera's plane in the unit of the depth map, infinite where empty.
    """

    image: Float[Tensor, "batch channels height width"]
    mask: Float[Tensor, "batch 1 height width"]
    depth: Float[Tensor, "batch height width"]


def pixel_faces(height: int, width: int) -> Int64[Tensor, "faces 3"]:
    """Triangles of a mesh whose vertices are the pixels of an image, row by row; counter-clockwise as the camera sees them.

    First the upper left halves of all squares, then the lower right ones.

    Args:
        height, width: pixels, at least 2 each.

    Raises:
        InputError: for an image without a square of four pixels.
    """
    if height < 2 or width < 2:
        raise InputError(f"expected a depth map of at least 2 x 2 pixels, got {height} x {width}: give a larger one")
    index = torch.arange(height * width).view(height, width)
    top_left, top_right, bottom_left, bottom_right = (
        part.flatten() for part in (index[:-1, :-1], index[:-1, 1:], index[1:, :-1], index[1:, 1:])
    )
    upper = torch.stack([top_left, bottom_left, top_right], dim=1)
    lower = torch.stack([top_right, bottom_left, bottom_right], dim=1)
    return torch.cat([upper, lower])


def depth_points(
    depth: Float[Tensor, "batch height width"], camera: PerspectiveCamera
) -> Float[Tensor, "batch height width 3"]:
    """Where the pixels of a depth map are in the world (x right, y up, z towards the viewer).

    Args:
        depth: distance from the camera's plane, positive, in the camera's unit.
        camera: that the map was seen by.
    """
    batch, height, width = depth.shape
    x = torch.linspace(-1, 1, width, dtype=depth.dtype, device=depth.device).expand(batch, height, width)
    y = torch.linspace(1, -1, height, dtype=depth.dtype, device=depth.device)[:, None].expand(batch, height, width)
    clip = torch.stack([x, y, depth], dim=3).flatten(1, 2)
    return camera.from_clip(clip, aspect_ratio=width / height).view(batch, height, width, 3)


def depth_normals(
    depth: Float[Tensor, "batch height width"], camera: PerspectiveCamera, epsilon: float = 0.0
) -> Float[Tensor, "batch height width 3"]:
    """Normals of a depth map towards the viewer, from the four neighbours of each pixel; border pixels take those next to them.

    Args:
        depth: positive, in the camera's unit.
        camera: that the map was seen by.
        epsilon: added to the length that a normal is divided by, in the square of the camera's unit: 0 gives unit normals. LiftedGAN's
            release has 1e-7, which leaves a frontal surface's normals about 5 % short at 256 pixels, and so its diffuse light.

    Raises:
        InputError: for maps of less than 3 x 3 pixels.
    """
    if min(depth.shape[1:]) < 3:
        raise InputError(
            f"expected a depth map of at least 3 x 3 pixels, got {tuple(depth.shape[1:])}: give a larger one"
        )
    points = depth_points(depth, camera)
    centre = points[:, 1:-1, 1:-1]
    around = [points[:, :-2, 1:-1], points[:, 1:-1, :-2], points[:, 2:, 1:-1], points[:, 1:-1, 2:]]
    up, left, down, right = (point - centre for point in around)
    # The sum of the cross products of neighbours in turn is that of the diagonals of the square that they make.
    normals = torch.cross(right - left, up - down, dim=-1)
    length = normals.norm(dim=-1, keepdim=True)
    normals = normals / (length + epsilon).clamp_min(torch.finfo(depth.dtype).tiny)
    return functional.pad(normals.permute(0, 3, 1, 2), (1, 1, 1, 1), mode="replicate").permute(0, 2, 3, 1)


def move_points(
    points: Float[Tensor, "batch height width 3"],
    rotation: Float[Tensor, "batch 3"],
    translation: Float[Tensor, "batch 3"],
    transformation: Float[Tensor, "batch 1 height width"] | None = None,
) -> Float[Tensor, "batch height width 3"]:
    """Equation 1 of LiftedGAN: (1 - T) p + T (R p + t), each pixel as far as its transformation map lets it.

    Args:
        points: in the world.
        rotation: pitch, yaw, roll in radians about the world's origin.
        translation: in the world, after rotation.
        transformation: T in [0, 1]; 1 everywhere by default.
    """
    batch, height, width, _ = points.shape
    target = points.flatten(1, 2) @ euler_to_matrix(rotation).transpose(1, 2) + translation[:, None]
    moved = target.view(batch, height, width, 3)
    if transformation is None:
        return moved
    weight = transformation.permute(0, 2, 3, 1)
    return (1 - weight) * points + weight * moved


def render_depth_mesh(
    points: Float[Tensor, "batch height width 3"],
    colours: Float[Tensor, "batch channels height width"],
    camera: PerspectiveCamera,
    background: float = 1.0,
    faces: Int64[Tensor, "faces 3"] | None = None,
) -> DepthMeshRender:
    """Draw the mesh of a grid of points with colours at its vertices, hard visibility, no culling.

    Args:
        points: one vertex per pixel of the colours, in the world.
        colours: any range; interpolated, not clamped.
        camera: that looks at the world.
        background: colour of empty pixels.
        faces: of `pixel_faces`, where they are kept; made anew by default.

    Returns:
        The render, of the size of the grid; gradients reach points and colours.
    """
    batch, height, width, _ = points.shape
    if faces is None:
        faces = pixel_faces(height, width).to(points.device)
    clip = camera.to_clip(points.flatten(1, 2), aspect_ratio=width / height)
    fragments = rasterize(clip, faces, (height, width), perspective_correct=True)
    image = interpolate(fragments, faces, colours.flatten(2).transpose(1, 2)).permute(0, 3, 1, 2)
    mask = (fragments.face_index >= 0)[:, None]
    return DepthMeshRender(torch.where(mask, image, background), mask.to(image.dtype), fragments.depth)


class _ContourGradientClip(torch.autograd.Function):
    """The identity; its gradient leaves out pixels next to ones without gradient."""

    @staticmethod
    def forward(ctx: Any, depth: Tensor) -> Tensor:
        return depth.view_as(depth)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Tensor:
        (gradient,) = gradients
        inside = gradient != 0
        # Neighbours beyond the border are not asked, which is the release's reflected padding.
        kept = functional.pad(inside, (1, 1, 1, 1), value=True)
        kept = kept[:, :-2, 1:-1] & kept[:, 2:, 1:-1] & kept[:, 1:-1, :-2] & kept[:, 1:-1, 2:] & inside
        return torch.where(kept, gradient, 0)


def clip_contour_gradient(depth: Float[Tensor, "batch height width"]) -> Float[Tensor, "batch height width"]:
    """The same depth, whose gradient is zeroed where the Laplacian of the gradient's support is not zero.

    Those are pixels at the silhouette and at occlusions, where a change of depth says nothing of which pixels it uncovers (authors'
    release; the paper leaves it open).
    """
    return _ContourGradientClip.apply(depth)
