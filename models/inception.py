"""Inception-v3 features of pictures, with weights from a local file."""

import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from models.safe_pickle import read_pickle
from models.weights import locate
from renderers.errors import InputError

# Classes of the network that FID is defined with (trained by its TensorFlow authors in 2015), and of torchvision's.
FID_CLASSES, IMAGENET_CLASSES = 1008, 1000
# Both were trained on pictures of this size.
INPUT_SIZE = 299


class FidInception(nn.Module):
    """The network that FID is defined with (Heusel et al. 2017), as torch-fidelity builds it: with the resizing of TensorFlow 1.

    Args:
        network: torch-fidelity's `FeatureExtractorInceptionV3`, for its 2048 pooled features.
    """

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, images: Float[Tensor, "batch 3 height width"]) -> Float[Tensor, "batch 2048"]:
        """Features of images in [-1, 1], which are rounded to 8 bits first, as those in files are."""
        return self.network((images * 127.5 + 128).clamp(0, 255).to(torch.uint8))[0]


class TorchvisionInception(nn.Module):
    """torchvision's Inception-v3, trained on ImageNet anew: near FID's network, but its distances are not FID.

    Args:
        network: torchvision's `inception_v3` without its last layer.
    """

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, images: Float[Tensor, "batch 3 height width"]) -> Float[Tensor, "batch 2048"]:
        """Pooled features of images in [-1, 1]."""
        images = F.interpolate(images, size=(INPUT_SIZE, INPUT_SIZE), mode="bilinear", align_corners=False, antialias=True)
        # Its weights come from TensorFlow and want [-1, 1], unlike torchvision's other networks: with them, torchvision sets
        # `transform_input`, which undoes the normalisation that it documents for all.
        return self.network(images)


def load_inception(path: str | Path) -> FidInception | TorchvisionInception:
    """The network of a local weights file, frozen: which of the two is read from the file.

    Args:
        path: State dict of torch-fidelity's or pytorch-fid's network (``pt_inception-2015-12-05-6726825d.pth``), or of torchvision's
            ``inception_v3``.

    Raises:
        InputError: if the file is missing, holds anything but tensors, or those of another network; or if torch-fidelity is missing.
    """
    found = locate(path)
    state = read_inception(found)
    shape = tuple(state["fc.weight"].shape) if "fc.weight" in state else None
    if shape == (FID_CLASSES, 2048):
        network: FidInception | TorchvisionInception = FidInception(_fidelity_network(state, found))
    elif shape == (IMAGENET_CLASSES, 2048):
        network = TorchvisionInception(_torchvision_network(state, found))
    else:
        raise InputError(
            f"expected Inception-v3 weights with {FID_CLASSES} (FID's) or {IMAGENET_CLASSES} (torchvision's) classes in {found}, "
            f"got a last layer of {shape}; give another file"
        )
    return network.eval().requires_grad_(False)


def read_inception(path: str | Path) -> dict[str, Tensor]:
    """The tensors of a state dict by name, of whatever network.

    Raises:
        InputError: if the file is missing or broken, or holds anything else, or values that are not finite.
    """
    contents = read_pickle(path)
    if not isinstance(contents, Mapping):
        raise InputError(f"expected a state dict of Inception-v3 in {path}, got a {type(contents).__name__}; give another file")
    state = {}
    for name, value in contents.items():
        if not isinstance(name, str) or not isinstance(value, Tensor):
            raise InputError(
                f"expected a state dict of Inception-v3 in {path}, names with tensors, got a {type(name).__name__} with a "
                f"{type(value).__name__}; give another file"
            )
        state[name] = value.detach()
    if not all(bool(torch.isfinite(value).all()) for value in state.values()):
        raise InputError(f"expected finite weights, {path} holds some that are not; fetch it again")
    return state


def _fidelity_network(state: dict[str, Tensor], path: Path) -> nn.Module:
    # Imported here: an optional package, for those who bring these weights.
    try:
        from torch_fidelity.feature_extractor_inceptionv3 import FeatureExtractorInceptionV3
    except ModuleNotFoundError as error:
        raise InputError("FID: expected the package torch-fidelity, found none; pip install 'latentrig[fid]'") from error
    # It reads a file by itself, and would run code in it: it gets one that holds only what was read safely.
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder) / "inception.pth"
        torch.save(state, copy)
        return _built(lambda: FeatureExtractorInceptionV3("inception", ["2048"], str(copy)), path)


def _torchvision_network(state: dict[str, Tensor], path: Path) -> nn.Module:
    from torchvision.models import inception_v3

    def build() -> nn.Module:
        network = inception_v3(weights=None, transform_input=False, aux_logits=False, init_weights=False)
        network.load_state_dict({name: value for name, value in state.items() if not name.startswith("AuxLogits.")})
        network.fc = nn.Identity()
        return network

    return _built(build, path)


def _built(build: Any, path: Path) -> nn.Module:
    try:
        return build()
    except RuntimeError as error:
        reason = " ".join(str(error).split())[:200]
        raise InputError(f"expected the tensors of Inception-v3 in {path}, they differ ({reason}); give another file") from error
