"""What a file or folder holds, read by the readers that the run itself uses, or from its header alone."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np
from PIL import Image
from scipy.io import whosmat
from torch import Tensor

from datamodules.face_fits.shards import find_shards
from datamodules.photo_folder import find_photos
from datamodules.photos.decoding import SUFFIXES, UNREADABLE_SUFFIXES
from models.morphable.loading import load_face_model
from models.observers import load_face_api
from models.observers.facenet import FACENET_DOWNLOADS
from models.observers.fan import FACE_ALIGNMENT
from models.perceptual.loss import OBSERVERS, VGG16
from models.safe_pickle import read_pickle
from models.stylegan2.loading import describe_generator, networks_in, read_discriminator
from models.weights import describe_weights, is_safetensors
from renderers.errors import InputError

Kind = Literal[
    "generator",
    "discriminator",
    "landmark network",
    "identity network",
    "judge",
    "face reconstruction",
    "face encoder",
    "code encoder",
    "portrait embedding",
    "codes",
    "linear directions",
    "RigNet",
    "steering network",
    "fitted faces",
    "code coefficients",
    "step size",
    "UV generator",
    "face model",
    "perceptual features",
    "Inception features",
    "training checkpoint",
    "LiftedGAN checkpoint",
    "photos",
    "picture",
    "folder",
    "file",
]
_OWN_KINDS: dict[str, Kind] = {
    "stylegan2-generator": "generator",
    "stylegan2-discriminator": "discriminator",
    "landmark-net": "landmark network",
    "identity-net": "identity network",
    "judge": "judge",
    "face-reconstruction": "face reconstruction",
    "face-encoder": "face encoder",
    "code-encoder": "code encoder",
    "portrait-embedding": "portrait embedding",
    "latent-codes": "codes",
    "latent-directions": "linear directions",
    "rignet": "RigNet",
    "steering": "steering network",
    "fitted-faces": "fitted faces",
    "code-coefficients": "code coefficients",
    "step-size": "step size",
    "mirror-step": "step size",
    "stylefaceuv-uv-generator": "UV generator",
    "lifted-gan": "LiftedGAN checkpoint",
    "procedural-morphable-model": "face model",
    "face-model": "face model",
}
# Layout of what this project ships.
SHIPPED = "shipped"
# Weights that an installed package fetches by itself, or that are shipped, by the names that stand for them in a configuration.
PACKAGE_WEIGHTS: dict[str, tuple[Kind, str]] = {
    FACE_ALIGNMENT: ("landmark network", "fan"),
    **dict.fromkeys(FACENET_DOWNLOADS, ("identity network", "facenet")),
    VGG16: ("perceptual features", "vgg16"),
    OBSERVERS: ("perceptual features", SHIPPED),
}
_PICKLES = frozenset(".pkl .pickle .pt .pth .ckpt .tar".split())
# How pickles of protocol 2 and above and the archives of torch.save begin, whatever they are called.
_PICKLE_STARTS = (b"\x80", b"PK\x03\x04")
# How HDF5 files begin.
_HDF5 = b"\x89HDF\r\n\x1a\n"
# LiftedGAN's slim generator: channels at 4 to 256 pixels.
_SLIM_CHANNELS = (512, 512, 256, 128, 64, 32, 16)


@dataclass(frozen=True)
class Artefact:
    """What lies at a path.

    Attributes:
        path: The file or folder.
        kind: What it is to a run.
        layout: Who wrote it: "latentrig", "shipped", or a key of `evaluation.run_checks.licences.LICENCES`; "" where nothing tells.
        text: Sizes, in a few words.
        config: Configuration stored in weights of this project.
    """

    path: Path
    kind: Kind
    layout: str = ""
    text: str = ""
    config: Mapping[str, Any] = field(default_factory=dict)

    @property
    def described(self) -> str:
        """Kind, layout and sizes in one phrase."""
        what = f"{self.kind} ({self.layout} layout)" if self.layout not in ("", "latentrig") else self.kind
        return f"{what}, {self.text}" if self.text else what


def identify(path: Path) -> Artefact:
    """What a file or folder holds.

    Raises:
        InputError: for files that are cut short or damaged.
    """
    if path.is_dir():
        return _folder(path)
    if not path.is_file():
        raise InputError(f"expected a file or a folder, {path} is a device or a pipe; name a file")
    if path.stat().st_size == 0:
        raise InputError(f"expected a file with contents, {path} is empty; write or fetch it again")
    suffix = path.suffix.lower()
    if is_safetensors(path):
        return _own_weights(path)
    if suffix in _PICKLES:
        return _pickled(path)
    if suffix in (".mat", ".npz", ".h5", ".hdf5"):
        return _face_model(path)
    if suffix in SUFFIXES | UNREADABLE_SUFFIXES:
        return Artefact(path, "picture", text=f"{_picture_size(path)} px")
    with path.open("rb") as file:
        starts_as_pickle = file.read(4).startswith(_PICKLE_STARTS)
    # Generators are opened whatever their files are called.
    return _pickled(path) if starts_as_pickle else Artefact(path, "file", text=f"{path.stat().st_size} bytes")


def _folder(path: Path) -> Artefact:
    if any(path.glob("*-weights_manifest.json")):
        load_face_api(path)
        return Artefact(path, "landmark network", "face-api", "68 points")
    if any(path.glob("generic_neutral_mesh.obj")):
        return Artefact(path, "face model", "ict", f"{sum(1 for _ in path.glob('*.obj'))} meshes")
    if shards := find_shards(path):
        return Artefact(path, "fitted faces", "latentrig", f"{len(shards)} files", describe_weights(shards[0]).config)
    try:
        photos = find_photos(path)
    except InputError:
        photos = []
    if photos:
        return Artefact(path, "photos", text=f"{len(photos)} pictures, the first {_picture_size(photos[0])} px")
    return Artefact(path, "folder", text="no pictures")


def _own_weights(path: Path) -> Artefact:
    info = describe_weights(path)
    if info.kind == "stylegan2-generator":
        return _generator(path)
    if info.kind == "stylegan2-discriminator":
        return _discriminator(path)
    kind = _OWN_KINDS.get(info.kind, "file")
    layout = _converted_from(str(info.config["source"])) if "source" in info.config else "latentrig"
    return Artefact(path, kind, layout, f"{info.elements:,} values", info.config)


def _converted_from(source: str) -> str:
    """Layout of the face model that a compact file was written from."""
    suffix = Path(source).suffix.lower()
    return {".mat": "bfm-front", ".h5": "bfm-h5", ".hdf5": "bfm-h5", ".npz": "ict", "": "ict"}.get(suffix, "")


def _generator(path: Path) -> Artefact:
    facts = describe_generator(path)
    layout = "liftedgan" if facts.origin == "rosinality" and facts.channels == _SLIM_CHANNELS else facts.origin
    text = f"{facts.resolution} px, {facts.layers} layers x {facts.w_dim}, {facts.parameters / 1e6:.1f} M parameters"
    return Artefact(path, "generator", layout, text)


def _discriminator(path: Path) -> Artefact:
    network, origin = read_discriminator(path)
    return Artefact(path, "discriminator", origin, f"{network.resolution} px")


def _pickled(path: Path) -> Artefact:
    contents = read_pickle(path)
    keys = {str(key) for key in contents} if isinstance(contents, Mapping) else set()
    if {"netD", "netT", "netSC"} <= keys:
        return Artefact(path, "LiftedGAN checkpoint", "liftedgan")
    if {"state_dict", "pytorch-lightning_version"} <= keys:
        return Artefact(path, "training checkpoint", text=f"{path.stat().st_size / 2**20:.1f} MiB")
    if keys and isinstance(contents, Mapping) and all(isinstance(value, Tensor) for value in contents.values()):
        if "conv2d_1a.conv.weight" in keys:
            return Artefact(path, "identity network", "facenet", "InceptionResnetV1")
        if any(key.startswith("m0.") for key in keys):
            return Artefact(path, "landmark network", "fan", "68 points")
        if "features.0.weight" in keys:
            return Artefact(path, "perceptual features", "vgg16")
        if "Conv2d_1a_3x3.conv.weight" in keys:
            return Artefact(path, "Inception features", "inception")
    networks = networks_in(contents, path)
    text = f"with {', '.join(sorted(keys)[:6])}" if keys else f"a {type(contents).__name__}"
    # Networks are read again below; both copies at once would be twice the memory.
    del contents
    if "generator" in networks:
        return _generator(path)
    if "discriminator" in networks:
        return _discriminator(path)
    return Artefact(path, "file", text=text)


def _face_model(path: Path) -> Artefact:
    suffix = path.suffix.lower()
    if suffix == ".mat":
        names, known, layout = _names_in_mat(path), {"meanshape", "idBase", "exBase", "texBase", "tri"}, "bfm-front"
    elif suffix == ".npz":
        names, known, layout = _names_in_npz(path), {"mean", "identity", "expression"}, "ict"
    else:
        with path.open("rb") as file:
            names, known, layout = {file.read(len(_HDF5)).hex()}, {_HDF5.hex()}, "bfm-h5"
    if not known <= names:
        return Artefact(path, "file", text=f"with {', '.join(sorted(names)[:6]) or 'nothing'}")
    if layout == "bfm-h5":
        # Opening it whole also searches for its landmarks, which takes long and is done when the run is built.
        return Artefact(path, "face model", layout)
    model = load_face_model(path, sizes=None)
    sizes = model.sizes
    text = f"{model.vertex_count:,} vertices, {sizes.identity} + {sizes.expression} + {sizes.reflectance} components"
    return Artefact(path, "face model", layout, text)


def _names_in_mat(path: Path) -> set[str]:
    try:
        return {name for name, _, _ in whosmat(path)}
    # Damaged bytes surface in SciPy's reader as whatever they first run into.
    except Exception as error:
        raise _damaged(path, error) from error


def _names_in_npz(path: Path) -> set[str]:
    try:
        with np.load(path, allow_pickle=False) as file:
            return set(file.files)
    except Exception as error:  # as above; of an array alone NumPy gives no archive
        raise _damaged(path, error) from error


def _damaged(path: Path, error: Exception) -> InputError:
    reason = str(error).splitlines()[0][:120] if str(error) else type(error).__name__
    return InputError(f"expected a whole {path.suffix} file, {path} cannot be read ({reason}); fetch it again")


def _picture_size(path: Path) -> str:
    try:
        with Image.open(path) as image:
            return f"{image.width} x {image.height}"
    except Exception as error:  # Pillow's readers of damaged headers raise a dozen kinds of exception
        raise InputError(f"expected a picture, {path} cannot be read ({error}); take it out or replace it") from error
