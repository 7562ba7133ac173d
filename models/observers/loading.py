"""Observers from files: which network a file holds is read from the file."""

from collections.abc import Sequence
from pathlib import Path
from typing import TypeVar

import torch
from torch import nn

from models.observers.face_api import DEFAULT_CROP, FaceApiLandmarks, load_face_api
from models.observers.identity import FACE_CROP, FacenetIdentity, IdentityNet
from models.observers.judge import Judge
from models.observers.landmarks import LandmarkNet
from models.weights import build_from, fill, load_weights, locate, save_weights
from renderers.errors import InputError

Network = TypeVar("Network", bound=nn.Module)


def save_observer(path: str | Path, network: LandmarkNet | IdentityNet | Judge) -> Path:
    """Write an observer: convolution and matrix weights as float16 (halves the file), all else as it is."""
    state = {
        name: value.half() if value.is_floating_point() and value.ndim > 1 else value
        for name, value in network.state_dict().items()
    }
    return save_weights(path, state, network.kind, network.config)


def load_landmarker(path: str | Path, crop: Sequence[float] = DEFAULT_CROP) -> LandmarkNet | FaceApiLandmarks:
    """The landmark network of a file of ours, or of a folder with face-api weights; frozen, in evaluation mode.

    Args:
        path: `.safetensors` file of kind landmark-net, or a folder with a face-api manifest and shard.
        crop: for face-api alone: where the face is, as fractions (left, top, right, bottom) of the picture.
    Raises: `InputError` if the file is missing, broken or of another kind.
    """
    found = locate(path)
    if found.is_dir():
        return load_face_api(found, crop)
    state, config = load_weights(found, LandmarkNet.kind)
    return _frozen(build_from(found, lambda: LandmarkNet(**config)), state, found)


def load_identity(path: str | Path, crop: Sequence[float] = FACE_CROP) -> IdentityNet | FacenetIdentity:
    """The identity network of a file of ours, or of a local facenet-pytorch weights file; frozen, in evaluation mode.

    Args:
        path: `.safetensors` file of kind identity-net, or `.pt` file of an InceptionResnetV1.
        crop: for facenet alone: where the face is, as fractions (left, top, right, bottom) of the picture.
    Raises: `InputError` if the file is missing, broken or of another kind.
    """
    found = locate(path)
    if found.suffix in (".pt", ".pth"):
        return load_facenet(found, crop)
    state, config = load_weights(found, IdentityNet.kind)
    return _frozen(build_from(found, lambda: IdentityNet(**config)), state, found)


def load_judge(path: str | Path) -> Judge:
    """The judge of a file of ours (kind judge); frozen, in evaluation mode.

    Raises: `InputError` if the file is missing, broken or of another kind.
    """
    found = locate(path)
    state, config = load_weights(found, Judge.kind)
    return _frozen(build_from(found, lambda: Judge(**config)), state, found)


def load_facenet(path: str | Path, crop: Sequence[float] = FACE_CROP) -> FacenetIdentity:
    """facenet-pytorch's InceptionResnetV1 with weights from a local file (its classification layer is left out).

    Raises: `InputError` if the file is missing, no plain state dict, or of another network.
    """
    # Imported here: it takes seconds, and only those who bring such weights need it.
    from facenet_pytorch import InceptionResnetV1

    found = locate(path)
    try:
        state = torch.load(found, map_location="cpu", weights_only=True)
        state = {name: value for name, value in state.items() if not name.startswith("logits.")}
        network = _frozen(InceptionResnetV1(pretrained=None, classify=False), state, found)
    except InputError:
        raise
    except Exception as error:  # torch.load raises many kinds of exception for files that are not its own
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise InputError(
            f"expected InceptionResnetV1 weights of facenet-pytorch in {found}, could not read them ({reason}); "
            "give its .pt file"
        ) from error
    return FacenetIdentity(network, crop).eval()


def _frozen(network: Network, state: dict[str, torch.Tensor], path: Path) -> Network:
    """Load weights that must fit, and make the network constant."""
    fill(network, state, path)
    return network.eval().requires_grad_(False)
