"""PLY: a closed surface with a colour at each vertex, for programs that read no textures."""

from pathlib import Path

import trimesh

from models.meshes.textured_mesh import TexturedMesh


def write_ply(mesh: TexturedMesh, path: str | Path) -> Path:
    """Write a mesh as binary .ply in metres, with normals; the texture is looked up at the vertices, each place is there once.

    Morph targets are left out. Colours are as fine as the mesh: `write_glb` and `write_obj` keep the texture.
    """
    start, place = mesh.welded()
    written = trimesh.Trimesh(
        vertices=mesh.vertices[start],
        faces=place[mesh.faces],
        vertex_normals=mesh.normals[start],
        vertex_colors=mesh.vertex_colours()[start],
        process=False,
    )
    target = Path(path)
    target.write_bytes(trimesh.exchange.ply.export_ply(written, vertex_normal=True))
    return target
