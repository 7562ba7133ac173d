"""A mesh with one texture, normals and morph targets, as it is written to files."""

from dataclasses import dataclass, replace

import numpy as np
import torch
from jaxtyping import Float32, Int64, UInt8

from renderers.errors import InputError
from renderers.texture import sample_texture


@dataclass(frozen=True, eq=False)
class MorphTarget:
    """A change of shape that a viewer adds by a weight: at 1 the whole of it.

    Attributes:
        name: What viewers call it.
        positions: (V, 3) offsets of the vertices, metres.
        normals: (V, 3) differences of the normals.
    """

    name: str
    positions: Float32[np.ndarray, "vertices 3"]
    normals: Float32[np.ndarray, "vertices 3"]


@dataclass(frozen=True, eq=False)
class TexturedMesh:
    """A triangle mesh in metres: x right, y up, z towards the viewer, as in glTF.

    Vertices have one texture coordinate each; where a texture seam needs two, the vertex is there twice, and `first` says that both
    are one.

    Attributes:
        name: What viewers call it.
        vertices: (V, 3), metres.
        faces: (F, 3) vertex indices, counter-clockwise seen from outside.
        uv: (V, 2), u right and v up in the texture: (0, 0) is its bottom left corner.
        normals: (V, 3), unit.
        texture: (rows, columns, 3), the values that a screen shows without any light (sRGB); row 0 is the top.
        first: (V,) the first vertex of each vertex's place; a vertex of its own place names itself.
        targets: Morph targets of different names.
        metres_per_unit: Of the model that the mesh was made of, for whoever wants its lengths back.

    Raises:
        InputError: for shapes that do not fit, indices out of range, values that are not finite, and no faces.
    """

    name: str
    vertices: Float32[np.ndarray, "vertices 3"]
    faces: Int64[np.ndarray, "faces 3"]
    uv: Float32[np.ndarray, "vertices 2"]
    normals: Float32[np.ndarray, "vertices 3"]
    texture: UInt8[np.ndarray, "rows columns 3"]
    first: Int64[np.ndarray, " vertices"]
    targets: tuple[MorphTarget, ...] = ()
    metres_per_unit: float = 1.0

    def __post_init__(self) -> None:
        count = len(self.vertices)
        by_vertex = {"vertices": self.vertices, "uv": self.uv, "normals": self.normals}
        for target in self.targets:
            by_vertex |= {f"positions of {target.name}": target.positions, f"normals of {target.name}": target.normals}
        for name, values in by_vertex.items():
            width = 2 if name == "uv" else 3
            if values.shape != (count, width):
                raise InputError(
                    f"expected {name} ({count}, {width}) of a mesh, got {values.shape}; give one row per vertex"
                )
            if not np.isfinite(values).all():
                raise InputError(f"expected finite {name} of mesh {self.name}, got others; check what it was made of")
        if self.faces.ndim != 2 or self.faces.shape[1] != 3 or len(self.faces) == 0:
            raise InputError(
                f"expected triangles (faces, 3) of mesh {self.name}, got {self.faces.shape}; give it faces"
            )
        if self.first.shape != (count,):
            raise InputError(f"expected one place for each of {count} vertices, got {self.first.shape}; correct first")
        for name, indices in (("faces", self.faces), ("first", self.first)):
            if indices.min() < 0 or indices.max() >= count:
                raise InputError(
                    f"expected {name} of {count} vertices, got {indices.min()} to {indices.max()}; correct them"
                )
        if self.texture.ndim != 3 or self.texture.shape[2] != 3 or 0 in self.texture.shape:
            raise InputError(f"expected a texture (rows, columns, 3), got {self.texture.shape}; give an RGB picture")
        names = [target.name for target in self.targets]
        if len(set(names)) != len(names):
            raise InputError(f"expected morph targets of different names, got {', '.join(names)}; rename one")

    def without_loose_vertices(self) -> "TexturedMesh":
        """The same surface without the vertices that no face has, which have no normal."""
        used = np.zeros(len(self.vertices), dtype=bool)
        used[self.faces] = True
        if used.all():
            return self
        index = np.cumsum(used) - 1
        rows = np.flatnonzero(used)
        # The first vertex of a place may be one of those that go.
        _, start, place = np.unique(self.first[rows], return_index=True, return_inverse=True)
        return replace(
            self,
            vertices=self.vertices[rows],
            faces=index[self.faces],
            uv=self.uv[rows],
            normals=self.normals[rows],
            first=start[place],
            targets=tuple(MorphTarget(t.name, t.positions[rows], t.normals[rows]) for t in self.targets),
        )

    def welded(self) -> tuple[Int64[np.ndarray, " places"], Int64[np.ndarray, " vertices"]]:
        """The places of the surface, each once: a vertex of each, and of each vertex the number of its place."""
        _, start, place = np.unique(self.first, return_index=True, return_inverse=True)
        return start, place

    def vertex_colours(self) -> UInt8[np.ndarray, "vertices 3"]:
        """The texture looked up at each vertex; vertices of one place have the mean of theirs."""
        texture = torch.from_numpy(self.texture).permute(2, 0, 1)[None].double()
        sampled = sample_texture(texture, torch.from_numpy(self.uv).double())[0].numpy()
        start, place = self.welded()
        sums = np.zeros((len(start), 3))
        np.add.at(sums, place, sampled)
        means = sums / np.bincount(place)[:, None]
        return means.round().clip(0, 255).astype(np.uint8)[place]
