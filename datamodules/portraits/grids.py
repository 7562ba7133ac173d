"""Faces of regular grids and tubes: the building blocks of the parts that are not the head."""

import torch
from jaxtyping import Float, Int64
from torch import Tensor


def grid_faces(columns: int, rows: int, closed: bool) -> Int64[Tensor, "faces 3"]:
    """Triangles of a (columns, rows) grid of vertices, column-major; `closed` joins the last column to the first.

    Counter-clockwise seen from the side where rows run downwards and columns run to the right.
    """
    column, row = torch.meshgrid(
        torch.arange(columns if closed else columns - 1), torch.arange(rows - 1), indexing="ij"
    )
    first = (column * rows + row).flatten()
    second = ((column + 1) % columns * rows + row).flatten()
    return torch.cat([torch.stack([first, first + 1, second], 1), torch.stack([first + 1, second + 1, second], 1)])


def tube(
    path: Float[Tensor, "batch points 3"], radius: Float[Tensor, "batch"], closed: bool, sides: int = 5
) -> Float[Tensor, "batch vertices 3"]:
    """Vertices of a tube around a path, column-major (points, sides + 1) for `grid_faces(points, sides + 1, closed)`."""
    if closed:
        tangent = path.roll(-1, 1) - path.roll(1, 1)
    else:
        tangent = torch.cat([path[:, 1:2] - path[:, :1], path[:, 2:] - path[:, :-2], path[:, -1:] - path[:, -2:-1]], 1)
    tangent = torch.nn.functional.normalize(tangent, dim=-1)
    # Paths of spectacles lie near the picture plane or run along z: no tangent is parallel to this axis.
    helper = path.new_tensor([0.31, 0.42, 0.85]).expand_as(tangent)
    normal = torch.nn.functional.normalize(torch.cross(tangent, helper, dim=-1), dim=-1)
    binormal = torch.cross(tangent, normal, dim=-1)
    angle = torch.arange(sides + 1, device=path.device) / sides * 2 * torch.pi
    circle = normal[:, :, None] * angle.cos()[:, None] + binormal[:, :, None] * angle.sin()[:, None]
    return (path[:, :, None] + radius[:, None, None, None] * circle).flatten(1, 2)
