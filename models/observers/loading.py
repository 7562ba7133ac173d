"""Observers from files, or by the name of what a package fetches: which network a file holds is read from the file."""

from collections.abc import Sequence
from pathlib import Path
from typing import TypeVar

from models.observers import face_api, facenet, fan
from models.observers.identity import IdentityNet
from models.observers.interfaces import FaceEmbedder, LandmarkDetector, SavedNetwork
from models.observers.judge import Judge
from models.observers.landmarks import LandmarkNet
from models.weights import build_from, fill, half_matrices, load_weights, locate, save_weights
from renderers.errors import InputError

Network = TypeVar("Network", bound=SavedNetwork)

# What torch.save writes is named so: weights of other projects. Ours are safetensors.
_TORCH_SUFFIXES = (".pt", ".pth", ".tar")


def save_observer(path: str | Path, network: SavedNetwork) -> Path:
    """Write an observer: convolution and matrix weights as float16 (halves the file), all else as it is."""
    return save_weights(path, half_matrices(network.state_dict()), network.kind, network.config)


def load_landmark_detector(source: str | Path, crop: Sequence[float] | None = None) -> LandmarkDetector:
    """A landmark detector; frozen, in evaluation mode.

    Args:
        source: our `.safetensors` file of kind landmark-net; a folder with face-api's 68-landmark weights; or the
            weights file of the face-alignment package (`2DFAN4-*.pth.tar`), or `face-alignment` for its own download.
        crop: for the latter two: where aligned portraits have the face, as fractions (left, top, right, bottom), in
            place of FFHQ's alignment.
    Raises: `InputError` if the file is missing, broken or of another kind, its package is not installed, or a crop comes with ours.
    """
    if str(source) == fan.FACE_ALIGNMENT:
        return fan.load_fan(fan.FACE_ALIGNMENT, crop or fan.DEFAULT_CROP)
    found = locate(source)
    if found.is_dir():
        return face_api.load_face_api(found, crop or face_api.DEFAULT_CROP)
    if found.suffix in _TORCH_SUFFIXES:
        return fan.load_fan(found, crop or fan.DEFAULT_CROP)
    _refuse_crop(crop, found)
    return _load(found, LandmarkNet)


def load_face_embedder(source: str | Path, crop: Sequence[float] | None = None) -> FaceEmbedder:
    """A face embedder; frozen, in evaluation mode.

    Args:
        source: our `.safetensors` file of kind identity-net; the `.pt` file of facenet-pytorch's InceptionResnetV1; or
            `vggface2` or `casia-webface` for that package's own download.
        crop: for facenet alone: where aligned portraits have the face, as fractions (left, top, right, bottom), in place
            of FFHQ's alignment.
    Raises: `InputError` if the file is missing, broken or of another kind, the download fails, or a crop comes with ours.
    """
    if str(source) in facenet.FACENET_DOWNLOADS:
        return facenet.load_facenet(source, crop or facenet.FACENET_CROP)
    found = locate(source)
    if found.suffix in _TORCH_SUFFIXES:
        return facenet.load_facenet(found, crop or facenet.FACENET_CROP)
    _refuse_crop(crop, found)
    return _load(found, IdentityNet)


def load_judge(path: str | Path) -> Judge:
    """The judge of a file of ours (kind judge); frozen, in evaluation mode.

    Raises: `InputError` if the file is missing, broken or of another kind.
    """
    return _load(locate(path), Judge)


def _refuse_crop(crop: Sequence[float] | None, path: Path) -> None:
    if crop is not None:
        raise InputError(
            f"expected no crop with {path}, a network of this project that says itself where it looks; leave it out"
        )


def _load(path: Path, network_type: type[Network]) -> Network:
    """A network of ours, as its file describes it, with weights that must fit; constant."""
    state, config = load_weights(path, network_type.kind)
    network = build_from(path, lambda: network_type(**config))
    fill(network, state, path)
    return network.eval().requires_grad_(False)
