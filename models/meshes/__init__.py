"""Textured meshes and the files that other programs open: glTF binaries, Wavefront OBJ and PLY."""

from models.meshes.face_mesh import (
    METRES_PER_MODEL_UNIT,
    FaceMeshes,
    ShapeOffset,
    expression_offsets,
    identity_offsets,
)
from models.meshes.glb import write_glb
from models.meshes.ply import write_ply
from models.meshes.textured_mesh import MorphTarget, TexturedMesh
from models.meshes.wavefront import write_obj

__all__ = [
    "METRES_PER_MODEL_UNIT",
    "FaceMeshes",
    "MorphTarget",
    "ShapeOffset",
    "TexturedMesh",
    "expression_offsets",
    "identity_offsets",
    "write_glb",
    "write_obj",
    "write_ply",
]
