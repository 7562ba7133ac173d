"""ICT-FaceKit, the MIT-licensed morphable head (Li et al. 2020): its folder of OBJ files, or one packed file of the same arrays."""

import logging
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from models.morphable.arrays import check_claim, check_size, numbers, triangles, zero_based
from models.morphable.correspondence import Correspondence
from models.morphable.model import MorphableModel
from models.morphable.obj import read_obj, read_vertices
from renderers.errors import InputError, reason_of

_LOG = logging.getLogger(__name__)

# Facts of ICT-FaceKit's README: number of vertices, the range of each part, the 68 landmark vertices, the unit.
VERTICES = 26719
PARTS: dict[str, slice] = {
    "ict_face": slice(0, 9409),  # with ears and the front of the neck
    "head_and_neck": slice(9409, 11248),
    "mouth_socket": slice(11248, 13294),
    "eye_sockets": slice(13294, 14062),
    "gums_and_tongue": slice(14062, 17039),
    "teeth": slice(17039, 21451),
    "eyeballs": slice(21451, 24591),
    "transparent": slice(24591, 26719),  # tear film, shells that blend and shade the eyes, eyelash cards
}
# fmt: off
LANDMARK_INDICES = (
    1225, 1888, 1052, 367, 1719, 1722, 2199, 1447, 966, 3661, 4390, 3927, 3924, 2608, 3272, 4088, 3443,
    268, 493, 1914, 2044, 1401, 3615, 4240, 4114, 2734, 2509, 978, 4527, 4942, 4857, 1140, 2075, 1147, 4269, 3360,
    1507, 1542, 1537, 1528, 1518, 1511, 3742, 3751, 3756, 3721, 3725, 3732,
    5708, 5695, 2081, 0, 4275, 6200, 6213, 6346, 6461, 5518, 5957, 5841, 5702, 5711, 5533, 6216, 6207, 6470, 5517, 5966,
)
# fmt: on
CENTIMETRES_PER_UNIT = 10.0

_NEUTRAL = "generic_neutral_mesh.obj"
_PACKED = ("mean", "identity", "expression", "expr_names", "uv", "tri", "tri_uv")
# Colours where the shipped model has no skin to lend; ICT-FaceKit gives none.
_COLOURS = {
    "mouth_socket": (0.35, 0.12, 0.11),
    "eye_sockets": (0.45, 0.22, 0.19),
    "gums_and_tongue": (0.55, 0.22, 0.21),
    "teeth": (0.78, 0.74, 0.66),
    "eyeballs": (0.80, 0.77, 0.74),
}
_IRIS, _PUPIL = (0.24, 0.15, 0.09), (0.02, 0.02, 0.02)
# Half angles at which iris (11.7 mm wide) and pupil (4 mm) are seen from the middle of an eyeball 24 mm wide: usual adult sizes.
_IRIS_COSINE, _PUPIL_COSINE = 0.873, 0.986


@dataclass(frozen=True)
class IctArrays:
    """The arrays of ICT-FaceKit, centimetres: what its OBJ files hold.

    Attributes:
        mean: (V, 3) neutral mean face.
        identity: (V, 3, I) change per standard deviation.
        expression: (V, 3, E) change at full strength.
        expression_names: E of them.
        faces: (F, 3).
        uv: (T, 2) over several tiles, and `uv_faces` (F, 3) the texture vertex of each corner.
    """

    mean: Float[Tensor, "vertices 3"]
    identity: Float[Tensor, "vertices 3 identity"]
    expression: Float[Tensor, "vertices 3 expression"]
    expression_names: tuple[str, ...]
    faces: Int[Tensor, "faces 3"]
    uv: Float[Tensor, "texture_vertices 2"]
    uv_faces: Int[Tensor, "faces 3"]


