"""PyTorch3D as an optional backend with the contract of `rasterizer.rasterize`.

PyTorch3D has no wheels for current PyTorch and is no requirement of this project; this module is imported only when its
backend is asked for.
"""

import torch
from jaxtyping import Float, Int64
from torch import Tensor

from renderers.errors import InputError
from renderers.rasterizer_coverage import MINIMUM_DEPTH


def rasterize_pytorch3d(
    vertices: Float[Tensor, "batch vertices 3"],
    faces: Int64[Tensor, "faces 3"],
    image_size: tuple[int, int],
    perspective_correct: bool,
) -> tuple[
    Int64[Tensor, "batch height width"],
    Float[Tensor, "batch height width 3"],
    Float[Tensor, "batch height width"],
]:
    """Face index, barycentric coordinates and depth of the nearest faces.

    Differs from our own backend where PyTorch3D does: it computes in float32, adds 1e-8 to areas, so barycentric
    coordinates of faces far smaller than a pixel sum to less than one, and a centre on an edge is outside.

    Args:
        vertices, faces, image_size, perspective_correct: as of `rasterizer.rasterize`, checked there.

    Returns:
        The fields of `rasterizer.Fragments`.

    Raises:
        InputError: PyTorch3D is not installed.
    """
    try:
        from pytorch3d.renderer.mesh.rasterize_meshes import rasterize_meshes
        from pytorch3d.structures import Meshes
    except ImportError as error:
        raise InputError(
            f"expected PyTorch3D for backend 'pytorch3d', got {error}: install it or use backend 'torch'"
        ) from error
    batch, count = vertices.shape[0], len(faces)
    height, width = image_size
    # Each face gets corners of its own, so that those behind the camera can be taken out of one image of the batch.
    corners = vertices[:, faces].to(torch.float32)
    in_front = (corners[..., 2] > MINIMUM_DEPTH).all(2)
    corners = torch.where(in_front[..., None, None], corners, torch.ones_like(corners))
    # There x points left, and [-1, 1] spans the shorter side of the image.
    scale = corners.new_tensor([-width / min(height, width), height / min(height, width), 1.0])
    soup = torch.arange(3 * count, device=faces.device).view(1, count, 3).expand(batch, -1, -1)
    face_index, depth, barycentric, _ = rasterize_meshes(
        Meshes((corners * scale).view(batch, 3 * count, 3), soup),
        image_size=(height, width),
        blur_radius=0.0,
        faces_per_pixel=1,
        perspective_correct=perspective_correct,
        clip_barycentric_coords=False,
        cull_backfaces=False,
    )
    face_index, depth, barycentric = face_index[..., 0], depth[..., 0], barycentric[..., 0, :]
    empty = face_index < 0
    first = torch.arange(batch, device=faces.device)[:, None, None] * count
    return (
        torch.where(empty, -1, face_index - first),
        torch.where(empty[..., None], 0.0, barycentric).to(vertices.dtype),
        torch.where(empty, torch.inf, depth).to(vertices.dtype),
    )
