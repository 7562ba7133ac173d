"""Displacement maps: offsets of a mesh's vertices looked up in a texture, without opening the mesh at its texture seams."""

import torch
from jaxtyping import Float, Int64
from torch import Tensor

from renderers.texture import sample_texture


def coincident_vertices(
    mean_shape: Float[Tensor, "vertices 3"],
    identity_basis: Float[Tensor, "vertices 3 identity"],
    expression_basis: Float[Tensor, "vertices 3 expression"],
) -> Int64[Tensor, "vertices"]:
    """The first of the vertices that lie on each vertex whatever the coefficients.

    Meshes with one texture coordinate per vertex hold the vertices of a texture seam twice. Lips that merely touch in
    the mean face have other bases and are told apart.

    Args:
        mean_shape: (V, 3), any unit; compared exactly.
        identity_basis: (V, 3, I).
        expression_basis: (V, 3, E).

    Returns:
        (V,) indices, each at most the vertex's own, which stands for a vertex of its own place.
    """
    count = mean_shape.shape[0]
    # Column after column: a comparison of whole rows takes many times as long.
    place = torch.zeros(count, dtype=torch.int64, device=mean_shape.device)
    for column in mean_shape.unbind(1):
        value = torch.unique(column, return_inverse=True)[1]
        place = torch.unique(place * count + value, return_inverse=True)[1]
    first = torch.arange(count, device=mean_shape.device)
    shared = (torch.bincount(place)[place] > 1).nonzero().squeeze(1)
    if len(shared) > 0:
        bases = (basis[shared].flatten(1) for basis in (identity_basis, expression_basis))
        rows = torch.cat([mean_shape[shared], *bases], dim=1)
        group = torch.unique(rows, dim=0, return_inverse=True)[1]
        # There are at most as many groups as members.
        lowest = shared.new_full((len(shared),), count).scatter_reduce(0, group, shared, "amin")
        first[shared] = lowest[group]
    return first


def sample_displacement(
    displacement: Float[Tensor, "batch 3 rows columns"],
    uv: Float[Tensor, "vertices 2"],
    coincident: Int64[Tensor, "vertices"] | None = None,
) -> Float[Tensor, "batch vertices 3"]:
    """Offsets of the vertices: bilinear values of the map, their mean for vertices that share a place.

    Args:
        displacement: (B, 3, rows, columns), the mesh's unit and axes; its first row is v = 1.
        uv: (V, 2).
        coincident: (V,) of `coincident_vertices`; None for a mesh without any.

    Returns:
        (B, V, 3), equal for coincident vertices; differentiable with respect to the map, at both sides of a seam.
    """
    sampled = sample_texture(displacement, uv)
    if coincident is None:
        return sampled
    members = torch.bincount(coincident, minlength=len(coincident)).clamp_min(1).to(sampled.dtype)
    mean = torch.zeros_like(sampled).index_add(1, coincident, sampled) / members[:, None]
    return mean.index_select(1, coincident)
