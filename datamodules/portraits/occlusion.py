"""Self-shadowing of a head under low-frequency light: precomputed radiance transfer (Sloan, Kautz, Snyder 2002)."""

import math

import torch
from jaxtyping import Float, Int64
from torch import Tensor, nn

from renderers.rasterizer import rasterize
from renderers.shading import spherical_harmonics_basis, vertex_normals

_DIRECTIONS = 96
_SIZE = 112
# Cosine lobe's gain per band (Ramamoorthi and Hanrahan 2001, over pi).
_LOBE = (1.0,) + (2 / 3,) * 3 + (1 / 4,) * 5
_BIAS = 0.035


def sphere_directions(count: int) -> Float[Tensor, "count 3"]:
    """Nearly even unit vectors (Fibonacci lattice)."""
    index = torch.arange(count, dtype=torch.float32) + 0.5
    height = 1 - 2 * index / count
    turn = math.pi * (1 + math.sqrt(5)) * index
    ring = (1 - height**2).sqrt()
    return torch.stack([ring * turn.cos(), height, ring * turn.sin()], dim=1)


def _visibility(
    vertices: Float[Tensor, "vertices 3"], faces: Int64[Tensor, "faces 3"], directions: Float[Tensor, "directions 3"]
) -> Float[Tensor, "directions vertices"]:
    """1 where a vertex sees the sky in a direction, by orthographic depth maps."""
    up = torch.where(
        directions[:, 1:2].abs() > 0.9, directions.new_tensor([[1.0, 0, 0]]), directions.new_tensor([[0, 1.0, 0]])
    )
    right = nn.functional.normalize(torch.cross(up, directions, dim=-1), dim=-1)
    frame = torch.stack([right, torch.cross(directions, right, dim=-1), directions], dim=1)
    centre = (vertices.amax(0) + vertices.amin(0)) / 2
    extent = (vertices - centre).norm(dim=1).max()
    turned = torch.einsum("dij,vj->dvi", frame, vertices - centre) / extent
    clip = torch.stack([turned[..., 0], turned[..., 1], 2 - turned[..., 2]], dim=-1)
    result = []
    for part in clip.split(16):
        depth = rasterize(part, faces, (_SIZE, _SIZE)).depth[:, None]
        depth = torch.where(depth.isfinite(), depth, torch.full_like(depth, 10.0))
        grid = torch.stack([part[..., 0], -part[..., 1]], dim=-1)[:, :, None]
        seen = nn.functional.grid_sample(depth, grid, mode="nearest", align_corners=False)[:, 0, :, 0]
        result.append((part[..., 2] <= seen + _BIAS / extent).float())
    return torch.cat(result)


class SelfShadow(nn.Module):
    """Per vertex, the share of the light of a given illumination that the head itself leaves through.

    Args:
        vertices: the mean head with shoulders, object frame.
        faces: of it; counter-clockwise seen from outside.
    """

    transfer: Tensor
    unshadowed: Tensor
    _fit: Tensor
    _inverse: Tensor

    def __init__(self, vertices: Float[Tensor, "vertices 3"], faces: Int64[Tensor, "faces 3"]) -> None:
        super().__init__()
        directions = sphere_directions(_DIRECTIONS)
        normals = vertex_normals(vertices[None], faces)[0]
        visible = _visibility(vertices, faces, directions)
        cosine = (directions @ normals.T).clamp(min=0)
        weight = visible * cosine * (4 / _DIRECTIONS)
        lobe = torch.tensor(_LOBE)
        basis = spherical_harmonics_basis(directions)
        # Calibrated on the unoccluded hemisphere, so that the sampling error cancels in the ratio.
        self.register_buffer("transfer", (weight.T @ basis) / lobe, persistent=False)
        self.register_buffer("unshadowed", ((cosine * (4 / _DIRECTIONS)).T @ basis) / lobe, persistent=False)
        fit = sphere_directions(32)
        self.register_buffer("_fit", fit, persistent=False)
        self.register_buffer("_inverse", torch.linalg.pinv(spherical_harmonics_basis(fit)), persistent=False)

    def forward(
        self, luminance: Float[Tensor, "batch 9"], rotation: Float[Tensor, "batch 3 3"]
    ) -> Float[Tensor, "batch vertices"]:
        """Ratio of shadowed to unshadowed irradiance, 0.3 to 1.1.

        Args:
            luminance: the light's harmonics (with the tools' constant), camera frame.
            rotation: object to camera.
        """
        turned = torch.einsum("bij,dj->bdi", rotation, self._fit)
        local = torch.einsum("cd,bdk,bk->bc", self._inverse, spherical_harmonics_basis(turned), luminance)
        level = luminance[:, :1] * 0.2 + 0.05
        shadowed = local @ self.transfer.T + level * 0.5
        ratio = shadowed / (local @ self.unshadowed.T + level * 0.5).clamp(min=0.1)
        return ratio.clamp(0.3, 1.1)
