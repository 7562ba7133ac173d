"""The rasterizer against its loop reference and its contract."""

import sys
import types
from typing import Any

import pytest
import torch
from torch import Tensor

from renderers.errors import InputError
from renderers.images import to_signed, to_unit
from renderers.rasterizer import check_mesh, interpolate, rasterize
from renderers.rasterizer_reference import rasterize_reference

TRIANGLE = torch.tensor([[[-0.5, -0.5, 1.0], [0.5, -0.5, 2.0], [0.0, 0.5, 3.0]]])
ONE_FACE = torch.tensor([[0, 1, 2]])


def soup(batch: int, faces: int, size: float, dtype: torch.dtype = torch.float32) -> tuple[Tensor, Tensor]:
    """Faces of random shape and place, some beyond the image, some behind the camera, some degenerate."""
    random = torch.Generator().manual_seed(0)
    center = torch.rand(batch, faces, 1, 3, generator=random, dtype=dtype) * 2.4 - 1.2
    corners = center + size * torch.randn(batch, faces, 3, 3, generator=random, dtype=dtype)
    corners[..., 2] = 0.3 + 2 * torch.rand(batch, faces, 3, generator=random, dtype=dtype)
    corners[:, 3::17, 1, 2] *= -1
    corners[:, 5::19, 1] = corners[:, 5::19, 0]
    return corners.reshape(batch, -1, 3), torch.arange(3 * faces).view(-1, 3)


def grid(cells: int, dtype: torch.dtype = torch.float32) -> tuple[Tensor, Tensor]:
    """A square from -1 to 1 in both axes, cut into 2 cells^2 faces."""
    line = torch.linspace(-1, 1, cells + 1, dtype=dtype)
    y, x = torch.meshgrid(line, line, indexing="ij")
    corner = (torch.arange(cells)[:, None] * (cells + 1) + torch.arange(cells)).flatten()
    upper = torch.stack([corner, corner + 1, corner + cells + 2], 1)
    lower = torch.stack([corner, corner + cells + 2, corner + cells + 1], 1)
    return torch.stack([x, y, torch.ones_like(x)], -1).view(1, -1, 3), torch.cat([upper, lower])


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("perspective_correct", [False, True])
@pytest.mark.parametrize(
    ("batch", "faces", "size", "image_size"),
    [
        (1, 400, 0.02, (24, 24)),  # smaller than pixels
        (2, 50, 0.15, (24, 24)),  # dense blocks
        (2, 20, 0.8, (31, 17)),  # rows; height differs from width
        (2, 20, 3.0, (5, 40)),  # mostly beyond the image
        (2, 20, 0.5, (1, 1)),
        (1, 30, 0.5, (2, 3)),  # an image smaller than the largest block
    ],
)
def test_equals_loop_reference(
    batch: int,
    faces: int,
    size: float,
    image_size: tuple[int, int],
    perspective_correct: bool,
    dtype: torch.dtype,
) -> None:
    mesh = soup(batch, faces, size, dtype)
    fast = rasterize(*mesh, image_size, perspective_correct=perspective_correct)
    slow = rasterize_reference(*mesh, image_size, perspective_correct=perspective_correct)
    assert torch.equal(fast.face_index, slow.face_index)
    # Coordinates are rounded to their type in pixels; thin faces amplify that.
    tolerance = 1e-9 if dtype == torch.float64 else 1e-2
    assert torch.allclose(fast.barycentric, slow.barycentric, atol=tolerance)
    assert torch.allclose(fast.depth, slow.depth, atol=3 * tolerance)
    assert fast.barycentric.dtype == fast.depth.dtype == dtype
    assert fast.face_index.dtype == torch.int64


def test_values_of_one_triangle() -> None:
    fragments = rasterize(TRIANGLE, ONE_FACE, (4, 4))
    # Centres lie at -0.75, -0.25, 0.25, 0.75: two of the lower half are inside, and none of the upper corner's row.
    inside = torch.zeros(4, 4, dtype=torch.bool)
    inside[2, 1:3] = True
    inside[1, 1:3] = False
    assert torch.equal(fragments.face_index[0] >= 0, inside)
    assert torch.allclose(fragments.barycentric[0, 2, 1], torch.tensor([0.625, 0.125, 0.25]))
    assert torch.allclose(fragments.depth[0, 2, 1], torch.tensor(0.625 + 0.25 + 0.75))
    assert (fragments.face_index[0][~inside] == -1).all()
    assert (fragments.barycentric[0][~inside] == 0).all()
    assert torch.isposinf(fragments.depth[0][~inside]).all()


