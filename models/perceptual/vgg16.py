"""Feature maps of VGG-16 trained on ImageNet, from a local weights file or from torchvision's download."""

import re
from collections.abc import Mapping, Sequence
from pathlib import Path

import torch
from jaxtyping import Float
from torch import Tensor, nn

from models.observers.cropping import resize_square
from models.perceptual.features import FeatureExtractor
from models.safe_pickle import read_pickle
from models.weights import fill
from renderers.errors import InputError, reason_of

# Simonyan and Zisserman 2015, table 1, column D: channels of the convolutions of each block; blocks end in max pooling.
VGG16_BLOCKS = ((64, 64), (128, 128), (256, 256, 256), (512, 512, 512), (512, 512, 512))
# Abdal et al. 2019 (Image2StyleGAN), section 4.1, and PIE (Tewari et al. 2020), section 4.1.
IMAGE2STYLEGAN_LAYERS = ("conv1_1", "conv1_2", "conv3_2", "conv4_2")
# LiftedGAN (Shi et al. 2021), authors' code; to be compared with features of unit length (`PerceptualLoss`).
LIFTEDGAN_LAYERS = ("relu2_2", "relu3_3", "relu4_3")
# Abdal et al. 2019, section 4.1: pictures are resized to 256 x 256 for the features.
WORKING_SIZE = 256
# torchvision, VGG16_Weights.IMAGENET1K_V1: statistics of RGB in [0, 1].
IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)

# Of torchvision (`features.0.weight`) and of networks that keep its numbers in slices, as LPIPS's (`net.slice1.0.weight`).
_KEY = re.compile(r"(?:^|\.)(?:features|slice\d)\.(\d+)\.(weight|bias)$")


def _all_layers() -> list[tuple[str, nn.Module]]:
    """Names and modules in order; the place in the list is torchvision's number in `features`."""
    layers: list[tuple[str, nn.Module]] = []
    previous = 3
    for block, widths in enumerate(VGG16_BLOCKS, start=1):
        for index, width in enumerate(widths, start=1):
            # Skipping the initialisation: weights are filled in.
            convolution = nn.utils.skip_init(nn.Conv2d, previous, width, kernel_size=3, padding=1)
            layers += [(f"conv{block}_{index}", convolution), (f"relu{block}_{index}", nn.ReLU())]
            previous = width
        layers.append((f"pool{block}", nn.MaxPool2d(2)))
    return layers


class Vgg16Features(FeatureExtractor):
    """Layers of VGG-16, up to the deepest that is asked for.

    Pictures larger than `working_size` are reduced to it (antialiased), so that what the features see does not hang on
    the resolution; smaller ones are read as they are.

    Args:
        state: the 13 convolutions by torchvision's names, `features.0.weight` to `features.28.bias`.
        name: where the weights come from.
        layers: `convB_I`, before its ReLU, or `reluB_I` after it, or `poolB`. Papers that say "output of conv1_1" leave
            open which; we read it as before the ReLU.
        working_size: side in pixels above which pictures are reduced; null never reduces.
    Raises: `InputError` for layers or tensors that are not VGG-16's.
    """

    mean: Tensor
    std: Tensor

    def __init__(
        self,
        state: Mapping[str, Tensor],
        name: str,
        layers: Sequence[str] = IMAGE2STYLEGAN_LAYERS,
        working_size: int | None = WORKING_SIZE,
    ) -> None:
        super().__init__()
        known = _all_layers()
        names = [known_name for known_name, _ in known]
        unknown = [layer for layer in layers if layer not in names]
        if unknown or not layers:
            raise InputError(
                f"expected layers of VGG-16 ({names[0]}, {names[1]} ... {names[-1]}), got {unknown or 'none'}; name those"
            )
        self.name = f"VGG-16 ({name})"
        self.layers = tuple(layers)
        self.working_size = working_size
        # All of them at first: a file of another network then does not match, whatever layers are wanted.
        self.features = nn.ModuleList([module for _, module in known])
        fill(self, state, name)
        self._names = names[: max(names.index(layer) for layer in layers) + 1]
        self.features = self.features[: len(self._names)]
        self.register_buffer("mean", torch.tensor(IMAGENET_MEAN).view(3, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(IMAGENET_STD).view(3, 1, 1), persistent=False)
        self.eval().requires_grad_(False)

    def forward(self, images: Float[Tensor, "batch 3 size size"]) -> list[Tensor]:
        """Maps of the layers, in the order they were named."""
        size = images.shape[-1] if self.working_size is None else min(images.shape[-1], self.working_size)
        features = ((resize_square(images, size) + 1) / 2 - self.mean) / self.std
        maps = {}
        for name, layer in zip(self._names, self.features, strict=True):
            features = layer(features)
            maps[name] = features
        return [maps[layer] for layer in self.layers]


def read_vgg16(path: str | Path) -> dict[str, Tensor]:
    """The convolutions of a VGG-16 weights file by torchvision's names, float32; its classifier is left out.

    Args:
        path: a state dict: torchvision's (`vgg16-397923af.pth`), its convolutions alone, or one whose names end as LPIPS's.
    Raises: `InputError` if the file is missing, broken, or holds no such convolutions.
    """
    state = read_pickle(path)
    found = {}
    if isinstance(state, Mapping):
        for key, value in state.items():
            match = _KEY.search(str(key))
            if match and isinstance(value, Tensor):
                found[f"features.{match[1]}.{match[2]}"] = value.float()
    if not found:
        raise InputError(
            f"expected a state dict of VGG-16 in {path}, found no convolution of it; give torchvision's vgg16-397923af.pth"
        )
    return found


def download_vgg16() -> dict[str, Tensor]:
    """The convolutions of torchvision's ImageNet weights (528 MB, fetched once and kept in torch's cache).

    Raises: `InputError` if they cannot be fetched.
    """
    from torchvision.models import VGG16_Weights

    try:
        state = VGG16_Weights.IMAGENET1K_V1.get_state_dict(progress=False, check_hash=True, weights_only=True)
    # Without a connection, or with a broken file in the cache: as many kinds of error.
    except Exception as error:
        raise InputError(
            f"expected torchvision to download VGG-16, it could not ({reason_of(error)}); fetch vgg16-397923af.pth on another machine "
            "and give its path, or choose 'observers' for the features of the shipped networks"
        ) from error
    return {name: value for name, value in state.items() if name.startswith("features.")}
