"""Wavefront OBJ with its material and texture.

Written out here, since the format counts places, texture coordinates and normals apart: a surface is closed across texture seams,
where trimesh writes the vertices of a seam twice.
"""

from pathlib import Path

import numpy as np
from PIL import Image

from models.meshes.textured_mesh import TexturedMesh


def obj_files(path: Path) -> tuple[Path, Path, Path]:
    """The mesh, its material and its texture, of the path of the mesh.

    The texture is NAME.diffuse.png: NAME.png is what other commands call the picture of a code.
    """
    return path, path.with_name(f"{path.stem}.mtl"), path.with_name(f"{path.stem}.diffuse.png")


def write_obj(mesh: TexturedMesh, path: str | Path) -> tuple[Path, Path, Path]:
    """Write a mesh as .obj, .mtl and .diffuse.png in metres; coordinates to a tenth of a micrometre. Morph targets are left out.

    Args:
        mesh: What is written.
        path: Of the .obj; the others lie beside it.
    """
    target, material, texture = obj_files(Path(path))
    start, place = mesh.welded()
    corners = np.stack([place[mesh.faces], mesh.faces, place[mesh.faces]], axis=2).reshape(-1, 9) + 1
    lines = [
        f"# LatentRig; metres, y up, the face towards +z; a unit of the model is {mesh.metres_per_unit:g} m",
        f"mtllib {material.name}",
        f"o {mesh.name}",
        _rows("v %.7f %.7f %.7f", mesh.vertices[start]),
        # This format's v runs up, as ours. A denser mesh can reach a little beyond its texture, which would show the other side there.
        _rows("vt %.6f %.6f", mesh.uv.clip(0, 1)),
        _rows("vn %.6f %.6f %.6f", mesh.normals[start]),
        "usemtl skin",
        "s 1",
        _rows("f %d/%d/%d %d/%d/%d %d/%d/%d", corners),
    ]
    # The texture repeats beyond its edges: readers take the format's `-clamp on` for a part of the file's name.
    described = ["newmtl skin", "Ka 0 0 0", "Kd 1 1 1", "Ks 0 0 0", "illum 1", f"map_Kd {texture.name}"]
    Image.fromarray(mesh.texture).save(texture)
    material.write_text("\n".join(described) + "\n", encoding="utf-8")
    target.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return target, material, texture


def _rows(pattern: str, values: np.ndarray) -> str:
    return "\n".join(pattern % tuple(row) for row in values.tolist())
