"""glTF 2.0 binaries (Khronos, "glTF 2.0 Specification"): a mesh, its texture and its morph targets in one file.

Written out here, since trimesh writes neither morph targets nor samplers.
"""

import io
import json
import struct
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from models.meshes.textured_mesh import TexturedMesh
from models.version import project_version

# Numbers that the specification gives (sections 3.6.2, 3.8.4 and 4.4).
_MAGIC, _JSON_CHUNK, _BINARY_CHUNK = 0x46546C67, 0x4E4F534A, 0x004E4942
_UNSIGNED_SHORT, _UNSIGNED_INT, _FLOAT = 5123, 5125, 5126
_ARRAY_BUFFER, _ELEMENT_ARRAY_BUFFER = 34962, 34963
_LINEAR, _LINEAR_MIPMAP_LINEAR, _CLAMP_TO_EDGE = 9729, 9987, 33071
# The largest index of 16 bits is kept free, as the specification asks.
_MOST_SHORT_INDICES = 65535
# Offsets of morph targets below these are left out: a tenth of a micrometre, and a thousandth of a degree or so of a normal. Chosen by
# us; a blendshape of the shipped model moves a third of the face's vertices by more.
_LEAST_OFFSET, _LEAST_TURN = 1e-7, 2e-5
# Where fewer vertices than this share move, storing their numbers beside their offsets takes less room than all offsets.
_SPARSE_SHARE = 0.75


class _Buffer:
    """The binary chunk, and the views and accessors into it."""

    def __init__(self) -> None:
        self.data = bytearray()
        self.views: list[dict[str, Any]] = []
        self.accessors: list[dict[str, Any]] = []

    def view(self, data: bytes, target: int | None = None) -> int:
        """Number of a new view of these bytes; every view starts at a multiple of 4 bytes."""
        view: dict[str, Any] = {"buffer": 0, "byteOffset": len(self.data), "byteLength": len(data)}
        self.views.append(view if target is None else {**view, "target": target})
        self.data += _padded(data, b"\0")
        return len(self.views) - 1

    def vectors(self, values: np.ndarray, bounded: bool = False) -> int:
        """Number of an accessor of (V, 2) or (V, 3) floats; with their bounds for positions, which need them."""
        accessor = {
            "bufferView": self.view(values.astype("<f4").tobytes(), _ARRAY_BUFFER),
            "componentType": _FLOAT,
            "count": len(values),
            "type": f"VEC{values.shape[1]}",
        }
        bounds = {"min": values.min(axis=0).tolist(), "max": values.max(axis=0).tolist()} if bounded else {}
        self.accessors.append({**accessor, **bounds})
        return len(self.accessors) - 1

    def offsets(self, values: np.ndarray, least: float, bounded: bool = False) -> int:
        """Number of an accessor of (V, 3) floats most of which are often zero; what is smaller than `least` becomes so."""
        kept = np.where(np.abs(values).max(axis=1, keepdims=True) > least, values, 0).astype("<f4")
        moved = np.flatnonzero(kept.any(axis=1))
        if len(moved) >= _SPARSE_SHARE * len(kept):
            return self.vectors(kept, bounded)
        accessor: dict[str, Any] = {"componentType": _FLOAT, "count": len(kept), "type": "VEC3"}
        if len(moved) > 0:
            kind, width = _index_type(len(kept))
            accessor["sparse"] = {
                "count": len(moved),
                "indices": {"bufferView": self.view(moved.astype(width).tobytes()), "componentType": kind},
                "values": {"bufferView": self.view(kept[moved].tobytes())},
            }
        bounds = {"min": kept.min(axis=0).tolist(), "max": kept.max(axis=0).tolist()} if bounded else {}
        self.accessors.append({**accessor, **bounds})
        return len(self.accessors) - 1

    def indices(self, faces: np.ndarray, vertices: int) -> int:
        """Number of an accessor of the corners of triangles."""
        kind, width = _index_type(vertices)
        self.accessors.append(
            {
                "bufferView": self.view(faces.astype(width).tobytes(), _ELEMENT_ARRAY_BUFFER),
                "componentType": kind,
                "count": faces.size,
                "type": "SCALAR",
            }
        )
        return len(self.accessors) - 1