@pytest.mark.parametrize(("x", "y", "row", "column"), [(-1, 1, 0, 0), (1, 1, 0, 5), (-1, -1, 2, 0), (1, -1, 2, 5)])
def test_axes_span_an_image_that_is_not_square(x: int, y: int, row: int, column: int) -> None:
    vertices = torch.tensor([[[x, y, 1.0], [0.55 * x, y, 1.0], [x, 0.1 * y, 1.0]]])
    seen = rasterize(vertices, ONE_FACE, (3, 6)).face_index[0] >= 0
    assert seen.nonzero().tolist() == [[row, column]]


def test_perspective_correct_depth_is_that_of_the_plane() -> None:
    # The plane z = 2 + x_camera is not linear in screen space; its points (x z, y z, z) are.
    screen = torch.tensor([[-0.9, -0.9], [0.9, -0.8], [0.1, 0.9]], dtype=torch.float64)
    z = 2 / (1 - screen[:, :1])
    vertices = torch.cat([screen, z], 1)[None]
    fragments = rasterize(vertices, ONE_FACE, (16, 16), perspective_correct=True)
    visible = fragments.face_index[0] >= 0
    column = torch.arange(16, dtype=torch.float64).expand(16, 16)
    expected = 2 / (1 - ((2 * column + 1) / 16 - 1))
    assert visible.sum() > 20
    assert torch.allclose(fragments.depth[0][visible], expected[visible])
    assert not torch.allclose(rasterize(vertices, ONE_FACE, (16, 16)).depth[0][visible], expected[visible])


@pytest.mark.parametrize("perspective_correct", [False, True])
@pytest.mark.parametrize("order", [(0, 1), (1, 0)])
def test_nearest_face_wins(order: tuple[int, int], perspective_correct: bool) -> None:
    near = torch.tensor([[-0.9, -0.9, 1.0], [0.9, -0.9, 1.0], [0.0, 0.9, 1.0]])
    vertices = torch.cat([near, near + torch.tensor([0.0, 0.0, 1.0])])[None]
    faces = torch.tensor([[0, 1, 2], [3, 4, 5]])[list(order)]
    fragments = rasterize(vertices, faces, (16, 16), perspective_correct=perspective_correct)
    visible = fragments.face_index >= 0
    assert visible.any()
    assert (fragments.face_index[visible] == order.index(0)).all()


def test_lowest_index_wins_a_tie() -> None:
    # The diagonals of the cells run through pixel centres, where both faces of a cell have the same depth.
    vertices, faces = grid(4)
    vertices[..., 2] = 1.7 + 0.3 * vertices[..., 0] - 0.2 * vertices[..., 1]
    for order in (torch.arange(len(faces)), torch.arange(len(faces)).flip(0)):
        fast = rasterize(vertices, faces[order], (16, 16))
        slow = rasterize_reference(vertices, faces[order], (16, 16))
        assert torch.equal(fast.face_index, slow.face_index)
    same = faces.repeat(3, 1)
    assert torch.equal(rasterize(vertices, same, (16, 16)).face_index, rasterize(vertices, faces, (16, 16)).face_index)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("cells", [7, 50])
def test_no_gap_between_faces_that_share_an_edge(cells: int, dtype: torch.dtype) -> None:
    vertices, faces = grid(cells, dtype)
    vertices[..., :2] += 0.2 / cells * torch.randn(1, vertices.shape[1], 2, dtype=dtype)
    vertices[..., :2] *= 1.3
    for image_size in ((64, 64), (33, 91)):
        fragments = rasterize(vertices, faces, image_size)
        assert (fragments.face_index >= 0).all()
        assert (fragments.barycentric >= 0).all()
        assert torch.allclose(fragments.barycentric.sum(-1), torch.ones((), dtype=dtype), atol=1e-6)
        assert torch.allclose(fragments.depth, torch.ones((), dtype=dtype), atol=1e-6)


def test_nothing_is_culled() -> None:
    front = rasterize(TRIANGLE, ONE_FACE, (16, 16))
    back = rasterize(TRIANGLE, ONE_FACE.flip(1), (16, 16))
    assert torch.equal(front.face_index, back.face_index)
    assert torch.allclose(front.barycentric, back.barycentric.flip(-1))


