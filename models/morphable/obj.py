"""Meshes in Wavefront OBJ files, with the vertex order of the file kept."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Float32, Int64

from renderers.errors import InputError

# What 32 bits hold: indices of any mesh that fits into memory.
_LARGEST_INDEX = 2**31 - 1


@dataclass(frozen=True)
class ObjMesh:
    """A triangulated mesh.

    Attributes:
        vertices: (V, 3) in the order of the file.
        texture_vertices: (T, 2).
        faces: (F, 3) 0-based vertices; polygons are split into fans about their first corner.
        texture_faces: (F, 3) 0-based texture vertices, -1 where a corner has none.
    """

    vertices: Float32[np.ndarray, "vertices 3"]
    texture_vertices: Float32[np.ndarray, "texture_vertices 2"]
    faces: Int64[np.ndarray, "faces 3"]
    texture_faces: Int64[np.ndarray, "faces 3"]


def read_vertices(path: Path) -> Float32[np.ndarray, "vertices 3"]:
    """The vertices alone, in the order of the file.

    Raises:
        InputError: for a file that is no OBJ file, or has none or damaged ones.
    """
    rows = (line.split() for line in _lines(path))
    return _columns([words[1:4] for words in rows if words and words[0] == "v"], 3, "vertices", path)


def read_obj(path: Path) -> ObjMesh:
    """The whole mesh.

    Raises:
        InputError: for a file that is no OBJ file, or has no faces, damaged lines, or indices out of range.
    """
    vertices, texture, faces, texture_faces = [], [], [], []
    for line in _lines(path):
        kind, *words = line.split() or [""]
        if kind == "v":
            vertices.append(words[:3])
        elif kind == "vt":
            texture.append(words[:2])
        elif kind == "f":
            try:
                corners = [_corner(word, len(vertices), len(texture)) for word in words]
            except ValueError as error:
                raise InputError(
                    f"expected faces of numbers in {path}, got '{line[:60]}'; fetch the file again"
                ) from error
            for second, third in zip(corners[1:], corners[2:], strict=False):
                triangle = (corners[0], second, third)
                faces.append([vertex for vertex, _ in triangle])
                texture_faces.append([number for _, number in triangle])
    if not faces:
        raise InputError(f"expected an OBJ file with faces, {path} has none; fetch the file again")
    mesh = ObjMesh(
        _columns(vertices, 3, "vertices", path),
        _columns(texture, 2, "texture vertices", path) if texture else np.zeros((0, 2), np.float32),
        np.array(faces, dtype=np.int64),
        np.array(texture_faces, dtype=np.int64),
    )
    for name, indices, count, lowest in (
        ("vertices", mesh.faces, len(mesh.vertices), 0),
        ("texture vertices", mesh.texture_faces, len(mesh.texture_vertices), -1),
    ):
        if indices.min() < lowest or indices.max() >= count:
            raise InputError(
                f"expected faces of the {count} {name} in {path}, counted from 1, got {indices.min() + 1} to {indices.max() + 1}; "
                "fetch the file again"
            )
    return mesh


def _lines(path: Path) -> list[str]:
    try:
        return path.read_text(encoding="utf-8").splitlines()
    except UnicodeDecodeError as error:
        raise InputError(
            f"expected an OBJ file of plain text, {path} holds other bytes; fetch the file again"
        ) from error


def _corner(word: str, vertices: int, texture: int) -> tuple[int, int]:
    """`v`, `v/vt`, `v//vn` or `v/vt/vn`, counted from 1, or from the end where negative, as 0-based numbers."""
    parts = word.split("/")
    numbers = [int(part) if part else 0 for part in (*parts, "")[:2]]
    if numbers[0] == 0:
        raise ValueError("vertices are counted from 1")
    if max(map(abs, numbers)) > _LARGEST_INDEX:
        raise ValueError("no mesh has as many vertices")
    return tuple(n - 1 if n >= 0 else n + count for n, count in zip(numbers, (vertices, texture), strict=True))  # type: ignore[return-value]


def _columns(rows: list[list[str]], width: int, name: str, path: Path) -> np.ndarray:
    try:
        values = np.array(rows, dtype=np.float32)
    except (ValueError, OverflowError) as error:
        raise InputError(
            f"expected {width} numbers for each of the {name} of {path}, some differ; fetch the file again"
        ) from error
    if values.ndim != 2 or values.shape[1] != width or not np.isfinite(values).all():
        raise InputError(f"expected {width} finite numbers for each of the {name} of {path}; fetch the file again")
    return values