def _index_type(vertices: int) -> tuple[int, str]:
    """The format's and NumPy's name of the smallest type that numbers so many vertices."""
    return (_UNSIGNED_SHORT, "<u2") if vertices <= _MOST_SHORT_INDICES else (_UNSIGNED_INT, "<u4")


def write_glb(mesh: TexturedMesh, path: str | Path) -> Path:
    """Write a mesh as .glb, in metres, y up, the face towards +z, as the format asks.

    The texture is the base colour of a rough material without metal, shown from both sides, and is not repeated beyond its edges.
    Morph targets have the names that viewers read from `extras.targetNames`, and no weight at first.
    """
    buffer = _Buffer()
    attributes = {
        "POSITION": buffer.vectors(mesh.vertices, bounded=True),
        "NORMAL": buffer.vectors(mesh.normals),
        # The format's v runs down.
        "TEXCOORD_0": buffer.vectors(np.stack([mesh.uv[:, 0], 1 - mesh.uv[:, 1]], axis=1)),
    }
    primitive: dict[str, Any] = {
        "attributes": attributes,
        "indices": buffer.indices(mesh.faces, len(mesh.vertices)),
        "material": 0,
    }
    described: dict[str, Any] = {"name": mesh.name, "primitives": [primitive]}
    if mesh.targets:
        primitive["targets"] = [
            {
                "POSITION": buffer.offsets(target.positions, _LEAST_OFFSET, bounded=True),
                "NORMAL": buffer.offsets(target.normals, _LEAST_TURN),
            }
            for target in mesh.targets
        ]
        described["weights"] = [0.0] * len(mesh.targets)
        described["extras"] = {"targetNames": [target.name for target in mesh.targets]}
    picture = io.BytesIO()
    Image.fromarray(mesh.texture).save(picture, "PNG")
    tree = {
        "asset": {
            "version": "2.0",
            "generator": f"LatentRig {project_version()}",
            "extras": {"unit": "metre", "metres_per_model_unit": mesh.metres_per_unit},
        },
        "scene": 0,
        "scenes": [{"nodes": [0]}],
        "nodes": [{"name": mesh.name, "mesh": 0}],
        "meshes": [described],
        "materials": [
            {
                "name": "skin",
                "doubleSided": True,
                "pbrMetallicRoughness": {
                    "baseColorTexture": {"index": 0},
                    "metallicFactor": 0.0,
                    "roughnessFactor": 1.0,
                },
            }
        ],
        "textures": [{"sampler": 0, "source": 0}],
        "samplers": [
            {
                "magFilter": _LINEAR,
                "minFilter": _LINEAR_MIPMAP_LINEAR,
                "wrapS": _CLAMP_TO_EDGE,
                "wrapT": _CLAMP_TO_EDGE,
            }
        ],
        "images": [{"name": "diffuse", "mimeType": "image/png", "bufferView": buffer.view(picture.getvalue())}],
        "accessors": buffer.accessors,
        "bufferViews": buffer.views,
        "buffers": [{"byteLength": len(buffer.data)}],
    }
    text = _padded(json.dumps(tree, separators=(",", ":")).encode(), b" ")
    chunks = [(_JSON_CHUNK, text), (_BINARY_CHUNK, bytes(buffer.data))]
    total = 12 + sum(8 + len(data) for _, data in chunks)
    parts = [struct.pack("<III", _MAGIC, 2, total)]
    for kind, data in chunks:
        parts += [struct.pack("<II", len(data), kind), data]
    target = Path(path)
    target.write_bytes(b"".join(parts))
    return target


def _padded(data: bytes, filler: bytes) -> bytes:
    return data + filler * (-len(data) % 4)