@pytest.mark.parametrize("z", [0.0, -1.0, 1e-9])
def test_face_at_or_behind_camera_is_left_out(z: float) -> None:
    vertices = TRIANGLE.repeat(2, 1, 1)
    vertices[1, 2, 2] = z
    for perspective_correct in (False, True):
        fragments = rasterize(vertices, ONE_FACE, (8, 8), perspective_correct=perspective_correct)
        assert (fragments.face_index[0] >= 0).any()
        assert (fragments.face_index[1] == -1).all()


@pytest.mark.parametrize(
    "corners",
    [
        [[-0.9, -0.9], [0.1, 0.1], [0.9, 0.9]],
        [[-0.7, -0.3], [0.2, 0.6], [0.2, 0.6]],
        [[0.1, 0.3], [0.2, 0.6], [-0.3, -0.9]],  # on one line but for rounding
        [[0.0, 0.0], [0.0, 0.0], [0.0, 0.0]],
    ],
)
def test_degenerate_face_is_left_out(corners: list[list[float]]) -> None:
    vertices = torch.cat([torch.tensor(corners), torch.ones(3, 1)], 1)[None].requires_grad_()
    fragments = rasterize(vertices, ONE_FACE, (9, 9))
    assert (fragments.face_index == -1).all()
    fragments.barycentric.sum().backward()
    assert vertices.grad is not None
    assert (vertices.grad == 0).all()


@pytest.mark.parametrize("reach", [1e3, 1e7, 1e20, 1e38])
@pytest.mark.parametrize("perspective_correct", [False, True])
def test_corners_may_be_far_outside_the_image(reach: float, perspective_correct: bool) -> None:
    vertices = torch.tensor([[[-reach, -reach, 2.0], [reach, -reach, 2.0], [reach, reach, 2.0], [-reach, reach, 2.0]]])
    faces = torch.tensor([[0, 1, 2], [0, 2, 3]])
    fragments = rasterize(vertices, faces, (20, 20), perspective_correct=perspective_correct)
    assert (fragments.face_index >= 0).all()
    assert torch.allclose(fragments.barycentric.sum(-1), torch.tensor(1.0))
    assert torch.allclose(fragments.depth, torch.tensor(2.0))
    if reach == 1e3:  # beyond that the precision of the corners moves the diagonal by pixels
        row, column = torch.meshgrid(torch.arange(20), torch.arange(20), indexing="ij")
        assert torch.equal(fragments.face_index[0], (row + column < 19).long())


def test_faces_in_view_are_not_disturbed_by_faces_out_of_view() -> None:
    vertices, faces = soup(1, 80, 0.1)
    away = vertices + torch.tensor([5.0, 0.0, 0.0])
    both = rasterize(torch.cat([vertices, away], 1), torch.cat([faces, faces + vertices.shape[1]]), (32, 32))
    alone = rasterize(vertices, faces, (32, 32))
    assert torch.equal(both.face_index, alone.face_index)


def test_large_faces_are_drawn_in_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    vertices, faces = soup(2, 60, 0.7)
    whole = rasterize(vertices, faces, (48, 40))
    monkeypatch.setattr("renderers.rasterizer_coverage._CPU_CHUNK", 64)
    assert torch.equal(rasterize(vertices, faces, (48, 40)).face_index, whole.face_index)


def test_batch_is_the_same_as_one_by_one() -> None:
    vertices, faces = soup(5, 150, 0.15)
    together = rasterize(vertices, faces, (32, 24))
    for index in range(5):
        alone = rasterize(vertices[index : index + 1], faces, (32, 24))
        for field, expected in zip(together, alone, strict=True):
            assert torch.equal(field[index : index + 1], expected)


@pytest.mark.parametrize(("batch", "faces"), [(2, 0), (0, 3)])
def test_empty_mesh_or_batch(batch: int, faces: int) -> None:
    fragments = rasterize(torch.ones(batch, 3, 3), ONE_FACE.repeat(faces, 1), (4, 5))
    assert fragments.face_index.shape == (batch, 4, 5)
    assert fragments.barycentric.shape == (batch, 4, 5, 3)
    assert (fragments.face_index == -1).all()
    assert torch.isposinf(fragments.depth).all()