def load_ict_folder(folder: Path) -> MorphableModel:
    """Read ICT-FaceKit's `FaceXModel` folder: `generic_neutral_mesh.obj`, `identity000.obj` and on, one OBJ per expression.

    Raises:
        InputError: for missing or damaged files, or meshes of another topology.
    """
    if not (folder / _NEUTRAL).is_file():
        raise InputError(
            f"expected ICT-FaceKit's FaceXModel folder with {_NEUTRAL}, {folder} has none; name that folder"
        )
    neutral = read_obj(folder / _NEUTRAL)
    others = sorted(path for path in folder.glob("*.obj") if path.name != _NEUTRAL)
    identity = [path for path in others if path.stem.startswith("identity")]
    expression = [path for path in others if not path.stem.startswith("identity")]
    if not identity or not expression:
        raise InputError(
            f"expected identity and expression meshes beside {_NEUTRAL}, {folder} has {len(identity)} and {len(expression)}; "
            "name ICT-FaceKit's FaceXModel folder"
        )

    def changes(paths: list[Path]) -> Tensor:
        basis = np.empty((len(paths), *neutral.vertices.shape), np.float32)
        for number, path in enumerate(paths):
            vertices = read_vertices(path)
            if vertices.shape != neutral.vertices.shape:
                raise InputError(
                    f"expected {len(neutral.vertices)} vertices in {path} as in {_NEUTRAL}, got {len(vertices)}; "
                    "take all meshes from one release"
                )
            basis[number] = vertices - neutral.vertices
        return torch.from_numpy(basis).permute(1, 2, 0).contiguous()

    if (neutral.texture_faces < 0).any():
        raise InputError(
            f"expected texture coordinates at every corner of {folder / _NEUTRAL}, some lack them; fetch it again"
        )
    return _assemble(
        IctArrays(
            mean=torch.from_numpy(neutral.vertices),
            identity=changes(identity),
            expression=changes(expression),
            expression_names=tuple(path.stem for path in expression),
            faces=triangles(neutral.faces, "faces", folder / _NEUTRAL, len(neutral.vertices), first=0),
            uv=torch.from_numpy(neutral.texture_vertices),
            uv_faces=torch.from_numpy(neutral.texture_faces),
        ),
        folder,
    )


def load_ict_packed(path: Path) -> MorphableModel:
    """Read a packed copy, `.npz`: `mean` (V, 3) cm, `identity` (I, V, 3), `expression` (E, V, 3), `expr_names`, `uv`, `tri`, `tri_uv`.

    Raises:
        InputError: for another format, missing entries, indices out of range, values that are not finite, another topology.
    """
    try:
        with np.load(path, allow_pickle=False) as file:
            missing = [name for name in _PACKED if name not in file.files]
            if missing:
                raise InputError(
                    f"expected {', '.join(_PACKED)} in {path}, it lacks {', '.join(missing)}; pack ICT-FaceKit's meshes again"
                )
            entries = [file.zip.getinfo(name if name in file.zip.namelist() else f"{name}.npy") for name in _PACKED]
            check_claim(sum(e.file_size for e in entries), sum(e.compress_size for e in entries), path)
            content = {name: file[name] for name in _PACKED}
    except InputError:
        raise
    # Damaged bytes surface as whatever the archive, its compression, or NumPy's parser of headers first runs into.
    except Exception as error:
        raise InputError(
            f"expected a packed .npz file, {path} is damaged or another format ({reason_of(error)}); fetch it again"
        ) from error
    mean = numbers(content["mean"], "mean", path)
    bases = {}
    for name in ("identity", "expression"):
        basis = numbers(content[name], name, path)
        if mean.ndim != 2 or basis.ndim != 3 or basis.shape[1:] != mean.shape or mean.shape[1] != 3:
            raise InputError(
                f"expected mean (vertices, 3) and {name} (components, vertices, 3) in {path}, got {mean.shape} and {basis.shape}; "
                "pack ICT-FaceKit's meshes again"
            )
        bases[name] = torch.from_numpy(basis).permute(1, 2, 0).contiguous()
    # NumPy gives an array whose header is damaged as its bytes.
    if not isinstance(content["expr_names"], np.ndarray):
        raise InputError(
            f"expected names in expr_names of {path}, it holds other bytes; pack ICT-FaceKit's meshes again"
        )
    names = tuple(str(name) for name in content["expr_names"].ravel())
    uv = numbers(content["uv"], "uv", path)
    faces = triangles(content["tri"], "tri", path, len(mean), first=0)
    if uv.ndim != 2 or uv.shape[1] != 2 or np.shape(content["tri_uv"]) != tuple(faces.shape):
        raise InputError(
            f"expected uv (n, 2) and tri_uv of the shape of tri in {path}, got {uv.shape} and {np.shape(content['tri_uv'])}; "
            "pack ICT-FaceKit's meshes again"
        )
    uv_faces = zero_based(content["tri_uv"], "tri_uv", path, len(uv), first=0)
    arrays = IctArrays(
        torch.from_numpy(mean), bases["identity"], bases["expression"], names, faces, torch.from_numpy(uv), uv_faces
    )
    return _assemble(arrays, path)


