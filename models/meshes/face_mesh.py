"""Meshes of faces: shapes and diffuse maps of a morphable model, with its expressions and identity as morph targets."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from models.meshes.textured_mesh import MorphTarget, TexturedMesh
from models.morphable import MorphableModel
from models.stylerig.expressions import expression_control
from renderers.displacement import coincident_vertices
from renderers.errors import InputError
from renderers.shading import vertex_normals

# Face models are in decimetres (docs/conventions.md), glTF in metres.
METRES_PER_MODEL_UNIT = 0.1


class ShapeOffset(NamedTuple):
    """What one coefficient, or a combination of them, adds to the shape at strength 1.

    Attributes:
        name: Of the expression or the identity coefficient.
        offsets: (V, 3) in the object frame and the face model's unit.
    """

    name: str
    offsets: Float[Tensor, "vertices 3"]


def expression_offsets(surface: MorphableModel, names: Sequence[str]) -> list[ShapeOffset]:
    """Expressions by name, each once: those of `models.stylerig.expressions`, composites among them.

    Raises:
        InputError: for a name that the face model does not have.
    """
    controls = {control.name: control for control in (expression_control(surface, name) for name in names)}
    offsets = []
    for name, control in controls.items():
        index = [position for position, _ in control.weights]
        weights = surface.expression_basis.new_tensor([weight for _, weight in control.weights])
        offsets.append(ShapeOffset(name, surface.expression_basis[:, :, index] @ weights))
    return offsets


def identity_offsets(surface: MorphableModel, count: int) -> list[ShapeOffset]:
    """The first identity coefficients, id0, id1, ..., by one standard deviation each.

    Raises:
        InputError: for more than the face model has, or a negative count.
    """
    if not 0 <= count <= surface.sizes.identity:
        raise InputError(
            f"expected 0 to {surface.sizes.identity} identity components of this face model, got {count}; change the number"
        )
    return [ShapeOffset(f"id{number}", surface.identity_basis[:, :, number]) for number in range(count)]


class FaceMeshes:
    """Makes meshes of one surface.

    Args:
        surface: The mesh that shapes are of, its texture coordinates in the frame of the maps.
        offsets: What becomes morph targets.
    """

    def __init__(self, surface: MorphableModel, offsets: Sequence[ShapeOffset] = ()) -> None:
        self.surface = surface
        self.offsets = tuple(offsets)
        self.coincident = coincident_vertices(surface.mean_shape, surface.identity_basis, surface.expression_basis)

    @torch.no_grad()
    def mesh(
        self,
        name: str,
        shape: Float[Tensor, "vertices 3"],
        diffuse: Float[Tensor, "3 rows columns"],
        rotation: Float[Tensor, "3 3"] | None = None,
        translation: Float[Tensor, "3"] | None = None,
    ) -> TexturedMesh:
        """One face.

        Normals are those of the shape as it is given, displaced or not; those of morph targets are normals of the moved shape less
        these. Vertices of a texture seam share place, normal and offsets to the last bit.

        Args:
            name: What viewers call it.
            shape: In the object frame and the face model's unit.
            diffuse: Map in [0, 1]. Renders show colours as they come, without a transfer function, so that these are sRGB values.
            rotation: Object to world; the face is frontal where it is not given.
            translation: Added after the rotation, in the face model's unit.

        Raises:
            InputError: for a shape of another mesh, or values that are not finite.
        """
        if shape.shape != self.surface.mean_shape.shape:
            raise InputError(
                f"expected vertices {tuple(self.surface.mean_shape.shape)} of the surface, got {tuple(shape.shape)}; give its own"
            )
        welded = shape[self.coincident]
        moved = [offsets[self.coincident] for _, offsets in self.offsets]
        turn = torch.eye(3).to(shape) if rotation is None else rotation
        shift = shape.new_zeros(3) if translation is None else translation
        normals = self._normals(welded)
        targets = tuple(
            MorphTarget(
                each.name,
                _array(offsets @ turn.T * METRES_PER_MODEL_UNIT),
                _array((self._normals(welded + offsets) - normals) @ turn.T),
            )
            for each, offsets in zip(self.offsets, moved, strict=True)
        )
        mesh = TexturedMesh(
            name,
            _array((welded @ turn.T + shift) * METRES_PER_MODEL_UNIT),
            self.surface.faces.cpu().numpy(),
            _array(self.surface.uv),
            _array(normals @ turn.T),
            (diffuse.clamp(0, 1) * 255).round().byte().permute(1, 2, 0).cpu().numpy(),
            self.coincident.cpu().numpy(),
            targets,
            METRES_PER_MODEL_UNIT,
        )
        return mesh.without_loose_vertices()

    def _normals(self, shape: Tensor) -> Tensor:
        """Unit normals (V, 3) of the surface closed at its seams; where all faces around a vertex are without area, towards the viewer."""
        normals = vertex_normals(shape[None], self.coincident[self.surface.faces])[0][self.coincident]
        without = normals.norm(dim=1, keepdim=True) < 0.5
        return torch.where(without, normals.new_tensor([0.0, 0.0, 1.0]), normals)


def _array(values: Tensor) -> np.ndarray:
    return np.ascontiguousarray(values.detach().float().cpu().numpy())
