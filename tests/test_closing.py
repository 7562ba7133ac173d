"""Holes of a mesh closed by patches."""

import pytest
import torch
from torch import Tensor

from models.morphable import MorphableModel
from models.morphable.closing import boundary_loops, close_holes
from models.morphable.procedural import procedural_model
from renderers.shading import vertex_normals
from tests.toy_face import toy_face_model


def without(model: MorphableModel, vertices: list[int]) -> MorphableModel:
    """The toy face without the faces at some vertices, which stay as loose ones."""
    gone = torch.zeros(model.vertex_count, dtype=torch.bool)
    gone[vertices] = True
    tensors = {**model.tensors(), "faces": model.faces[~gone[model.faces].any(dim=1)]}
    return MorphableModel.from_tensors(tensors, model.expression_names)


def directed(faces: Tensor) -> list[tuple[int, int]]:
    edges = torch.cat([faces[:, [0, 1]], faces[:, [1, 2]], faces[:, [2, 0]]])
    return [(start, end) for start, end in edges.tolist()]


def test_eyes_and_mouth_of_the_shipped_face_are_closed() -> None:
    """One rim stays, no edge is run along twice in one direction, and patches look out of the face."""
    region = procedural_model("coarse").region("face")
    assert len(boundary_loops(region.faces)) == 4
    closed = close_holes(region)
    (outline,) = boundary_loops(closed.faces)
    assert max(map(len, boundary_loops(region.faces))) == len(outline)
    edges = directed(closed.faces)
    assert len(set(edges)) == len(edges)
    normals = vertex_normals(closed.mean_shape[None], closed.faces)[0, region.vertex_count :]
    # The mouth is a narrow gap between lips of unequal depth: there a patch may lean.
    assert (normals[:, 2] > -0.5).all() and normals[:, 2].mean() > 0.3
    # In the texture, too, patches lie as the face does: no triangle of theirs is turned over.
    first, second, third = closed.uv[closed.faces].unbind(1)
    side = (second - first)[:, 0] * (third - first)[:, 1] - (second - first)[:, 1] * (third - first)[:, 0]
    assert (side[len(region.faces) :] > 0).all()


def test_the_mesh_keeps_what_it_had() -> None:
    region = procedural_model("coarse").region("face")
    closed, count = close_holes(region), region.vertex_count
    assert torch.equal(closed.faces[: len(region.faces)], region.faces)
    assert torch.equal(closed.landmark_indices, region.landmark_indices)
    assert torch.equal(closed.mean_shape[:count], region.mean_shape) and torch.equal(closed.uv[:count], region.uv)
    for name, mask in region.regions.items():
        assert torch.equal(closed.regions[name][:count], mask) and not closed.regions[name][count:].any()


def test_a_patch_moves_with_its_rim() -> None:
    """Whatever the coefficients, the middle of a patch is the mean of its rim, in place and colour."""
    whole = toy_face_model()
    hole = without(whole, [5 * 12 + 6, 6 * 12 + 6])
    closed = close_holes(hole)
    rims = boundary_loops(hole.faces)
    rim = min(rims, key=len)
    assert closed.vertex_count == hole.vertex_count + 2 * len(rim) + 1
    rng = torch.Generator().manual_seed(0)
    identity, expression, reflectance = (torch.randn(2, size, generator=rng) for size in (3, 2, 2))
    vertices, albedo = closed.vertices(identity, expression), closed.albedo(reflectance)
    torch.testing.assert_close(vertices[:, -1], vertices[:, rim].mean(dim=1))
    torch.testing.assert_close(albedo[:, -1], albedo[:, rim].mean(dim=1))
    torch.testing.assert_close(closed.uv[-1], closed.uv[rim].mean(dim=0))


def test_a_mesh_without_holes_is_left_alone() -> None:
    whole = toy_face_model()
    assert close_holes(whole) is whole


@pytest.mark.parametrize("seam", [3, 6])
def test_a_texture_seam_is_no_hole(seam: int) -> None:
    """A column of vertices that is there twice parts the texture, not the surface."""
    whole, rows, columns = toy_face_model(), 14, 12
    old = torch.arange(rows) * columns + seam
    copy = torch.arange(whole.vertex_count)
    copy[old] = whole.vertex_count + torch.arange(rows)
    right = (whole.faces % columns).amin(dim=1) >= seam
    tensors = {
        name: torch.cat([tensor, tensor[old]])
        for name, tensor in whole.tensors().items()
        if name not in ("faces", "landmark_indices")
    }
    tensors |= {"faces": torch.where(right[:, None], copy[whole.faces], whole.faces)}
    split = MorphableModel.from_tensors({**tensors, "landmark_indices": whole.landmark_indices}, whole.expression_names)
    assert len(boundary_loops(split.faces)) == 2
    assert close_holes(split) is split