def _assemble(arrays: IctArrays, source: Path) -> MorphableModel:
    """The model in decimetres, its landmarks centred where the shipped model has them, with that model's skin."""
    if len(arrays.mean) != VERTICES:
        raise InputError(
            f"expected ICT-FaceKit's {VERTICES} vertices in {source}, got {len(arrays.mean)}; its landmarks and parts are known for "
            "that mesh alone"
        )
    landmarks = torch.tensor(LANDMARK_INDICES)
    shape = arrays.mean / CENTIMETRES_PER_UNIT
    check_size(shape, source, "centimetres", CENTIMETRES_PER_UNIT)
    places = Correspondence.between(shape, landmarks)
    shipped = places.source
    shape = shape - shape[landmarks].mean(dim=0) + shipped.mean_shape[shipped.landmark_indices].mean(dim=0)
    parts = {name: _part(where) for name, where in PARTS.items()}
    skin = parts["ict_face"] | parts["head_and_neck"]
    albedo = torch.where(skin[:, None], places.mean_albedo(), 0.0)
    for name, colour in _COLOURS.items():
        albedo[parts[name]] = torch.tensor(colour)
    _paint_eyes(albedo, shape)
    _LOG.warning(
        "%s: ICT-FaceKit has no reflectance; the shipped model's skin is carried over by nearest position", source
    )
    return MorphableModel(
        mean_shape=shape,
        identity_basis=arrays.identity / CENTIMETRES_PER_UNIT,
        expression_basis=arrays.expression / CENTIMETRES_PER_UNIT,
        mean_albedo=albedo,
        reflectance_basis=places.reflectance_basis() * skin[:, None, None],
        # An opaque tear film or eyelash card would hide the eye behind it.
        faces=arrays.faces[~parts["transparent"][arrays.faces].any(dim=1)],
        uv=_vertex_uv(arrays),
        landmark_indices=landmarks,
        regions={
            "face": places.region("face") & parts["ict_face"],
            "lips": places.region("lips") & parts["ict_face"],
            "skin": skin,
            **parts,
        },
        expression_names=arrays.expression_names,
    )


def _part(where: slice) -> Bool[Tensor, " vertices"]:
    mask = torch.zeros(VERTICES, dtype=torch.bool)
    mask[where] = True
    return mask


def _paint_eyes(albedo: Float[Tensor, "vertices 3"], shape: Float[Tensor, "vertices 3"]) -> None:
    """Iris and pupil of both eyeballs, whose vertices are the two halves of their range and which look along +z."""
    first, last = PARTS["eyeballs"].start, PARTS["eyeballs"].stop
    middle = (first + last) // 2
    for start, end in ((first, middle), (middle, last)):
        ball = shape[start:end]
        centre = (ball.amin(dim=0) + ball.amax(dim=0)) / 2
        cosine = torch.nn.functional.normalize(ball - centre, dim=1)[:, 2]
        albedo[start:end][cosine > _IRIS_COSINE] = torch.tensor(_IRIS)
        albedo[start:end][cosine > _PUPIL_COSINE] = torch.tensor(_PUPIL)


def _vertex_uv(arrays: IctArrays) -> Float[Tensor, "vertices 2"]:
    """One texture coordinate per vertex, within its tile; a vertex on a seam keeps that in the lowest tile, the face's.

    Each part of the mesh has textures of its own in ICT-FaceKit, so parts overlap in [0, 1]: render a texture with one region.
    """
    corners, numbers_of = arrays.faces.ravel(), arrays.uv_faces.ravel()
    tile = arrays.uv[numbers_of].floor().sum(dim=1)
    # The last write of an index wins in this order: highest tiles first, lowest last.
    order = torch.argsort(tile, descending=True, stable=True)
    chosen = np.zeros(len(arrays.mean), dtype=np.int64)
    chosen[corners[order].numpy()] = numbers_of[order].numpy()
    uv = arrays.uv[torch.from_numpy(chosen)]
    return uv - uv.floor()