@pytest.mark.parametrize("perspective_correct", [False, True])
def test_gradient_of_vertices_and_attributes(perspective_correct: bool) -> None:
    vertices, faces = soup(2, 12, 0.4, torch.float64)
    vertices.requires_grad_()
    attributes = torch.rand(2, vertices.shape[1], 2, dtype=torch.float64, requires_grad=True)

    def picture(vertices: Tensor, attributes: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        fragments = rasterize(vertices, faces, (6, 5), perspective_correct=perspective_correct)
        depth = torch.where(fragments.face_index >= 0, fragments.depth, 0.0)
        return fragments.barycentric, depth, interpolate(fragments, faces, attributes)

    assert torch.autograd.gradcheck(picture, (vertices, attributes), fast_mode=True)


@pytest.mark.parametrize("shared_by_batch", [False, True])
def test_interpolate(shared_by_batch: bool) -> None:
    vertices, faces = soup(3, 50, 0.3)
    attributes = torch.rand(vertices.shape[1], 5) if shared_by_batch else torch.rand(3, vertices.shape[1], 5)
    fragments = rasterize(vertices, faces, (16, 12))
    picture = interpolate(fragments, faces, attributes)
    assert picture.shape == (3, 16, 12, 5)
    for image, row, column in torch.cartesian_prod(torch.arange(3), torch.arange(0, 16, 3), torch.arange(0, 12, 3)):
        face = fragments.face_index[image, row, column]
        expected = torch.zeros(5)
        if face >= 0:
            table = attributes if shared_by_batch else attributes[image]
            expected = fragments.barycentric[image, row, column] @ table[faces[face]]
        assert torch.allclose(picture[image, row, column], expected, atol=1e-6)


def test_interpolated_position_is_that_of_the_pixel() -> None:
    vertices, faces = grid(9)
    picture = interpolate(rasterize(vertices, faces, (8, 10)), faces, vertices)
    assert torch.allclose(picture[0, :, :, 0], ((2 * torch.arange(10) + 1) / 10 - 1).expand(8, 10), atol=1e-5)
    assert torch.allclose(picture[0, :, :, 1], (1 - (2 * torch.arange(8) + 1) / 8)[:, None].expand(8, 10), atol=1e-5)


def test_interpolate_refuses_another_batch() -> None:
    fragments = rasterize(TRIANGLE, ONE_FACE, (4, 4))
    with pytest.raises(InputError, match="got \\(2, 3, 1\\)"):
        interpolate(fragments, ONE_FACE, torch.rand(2, 3, 1))


@pytest.mark.parametrize("value", [torch.nan, torch.inf, -torch.inf])
def test_vertices_that_are_not_finite(value: float) -> None:
    vertices = TRIANGLE.repeat(3, 1, 1)
    vertices[2, 1, 0] = value
    with pytest.raises(InputError, match="vertex 1 of mesh 2") as error:
        rasterize(vertices, ONE_FACE, (4, 4))
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("face", [[0, 1, 3], [-1, 0, 1]])
def test_face_index_out_of_range(face: list[int]) -> None:
    with pytest.raises(InputError, match="expected face indices from 0 to 2, got") as error:
        rasterize(TRIANGLE, torch.tensor([face]), (4, 4))
    assert "\n" not in str(error.value)


# The checks themselves are called, since the shapes in signatures, which are verified under pytest, come before them.
@pytest.mark.parametrize(
    ("vertices", "faces", "image_size", "message"),
    [
        (TRIANGLE[0], ONE_FACE, (4, 4), "vertices \\(B, V, 3\\), got \\(3, 3\\)"),
        (TRIANGLE[..., :2], ONE_FACE, (4, 4), "got \\(1, 3, 2\\)"),
        (TRIANGLE, ONE_FACE[0], (4, 4), "faces \\(F, 3\\), got \\(3,\\)"),
        (TRIANGLE, ONE_FACE[None], (4, 4), "got \\(1, 1, 3\\)"),
        (TRIANGLE.half(), ONE_FACE, (4, 4), "got torch.float16"),
        (TRIANGLE.long(), ONE_FACE, (4, 4), "got torch.int64"),
        (TRIANGLE, ONE_FACE.int(), (4, 4), "got torch.int32"),
        (TRIANGLE, ONE_FACE.to("meta"), (4, 4), "faces on meta"),
        (TRIANGLE, ONE_FACE, (0, 4), "got \\(0, 4\\)"),
        (TRIANGLE, ONE_FACE, 64, "whole pixels, at least \\(1, 1\\), got 64"),
        (TRIANGLE, ONE_FACE, (64.0, 64.0), "got \\(64.0, 64.0\\)"),
        (TRIANGLE, ONE_FACE, (4, 4, 4), "got \\(4, 4, 4\\)"),
    ],
)
def test_input_of_wrong_form(vertices: Tensor, faces: Tensor, image_size: object, message: str) -> None:
    with pytest.raises(InputError, match=message) as error:
        check_mesh(vertices, faces, image_size)
    assert "\n" not in str(error.value)


def test_pytorch3d_that_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pytorch3d", None)
    with pytest.raises(InputError, match="install it or use backend 'torch'"):
        rasterize(TRIANGLE, ONE_FACE, (4, 4), backend="pytorch3d")


def pytorch3d_conventions(monkeypatch: pytest.MonkeyPatch) -> None:
    """Put a module in PyTorch3D's place that answers in its conventions: x left, [-1, 1] along the shorter side."""

    def rasterize_meshes(meshes: Any, image_size: tuple[int, int], perspective_correct: bool, **options: Any) -> Any:
        assert options["faces_per_pixel"] == 1
        assert options["blur_radius"] == 0
        vertices, faces = meshes
        height, width = image_size
        shorter = min(image_size)
        clip = vertices * vertices.new_tensor([-shorter / width, shorter / height, 1])
        face, weights, depth = rasterize_reference(clip, faces[0], image_size, perspective_correct=perspective_correct)
        packed = face + torch.arange(len(face))[:, None, None] * faces.shape[1]
        empty = face < 0
        return (
            torch.where(empty, -1, packed)[..., None],
            torch.where(empty, -1.0, depth)[..., None],
            torch.where(empty[..., None], -1.0, weights)[..., None, :],
            None,
        )

    modules = {name: types.ModuleType(name) for name in ("pytorch3d", "pytorch3d.renderer", "pytorch3d.renderer.mesh")}
    modules["pytorch3d.renderer.mesh.rasterize_meshes"] = types.ModuleType("rasterize_meshes")
    modules["pytorch3d.structures"] = types.ModuleType("structures")
    monkeypatch.setattr(
        modules["pytorch3d.renderer.mesh.rasterize_meshes"], "rasterize_meshes", rasterize_meshes, raising=False
    )
    monkeypatch.setattr(modules["pytorch3d.structures"], "Meshes", lambda *mesh: mesh, raising=False)
    for name, module in modules.items():
        monkeypatch.setitem(sys.modules, name, module)


@pytest.mark.parametrize("image_size", [(12, 12), (9, 16), (16, 9)])
def test_pytorch3d_backend_translates_conventions(image_size: tuple[int, int], monkeypatch: pytest.MonkeyPatch) -> None:
    pytorch3d_conventions(monkeypatch)
    mesh = soup(2, 40, 0.3)
    ours, theirs = rasterize(*mesh, image_size), rasterize(*mesh, image_size, backend="pytorch3d")
    assert torch.equal(ours.face_index, theirs.face_index)
    assert torch.allclose(ours.barycentric, theirs.barycentric, atol=1e-3)
    assert torch.allclose(ours.depth, theirs.depth, atol=1e-3)


def test_pytorch3d_itself() -> None:
    pytest.importorskip("pytorch3d", reason="PyTorch3D is not installed")
    vertices, faces = soup(2, 60, 0.3)
    ours, theirs = rasterize(vertices, faces, (24, 40)), rasterize(vertices, faces, (24, 40), backend="pytorch3d")
    assert (ours.face_index == theirs.face_index).float().mean() > 0.995


def test_images_change_range_and_back() -> None:
    unit = torch.tensor([0.0, 0.25, 1.0])
    assert torch.equal(to_signed(unit), torch.tensor([-1.0, -0.5, 1.0]))
    assert torch.equal(to_unit(to_signed(unit)), unit)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU")
def test_gpu_equals_cpu() -> None:
    vertices, faces = soup(3, 300, 0.2)
    cpu, gpu = rasterize(vertices, faces, (48, 40)), rasterize(vertices.cuda(), faces.cuda(), (48, 40))
    assert torch.equal(cpu.face_index, gpu.face_index.cpu())
    assert torch.allclose(cpu.depth, gpu.depth.cpu(), atol=1e-4)
