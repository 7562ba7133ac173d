"""Which face each pixel sees: the part of rasterization that has no derivative.

Two observations carry the speed. Most faces of a face mesh cover a handful of pixels, so faces are grouped by the size
of their bounding box and each group is tested on dense blocks of pixels; only the few larger faces are expanded to rows
and then to pixels. And the nearest face of a pixel needs no sorting: depth and face index are packed into one integer
whose minimum is scattered into the image.

Coordinates are those of the vertices in pixels, in their own type; edge functions are evaluated in float64 as
(a - p) x (b - p), which changes nothing but its sign when the edge is walked the other way, so two faces that share an
edge never leave a gap between them. Irregular masks are applied by bit arithmetic: a masked fill takes several times
longer on a CPU.
"""

from dataclasses import dataclass

import torch
from jaxtyping import Float, Int64
from torch import Tensor

# Faces whose doubled area in clip space is no more than this are left out, and vertices whose depth is no more than
# this are at the camera. Both are kEpsilon of PyTorch3D's rasterizer, so that the two agree on what is drawn.
MINIMUM_AREA = 1e-8
MINIMUM_DEPTH = 1e-8

# Faces up to this many pixels wide and high are tested on dense blocks. Blocks up to 12 were measured to be no faster on
# meshes of 6 to 100 thousand faces: what they save on lists they waste on pixels outside the face.
_LARGEST_BLOCK = 4

# Candidates tested at a time: few enough for the caches of a CPU, many enough to fill a GPU.
_CPU_CHUNK = 1 << 16
_GPU_CHUNK = 1 << 22

# Coordinates are cut here, in pixels, so that no product of two overflows float32.
_FARTHEST = 1e18

_EMPTY = torch.iinfo(torch.int64).max

# One tensor for each of the three corners of triangles.
Corners = tuple[Tensor, ...]


@dataclass(frozen=True)
class _Screen:
    """Where candidates are written: per pixel the least packed depth and face, the face in the lowest `face_bits`."""

    nearest: Int64[Tensor, " pixels"]
    height: int
    width: int
    face_bits: int
    perspective_correct: bool
    chunk: int


@dataclass(frozen=True)
class _Triangles:
    """Faces on the screen, in pixels. Each field has one value per face, those of three corners have three.

    `column`, `row` is the first pixel centre in the bounding box, which holds `columns` by `rows` of them.
    """

    x: Corners
    y: Corners
    z: Corners
    column: Tensor
    row: Tensor
    columns: Tensor
    rows: Tensor


