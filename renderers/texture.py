"""Texture look-up by UV coordinates, per vertex or per pixel.

UV coordinates follow the OBJ convention: u = 0 is the left edge of the texture and u = 1 the right one, v = 0 is the
bottom edge and v = 1 the top one, which is row 0 of the texture's tensor. Texel centres are at half texels. Coordinates
outside [0, 1] read the nearest edge texel.
"""

import torch
from jaxtyping import Float, Int64
from torch import Tensor

from renderers.rasterizer import Fragments, interpolate


def sample_texture(
    texture: Float[Tensor, "batch channels rows columns"],
    uv: Float[Tensor, "vertices 2"] | Float[Tensor, "batch vertices 2"],
) -> Float[Tensor, "batch vertices channels"]:
    """Bilinear values of a texture at points, differentiable with respect to the texture and the coordinates.

    Args:
        texture: (B, C, rows, columns), row 0 is v = 1.
        uv: (N, 2) coordinates shared by the batch, or (B, N, 2).

    Returns:
        (B, N, C).
    """
    grid = torch.stack((uv[..., 0] * 2 - 1, 1 - uv[..., 1] * 2), dim=-1)
    grid = grid.expand(texture.shape[0], -1, -1).unsqueeze(1)
    sampled = torch.nn.functional.grid_sample(
        texture, grid, mode="bilinear", padding_mode="border", align_corners=False
    )
    return sampled.squeeze(2).transpose(1, 2)


def texture_pixels(
    fragments: Fragments,
    uv_faces: Int64[Tensor, "faces 3"],
    uv: Float[Tensor, "uv_vertices 2"],
    texture: Float[Tensor, "batch channels rows columns"],
) -> Float[Tensor, "batch height width channels"]:
    """Texture value at every pixel of a rasterized mesh: its UV coordinates interpolated, then looked up.

    Keeps detail finer than the mesh. Differentiable with respect to the texture, and to the vertices through the
    barycentric coordinates. Meshes with seams give their own `uv_faces`, one row per face of the rasterized mesh.

    Args:
        fragments: of the rasterized mesh, (B, H, W).
        uv_faces: (F, 3) indices into `uv`; the mesh's own faces where it has one UV coordinate per vertex.
        uv: (N, 2).
        texture: (B, C, rows, columns).

    Returns:
        (B, H, W, C), zero where no face is seen.
    """
    batch, height, width = fragments.face_index.shape
    pixel_uv = interpolate(fragments, uv_faces, uv.to(texture.dtype))
    values = sample_texture(texture, pixel_uv.flatten(1, 2)).unflatten(1, (height, width))
    return values * (fragments.face_index >= 0).unsqueeze(-1)
