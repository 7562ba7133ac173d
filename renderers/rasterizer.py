"""Triangle rasterizer in plain PyTorch, differentiable with respect to vertices and attributes.

Which face a pixel sees is found without gradients (`rasterizer_coverage`). Barycentric coordinates and depth are then
computed anew from the vertices of the visible faces alone, so that autograd sees one small expression per pixel. The
gradient is that of the surface inside the silhouette; the silhouette's own motion has none.

`rasterizer_reference` states the same contract as loops, and the tests compare the two.
"""

from typing import Literal, NamedTuple

import torch
from jaxtyping import Float, Int64
from torch import Tensor

from renderers.errors import InputError
from renderers.images import check_image_size
from renderers.rasterizer_coverage import floor_divide, nearest_faces, to_pixels


class Fragments(NamedTuple):
    """What each pixel sees.

    Attributes:
        face_index: (B, H, W) index of the face within the mesh, -1 where empty.
        barycentric: (B, H, W, 3) weights of the face's three corners, each in [0, 1] and one in sum; 0 where empty.
        depth: (B, H, W) sum of barycentric coordinates times the corners' z, in the unit of z; infinite where empty.
    """

    face_index: Int64[Tensor, "batch height width"]
    barycentric: Float[Tensor, "batch height width 3"]
    depth: Float[Tensor, "batch height width"]


def rasterize(
    vertices: Float[Tensor, "batch vertices 3"],
    faces: Int64[Tensor, "faces 3"],
    image_size: tuple[int, int],
    *,
    perspective_correct: bool = False,
    backend: Literal["torch", "pytorch3d"] = "torch",
) -> Fragments:
    """Find the nearest face at each pixel centre.

    The pixel in row i and column j has its centre at x = (2j + 1) / W - 1 and y = 1 - (2i + 1) / H. A centre on the
    edge of a face is inside it, so faces that share an edge leave no gap. The face of least depth wins; where depths
    agree to rounding, the one of least index. No face is culled, whichever way it turns. Faces that reach beyond the
    image are cut at its border, however far away their corners are. Left out are faces with a vertex at or behind the
    camera (z <= 1e-8) and degenerate ones: a doubled area in clip space of at most 1e-8, or corners on one line to the
    precision of their type.

    Args:
        vertices: (B, V, 3) float32 or float64; x right and y up in clip space, where [-1, 1] spans the image along both
            axes also when H differs from W; z the depth, positive in front of the camera.
        faces: (F, 3) vertex indices, shared by the batch; fewer than 2^31.
        image_size: (H, W) in pixels.
        perspective_correct: False gives barycentric coordinates that are linear on the screen; True takes x and y as
            already divided by z and gives those of the point in space, whose depth is the true one.
        backend: "torch" is this module, "pytorch3d" the same contract by PyTorch3D, where that is installed.

    Returns:
        Fragments, on the device and of the type of `vertices`. Barycentric coordinates and depth carry gradients.

    Raises:
        InputError: tensors of another shape, type or device, coordinates that are not finite, face indices out of
            range, an image without pixels, an unknown backend, or PyTorch3D asked for and not installed.
    """
    check_mesh(vertices, faces, image_size)
    if backend == "pytorch3d":
        # Optional dependency: it has no wheels for current PyTorch.
        from renderers.pytorch3d_backend import rasterize_pytorch3d

        return Fragments(*rasterize_pytorch3d(vertices, faces, image_size, perspective_correct))
    if backend != "torch":
        raise InputError(f"expected backend 'torch' or 'pytorch3d', got '{backend}': choose one of the two")
    with torch.no_grad():
        face_index = nearest_faces(vertices.detach(), faces, image_size, perspective_correct)
    return _surface(vertices, faces, face_index, perspective_correct)


def interpolate(
    fragments: Fragments,
    faces: Int64[Tensor, "faces 3"],
    attributes: Float[Tensor, "batch vertices channels"] | Float[Tensor, "vertices channels"],
) -> Float[Tensor, "batch height width channels"]:
    """Attributes of the visible surface: sum over a face's corners of barycentric coordinate times attribute.

    Args:
        fragments: of `rasterize`.
        faces: (F, 3) the faces that were rasterized.
        attributes: (B, V, C), or (V, C) for the whole batch; any unit.

    Returns:
        (B, H, W, C), 0 where empty; with gradients to attributes and barycentric coordinates.

    Raises:
        InputError: attributes of another batch size or number of axes.
    """
    batch, height, width = fragments.face_index.shape
    if attributes.ndim not in (2, 3) or (attributes.ndim == 3 and attributes.shape[0] != batch):
        raise InputError(
            f"expected attributes (V, C) or ({batch}, V, C), got {tuple(attributes.shape)}: "
            "give one row per vertex for the batch that was rasterized"
        )
    vertex_count, channels = attributes.shape[-2:]
    visible = (fragments.face_index.reshape(-1) >= 0).nonzero().squeeze(1)
    corners = _corners(fragments.face_index, faces, visible, vertex_count if attributes.ndim == 3 else 0)
    table = attributes.reshape(-1, channels)
    weights = fragments.barycentric.reshape(-1, 3).index_select(0, visible).split(1, dim=1)
    value = sum(
        (table.index_select(0, corner) * weight for corner, weight in zip(corners[1:], weights[1:], strict=True)),
        start=table.index_select(0, corners[0]) * weights[0],
    )
    image = value.new_zeros(batch * height * width, channels).index_copy(0, visible, value)
    return image.view(batch, height, width, channels)