def nearest_faces(
    vertices: Float[Tensor, "batch vertices 3"],
    faces: Int64[Tensor, "faces 3"],
    image_size: tuple[int, int],
    perspective_correct: bool,
) -> Int64[Tensor, "batch height width"]:
    """Index of the nearest face at each pixel centre, -1 where there is none; see `rasterizer.rasterize`."""
    height, width = image_size
    batch = vertices.shape[0]
    screen = _Screen(
        nearest=torch.full((batch * height * width,), _EMPTY, dtype=torch.int64, device=vertices.device),
        height=height,
        width=width,
        face_bits=max(len(faces) - 1, 1).bit_length(),
        perspective_correct=perspective_correct,
        chunk=_CPU_CHUNK if vertices.device.type == "cpu" else _GPU_CHUNK,
    )
    triangles = _project(vertices, faces, screen)
    drawn = _is_drawn(triangles, screen, torch.finfo(vertices.dtype).eps)
    size = torch.maximum(triangles.columns, triangles.rows)
    largest_block = min(_LARGEST_BLOCK, height, width)
    for block in range(1, largest_block + 1):
        index = (drawn & (size == block)).nonzero().squeeze(1)
        if len(index) > 0:
            for part in index.split(screen.chunk // block**2):
                _draw_blocks(screen, triangles, part, len(faces), block)
    _draw_rows(screen, triangles, (drawn & (size > largest_block)).nonzero().squeeze(1), len(faces))
    face = (screen.nearest & ((1 << screen.face_bits) - 1)).masked_fill_(screen.nearest == _EMPTY, -1)
    return face.view(batch, height, width)


def to_pixels(
    vertices: Float[Tensor, "batch vertices 3"], image_size: tuple[int, int]
) -> tuple[Float[Tensor, "batch vertices"], Float[Tensor, "batch vertices"]]:
    """Clip-space x and y to pixels, x right and y down from the image's top left corner."""
    height, width = image_size
    x = (vertices[..., 0] + 1) * (width / 2)
    y = (1 - vertices[..., 1]) * (height / 2)
    return x.clamp(-_FARTHEST, _FARTHEST), y.clamp(-_FARTHEST, _FARTHEST)


def _project(vertices: Tensor, faces: Tensor, screen: _Screen) -> _Triangles:
    """All faces of all images, face f of image b at b * F + f."""
    points_x, points_y = to_pixels(vertices, (screen.height, screen.width))
    points_z = vertices[..., 2].contiguous()
    # A face with a vertex at or behind the camera gets a NaN corner and so fails every comparison of its bounding box.
    points_x.masked_fill_(points_z <= MINIMUM_DEPTH, torch.nan)
    corners = faces.T.contiguous()
    x, y, z = (
        tuple(points.index_select(1, corner).view(-1) for corner in corners)
        for points in (points_x, points_y, points_z)
    )
    column = _minimum(*x).sub_(0.5).ceil_().clamp_(min=0)
    row = _minimum(*y).sub_(0.5).ceil_().clamp_(min=0)
    columns = _maximum(*x).add_(0.5).floor_().clamp_(max=screen.width).sub_(column)
    rows = _maximum(*y).add_(0.5).floor_().clamp_(max=screen.height).sub_(row)
    return _Triangles(x, y, z, column, row, columns, rows)


def _is_drawn(triangles: _Triangles, screen: _Screen, eps: float) -> Tensor:
    (xa, xb, xc), (ya, yb, yc) = triangles.x, triangles.y
    left, right = (xb - xa).mul_(yc - ya), (xc - xa).mul_(yb - ya)
    area = (left - right).abs_()
    # Corners on one line in exact arithmetic enclose about this area once their coordinates are rounded.
    rounding = left.abs_().add_(right.abs_()).mul_(4 * eps)
    least = rounding.clamp_(min=MINIMUM_AREA * screen.width * screen.height / 4)
    return (area > least) & (torch.minimum(triangles.columns, triangles.rows) > 0)


def _draw_blocks(screen: _Screen, triangles: _Triangles, index: Tensor, faces: int, block: int) -> None:
    """Tests each triangle of `index` on a square of `block` by `block` pixels that holds its bounding box."""
    x, y, weights, side = _oriented(screen, triangles, index)
    # The block is moved inside the image, where each of its pixels has an address.
    column = triangles.column.index_select(0, index).clamp_(max=screen.width - block).to(torch.float64)
    row = triangles.row.index_select(0, index).clamp_(max=screen.height - block).to(torch.float64)
    face, address = _address(screen, index, faces, row, column)
    offset = torch.arange(block, device=index.device)[:, None]
    center_x = (column + 0.5 + offset).mul_(side)
    center_y = row + 0.5 + offset
    dx = tuple(corner - center_x for corner in x)
    dy = tuple((corner - center_y)[:, None] for corner in y)
    _draw(screen, dx, dy, weights, face, address + (offset[:, None] * screen.width + offset))


def _oriented(screen: _Screen, triangles: _Triangles, index: Tensor) -> tuple[Corners, Corners, Corners, Tensor]:
    """Corners x and y of the triangles of `index`, weights that turn edge functions to depth, and the side seen.

    The side is 1 or -1; x comes multiplied by it, so that edge functions are positive inside on both sides. The sum of
    edge function times weight is depth, or its inverse where that is what is linear on the screen.
    """
    x, y, z = (
        tuple(corner.index_select(0, index).to(torch.float64) for corner in corners)
        for corners in (triangles.x, triangles.y, triangles.z)
    )
    area = (x[1] - x[0]).mul_(y[2] - y[0]).sub_((x[2] - x[0]).mul_(y[1] - y[0]))
    side = area.sign()
    x = tuple(corner.mul_(side) for corner in x)
    area.abs_()
    if screen.perspective_correct:
        return x, y, tuple(corner.mul_(area).reciprocal_() for corner in z), side
    return x, y, tuple(corner.div_(area) for corner in z), side


def _address(screen: _Screen, index: Tensor, faces: int, row: Tensor, column: Tensor) -> tuple[Tensor, Tensor]:
    """Face of each triangle of `index`, and the pixel at its image's `row` and `column` as address on the screen."""
    image = floor_divide(index, faces)
    face = index - image * faces
    return face, image.mul_(screen.height).add_(row.to(torch.int64)).mul_(screen.width).add_(column.to(torch.int64))


def _draw_rows(screen: _Screen, triangles: _Triangles, index: Tensor, faces: int) -> None:
    """Expands each triangle of `index` to the rows it covers, each row to the pixels it covers, and tests those."""
    for begin, end in _chunks(triangles.rows.index_select(0, index).to(torch.int64), screen.chunk):
        part = index[begin:end]
        owner, step = _expand(triangles.rows.index_select(0, part).to(torch.int64))
        x, y, weights, side = _oriented(screen, triangles, part)
        x, y = (tuple(corner.index_select(0, owner) for corner in corners) for corners in (x, y))
        side = side.index_select(0, owner)
        triangle = part.index_select(0, owner)
        row = triangles.row.index_select(0, triangle).to(torch.float64).add_(step)
        dy = tuple(corner.sub_(row).sub_(0.5) for corner in y)
        first, last = _span(tuple(corner * side for corner in x), dy)
        column = triangles.column.index_select(0, triangle).to(torch.float64)
        last = torch.minimum(last, triangles.columns.index_select(0, triangle).add_(column).sub_(1))
        first = torch.maximum(first, column)
        count = (last - first).add_(1).clamp_(min=0).to(torch.int64)
        # A row that no pixel centre lies on has no finite column; it takes no part below.
        face, address = _address(screen, triangle, faces, row, first.clamp(max=screen.width))
        center = first.add_(0.5)
        for start, stop in _chunks(count, screen.chunk):
            run, step = _expand(count[start:stop])
            run += start
            center_x = center.index_select(0, run).add_(step).mul_(side.index_select(0, run))
            _draw(
                screen,
                tuple(corner.index_select(0, run).sub_(center_x) for corner in x),
                tuple(corner.index_select(0, run) for corner in dy),
                tuple(weight.index_select(0, owner.index_select(0, run)) for weight in weights),
                face.index_select(0, run),
                address.index_select(0, run).add_(step),
            )


def _span(x: Corners, dy: Corners) -> tuple[Tensor, Tensor]:
    """First and last column whose centre may lie inside; a little too wide, since `_draw` has the last word."""
    first = torch.full_like(dy[0], torch.inf)
    last = torch.full_like(dy[0], -torch.inf)
    for a, b in ((0, 1), (1, 2), (2, 0)):
        along = dy[a] / (dy[a] - dy[b])
        crossing = x[a] + (x[b] - x[a]) * along
        crosses = (along >= 0) & (along <= 1)
        first = torch.minimum(first, torch.where(crosses, crossing, torch.inf))
        last = torch.maximum(last, torch.where(crosses, crossing, -torch.inf))
    slack = 1e-6 + 1e-12 * _maximum(*(corner.abs() for corner in x))
    return (first - slack - 0.5).ceil_(), (last + slack - 0.5).floor_()


def _draw(screen: _Screen, dx: Corners, dy: Corners, weights: Corners, face: Tensor, pixel: Tensor) -> None:
    """Tests candidate pixels against triangles and keeps the nearest face of each pixel.

    Args:
        dx, dy: corners minus pixel centre, x mirrored where needed to make the face counter-clockwise.
        weights: see `_oriented`.
        face, pixel: index of the face and address in `screen.nearest`.
    """
    edge_a = (dx[1] * dy[2]).sub_(dx[2] * dy[1])
    edge_b = (dx[2] * dy[0]).sub_(dx[0] * dy[2])
    edge_c = (dx[0] * dy[1]).sub_(dx[1] * dy[0])
    depth = (edge_a * weights[0]).addcmul_(edge_b, weights[1]).addcmul_(edge_c, weights[2])
    if screen.perspective_correct:
        depth.reciprocal_()
    # Adding zero turns -0 to +0: a centre on an edge is inside.
    inside = torch.minimum(torch.minimum(edge_a, edge_b, out=edge_a), edge_c, out=edge_a).add_(0.0)
    outside = inside.view(torch.int64).bitwise_right_shift_(63)
    # The bits of positive floats are ordered as their values.
    key = depth.view(torch.int64)
    low = (1 << screen.face_bits) - 1
    key.add_(1 << screen.face_bits - 1).bitwise_and_(~low).bitwise_or_(face)
    key.bitwise_or_(outside).bitwise_and_(_EMPTY)
    screen.nearest.scatter_reduce_(0, pixel.view(-1), key.view(-1), "amin")


def floor_divide(index: Int64[Tensor, " n"], divisor: int) -> Int64[Tensor, " n"]:
    """Exact below 2^53, and several times faster on a CPU than the division of integers."""
    if divisor == 1:
        return index.clone()
    return (index.to(torch.float64) / divisor).floor_().to(torch.int64)


def _minimum(a: Tensor, b: Tensor, c: Tensor) -> Tensor:
    return torch.minimum(torch.minimum(a, b), c)


def _maximum(a: Tensor, b: Tensor, c: Tensor) -> Tensor:
    return torch.maximum(torch.maximum(a, b), c)


def _expand(count: Int64[Tensor, " n"]) -> tuple[Int64[Tensor, " total"], Int64[Tensor, " total"]]:
    """Index of the owner of each of `sum(count)` items, and the item's number within its owner."""
    owner = torch.repeat_interleave(count)
    return owner, torch.arange(len(owner), device=count.device).sub_((count.cumsum(0) - count).index_select(0, owner))


def _chunks(count: Int64[Tensor, " n"], limit: int) -> list[tuple[int, int]]:
    """Slices of `count`, each summing to little more than `limit`."""
    if len(count) == 0:
        return []
    end = count.cumsum(0)
    pieces = torch.arange(1, int(end[-1]) // limit + 1, device=count.device) * limit
    bounds = sorted({0, *torch.searchsorted(end, pieces).add_(1).tolist(), len(count)})
    return list(zip(bounds[:-1], bounds[1:], strict=True))
