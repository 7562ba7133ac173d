"""Inception-v3 features of pictures, with weights from a local file."""

import tempfile
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from models.weights import locate
from renderers.errors import InputError

# Classes of the network that FID is defined with (trained by its TensorFlow authors in 2015), and of torchvision's.
FID_CLASSES, IMAGENET_CLASSES = 1008, 1000
# Both were trained on pictures of this size.
INPUT_SIZE = 299
# torchvision's documentation of its ImageNet networks, for pictures in [0, 1].
IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_DEVIATION = (0.229, 0.224, 0.225)


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

    mean: Tensor
    deviation: Tensor

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network
        self.register_buffer("mean", torch.tensor(IMAGENET_MEAN)[:, None, None])
        self.register_buffer("deviation", torch.tensor(IMAGENET_DEVIATION)[:, None, None])

    def forward(self, images: Float[Tensor, "batch 3 height width"]) -> Float[Tensor, "batch 2048"]:
        """Pooled features of images in [-1, 1]."""
        images = F.interpolate(images, size=(INPUT_SIZE, INPUT_SIZE), mode="bilinear", align_corners=False, antialias=True)
        return self.network(((images + 1) / 2 - self.mean) / self.deviation)


def load_inception(path: str | Path) -> FidInception | TorchvisionInception:
    """The network of a local weights file, frozen: which of the two is read from the file.

    Args:
        path: State dict of torch-fidelity's or pytorch-fid's network (``pt_inception-2015-12-05-6726825d.pth``), or of torchvision's
            ``inception_v3``.

    Raises:
        InputError: if the file is missing, holds anything but tensors, or those of another network; or if torch-fidelity is missing.
    """
    found = locate(path)
    try:
        state = torch.load(found, map_location="cpu", weights_only=True)
    except Exception as error:  # torch.load raises many kinds of exception for files that are not its own
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise InputError(f"expected Inception-v3 weights in {found}, could not read them ({reason}); give a state dict") from error
    classes = state.get("fc.weight") if isinstance(state, dict) else None
    shape = tuple(classes.shape) if isinstance(classes, Tensor) else None
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
