"""One way to open any face model: by file, by folder, or the shipped one by name."""

from pathlib import Path
from typing import cast, get_args

from models.morphable.arrays import read_landmarks, with_sizes
from models.morphable.bfm_h5 import load_bfm_h5
from models.morphable.bfm_tools import load_bfm_tools
from models.morphable.ict import load_ict_folder, load_ict_packed
from models.morphable.model import MorphableModel
from models.morphable.parameters import ParameterSizes
from models.morphable.procedural import Density, procedural_model
from models.weights import build_from, describe_weights, load_weights, locate, recorded, save_weights
from renderers.errors import InputError

KIND = "face-model"
SHIPPED = "procedural"


def load_face_model(
    path: str | Path, sizes: ParameterSizes | None = ParameterSizes(), landmarks: str | Path | None = None
) -> MorphableModel:
    """Open a face model.

    Args:
        path: `BFM_model_front.mat` of the public BFM tools; a Basel model of 2017 or 2019, `.h5`; ICT-FaceKit's folder of OBJ
            files or a packed `.npz` of it; this project's `.safetensors` (`save_face_model`); or `procedural:coarse`, `:medium`,
            `:fine`, `:full`. Files are looked for as given, then relative to the project.
        sizes: Number of coefficients of each kind. Where the file has more, the first are kept; where it has fewer, zero
            components are added; a log line says so. None takes what the file has.
        landmarks: File with the 0-based vertices of the 68 landmarks, `.npy` or text, in place of those of the model.

    Raises:
        InputError: for a file that is missing, damaged, of another kind or topology, or inconsistent in itself.
    """
    model = _open(path, None if landmarks is None else Path(landmarks))
    return model if sizes is None else with_sizes(model, sizes, path)


def source_of(path: str | Path) -> str:
    """What a face model came from: the name of its file or folder, or what a file of ours says that it was written from."""
    if str(path).partition(":")[0] == SHIPPED:
        return str(path)
    found = locate(path)
    if found.suffix.lower() != ".safetensors" or found.is_dir():
        return found.name
    return str(describe_weights(found).config.get("source", found.name))


def recorded_source(source: str) -> str:
    """What `load_face_model` takes as another file records it (`recorded`); the shipped model has a name and no file."""
    return source if source.partition(":")[0] == SHIPPED else recorded(locate(source))


def is_recorded(source: str) -> bool:
    """Whether there is something at the place that `recorded` or `recorded_source` wrote down."""
    if source.partition(":")[0] == SHIPPED:
        return True
    try:
        locate(source)
    except InputError:
        return False
    return True


def save_face_model(path: str | Path, model: MorphableModel, source: str) -> Path:
    """Write a face model so that it opens quickly; `source` says where it came from."""
    return save_weights(
        path, model.tensors(), KIND, {"expression_names": list(model.expression_names), "source": source}
    )


def _open(path: str | Path, landmarks: Path | None) -> MorphableModel:
    name, _, density = str(path).partition(":")
    if name == SHIPPED:
        if density not in get_args(Density):
            raise InputError(
                f"expected {SHIPPED}: and one of {', '.join(get_args(Density))}, got '{path}'; name a density"
            )
        return _with_landmarks(procedural_model(cast(Density, density)), landmarks)
    found = locate(path)
    suffix = found.suffix.lower()
    if found.is_dir():
        return _with_landmarks(load_ict_folder(found), landmarks)
    if suffix == ".mat":
        return _with_landmarks(load_bfm_tools(found), landmarks)
    if suffix in (".h5", ".hdf5"):
        return load_bfm_h5(found, landmarks)
    if suffix == ".npz":
        return _with_landmarks(load_ict_packed(found), landmarks)
    if suffix == ".safetensors":
        tensors, config = load_weights(found, KIND)
        model = build_from(found, lambda: MorphableModel.from_tensors(tensors, config["expression_names"]))
        return _with_landmarks(model, landmarks)
    raise InputError(
        f"expected a face model as .mat, .h5, .npz, .safetensors or a folder of OBJ files, got {found}; convert it first"
    )


def _with_landmarks(model: MorphableModel, landmarks: Path | None) -> MorphableModel:
    if landmarks is None:
        return model
    indices = read_landmarks(landmarks, model.vertex_count)
    return MorphableModel.from_tensors({**model.tensors(), "landmark_indices": indices}, model.expression_names)