def check_mesh(vertices: Tensor, faces: Tensor, image_size: object) -> None:
    """Raise InputError unless these can be rasterized; see `rasterize`."""
    if vertices.ndim != 3 or vertices.shape[2] != 3:
        raise InputError(f"expected vertices (B, V, 3), got {tuple(vertices.shape)}: give x, y and depth per vertex")
    if faces.ndim != 2 or faces.shape[1] != 3:
        raise InputError(f"expected faces (F, 3), got {tuple(faces.shape)}: give three vertex indices per triangle")
    if vertices.dtype not in (torch.float32, torch.float64):
        raise InputError(f"expected float32 or float64 vertices, got {vertices.dtype}: convert them with .float()")
    if faces.dtype != torch.int64:
        raise InputError(f"expected int64 faces, got {faces.dtype}: convert them with .long()")
    if vertices.device != faces.device:
        raise InputError(
            f"expected one device, got vertices on {vertices.device} and faces on {faces.device}: move one of them"
        )
    check_image_size(image_size)
    if faces.numel() > 0:
        least, most = torch.stack(torch.aminmax(faces)).tolist()
        if least < 0 or most >= vertices.shape[1]:
            raise InputError(
                f"expected face indices from 0 to {vertices.shape[1] - 1}, got {least} to {most}: "
                "the faces belong to another mesh or count from 1"
            )
    if vertices.numel() > 0 and not bool(torch.isfinite(torch.stack(torch.aminmax(vertices.detach()))).all()):
        bad = (~torch.isfinite(vertices.detach())).any(2).nonzero()[0].tolist()
        raise InputError(
            f"expected finite vertices, got NaN or infinity first at vertex {bad[1]} of mesh {bad[0]}: "
            "check the coefficients and the camera they were made with"
        )


def _corners(face_index: Tensor, faces: Tensor, visible: Tensor, vertex_count: int) -> Int64[Tensor, "3 visible"]:
    """Vertices of the faces seen, as rows of a (B * `vertex_count`, ...) table; of a (V, ...) table if that is 0."""
    corners = faces.index_select(0, face_index.reshape(-1).index_select(0, visible))
    if vertex_count and face_index.shape[0] > 1:
        corners += floor_divide(visible, face_index[0].numel()).mul_(vertex_count)[:, None]
    return corners.T.contiguous()


def _surface(vertices: Tensor, faces: Tensor, face_index: Tensor, perspective_correct: bool) -> Fragments:
    """Barycentric coordinates and depth of the given faces at the pixel centres, by the arithmetic that chose them."""
    batch, height, width = face_index.shape
    visible = (face_index.reshape(-1) >= 0).nonzero().squeeze(1)
    corners = _corners(face_index, faces, visible, vertices.shape[1]).view(-1)
    line = floor_divide(visible, width)
    column = visible - line * width
    row = line - floor_divide(line, height) * height

    x, y, z = (
        field.reshape(-1).index_select(0, corners).view(3, -1).to(torch.float64)
        for field in (*to_pixels(vertices, (height, width)), vertices[..., 2])
    )
    # Weights are edge functions, (b - p) x (c - p) and so on around the face, over their sum, twice the area.
    xa, xb, xc = (x - (column + 0.5)).unbind()
    ya, yb, yc = (y - (row + 0.5)).unbind()
    za, zb, zc = z.unbind()
    a = xb * yc - xc * yb
    b = xc * ya - xa * yc
    c = xa * yb - xb * ya
    if perspective_correct:
        a, b, c = a / za, b / zb, c / zc
    scale = 1 / (a + b + c)
    a, b, c = a * scale, b * scale, c * scale
    seen_barycentric = torch.stack([weight.to(vertices.dtype) for weight in (a, b, c)], dim=1)
    seen_depth = (a * za + b * zb + c * zc).to(vertices.dtype)

    pixels = batch * height * width
    barycentric = vertices.new_zeros(pixels, 3).index_copy(0, visible, seen_barycentric)
    depth = vertices.new_full((pixels,), torch.inf).index_copy(0, visible, seen_depth)
    return Fragments(face_index, barycentric.view(batch, height, width, 3), depth.view(batch, height, width))
