"""LiftedGAN's trained networks (Shi et al. 2021, appendix B.1): D_V, D_L, M, D_S and D_T.

Tensors have the names of the authors' release within each network, so that its files fill them as they are.
"""

import itertools
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from models.lifted_gan.settings import LiftedSettings
from renderers.errors import InputError

LIGHT_SIZE = 4  # ambient, diffuse, and the light's x and y (section 3.1)
VIEW_SIZE = 6  # rotation and translation (section 3.1)
# Below it a decoder has no size between its first and its last.
_SMALLEST_RESOLUTION = 16
# Layers of every perceptron (appendix B.1), slope of their activation (authors' release; the paper leaves it open).
_LAYERS = 4
_SLOPE = 0.2
# Features of a group of every group normalisation (tables 3 and 4).
_GROUP = 4


class ScaleShift(nn.Module):
    """A learned scale and shift of each feature, the identity at first.

    Args:
        size: Features.
    """

    def __init__(self, size: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(1, size))
        self.bias = nn.Parameter(torch.zeros(1, size))

    def forward(self, x: Float[Tensor, "batch size"]) -> Float[Tensor, "batch size"]:
        """Apply it."""
        return x * self.weight + self.bias


class Perceptron(nn.Module):
    """Four linear layers, the last without activation.

    Args:
        inputs: Features that it reads.
        outputs: Features that it writes.
        width: Hidden width.
        normalise: Whether hidden layers have group normalisation, in groups of four.
        last: What the outputs go through.
    """

    def __init__(
        self, inputs: int, outputs: int, width: int, normalise: bool = False, last: nn.Module | None = None
    ) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        for index in range(_LAYERS - 1):
            layers.append(nn.Linear(inputs if index == 0 else width, width))
            if normalise:
                layers.append(nn.GroupNorm(width // _GROUP, width))
            layers.append(nn.LeakyReLU(_SLOPE))
        layers.append(nn.Linear(width, outputs))
        if last is not None:
            layers.append(last)
        self.mlp = nn.Sequential(*layers)

    def forward(self, x: Float[Tensor, "batch inputs"]) -> Float[Tensor, "batch outputs"]:
        """Apply the layers."""
        return self.mlp(x)


class StyleManipulation(nn.Module):
    """M: a code, a light and a view to the code of the same face in that light and view (section 3.1).

    Args:
        w_dim: Size of a code.
        width: Hidden width.
        normalise: Whether it has group normalisation, and a scale and shift after each embedding.
        residual: Whether the perceptron's output is added to the code; the code stays as it is at first.
    """

    def __init__(self, w_dim: int, width: int, normalise: bool, residual: bool = False) -> None:
        super().__init__()
        self.residual = residual

        def embedding(inputs: int) -> Perceptron:
            return Perceptron(inputs, w_dim, width, normalise, ScaleShift(w_dim) if normalise else None)

        self.embed_style = embedding(w_dim)
        self.embed_light = embedding(LIGHT_SIZE)
        self.embed_view = embedding(VIEW_SIZE)
        self.model = Perceptron(w_dim, w_dim, width, normalise)
        if residual:
            last = self.model.mlp[-1]
            nn.init.zeros_(last.get_parameter("weight"))
            nn.init.zeros_(last.get_parameter("bias"))

    def forward(
        self, codes: Float[Tensor, "batch width"], light: Float[Tensor, "batch 4"], view: Float[Tensor, "batch 6"]
    ) -> Float[Tensor, "batch width"]:
        """Codes of W; light and view in the networks' normalised units."""
        written = self.model(self.embed_style(codes) + self.embed_light(light) + self.embed_view(view))
        return codes + written if self.residual else written


class DepthDecoder(nn.Module):
    """D_S: a code and the generator's last features to raw depth (table 3).

    Args:
        w_dim: Size of a code.
        width: Of its perceptron.
        channels: At 4, 8, ... pixels up to half the full size.
        feature_channels: Of the generator's last features; 32 in table 3, 16 in the release's slim generator.
    """

    def __init__(self, w_dim: int, width: int, channels: list[int], feature_channels: int) -> None:
        super().__init__()
        self.mlp = _code_layers(w_dim, width)
        layers: list[nn.Module] = [nn.ConvTranspose2d(width, channels[0], 4, bias=False), nn.ReLU()]
        layers += [nn.Conv2d(channels[0], channels[0], 3, padding=1, bias=False), nn.ReLU()]
        for inputs, outputs in itertools.pairwise(channels):
            layers += _doubling(inputs, outputs)
            layers += _convolution(outputs, 3)
        layers.append(nn.Upsample(scale_factor=2, mode="nearest"))
        self.network = nn.Sequential(*layers)
        self.inject = nn.Conv2d(feature_channels, channels[-1], 1, bias=False)
        last = nn.Conv2d(channels[-1], 1, 5, padding=2)
        self.head = nn.Sequential(*_convolution(channels[-1], 3), *_convolution(channels[-1], 5), last)

    def forward(
        self, codes: Float[Tensor, "batch width"], features: Float[Tensor, "batch channels size size"]
    ) -> Float[Tensor, "batch 1 size size"]:
        """Raw depth, unbounded."""
        return self.head(self.network(self.mlp(codes)[:, :, None, None]) + self.inject(features))


class TransformationDecoder(nn.Module):
    """D_T: a code to the raw transformation map (table 4).

    Args:
        w_dim: Size of a code.
        width: Of its perceptron.
        channels: At 4, 8, ... pixels up to half the full size.
    """

    def __init__(self, w_dim: int, width: int, channels: list[int]) -> None:
        super().__init__()
        self.mlp = _code_layers(w_dim, width)
        layers: list[nn.Module] = [nn.ConvTranspose2d(width, channels[0], 4, bias=False), nn.ReLU()]
        for inputs, outputs in itertools.pairwise(channels):
            layers += _doubling(inputs, outputs)
        layers.append(nn.Upsample(scale_factor=2, mode="nearest"))
        last = nn.Conv2d(channels[-1], 1, 5, padding=2, bias=False)
        self.network = nn.Sequential(*layers, *_convolution(channels[-1], 3), last)

    def forward(self, codes: Float[Tensor, "batch width"]) -> Float[Tensor, "batch 1 size size"]:
        """The raw map, unbounded."""
        return self.network(self.mlp(codes)[:, :, None, None])


class LiftedNetworks(nn.Module):
    """All that is trained of a lifted generator, for one size of picture and of code.

    Args:
        resolution: Height and width of pictures, a power of two from 16.
        w_dim: Size of a code of W.
        feature_channels: Channels of the generator's last features.
        settings: Sizes and choices.

    Raises:
        InputError: for other sizes.
    """

    def __init__(self, resolution: int, w_dim: int, feature_channels: int, settings: LiftedSettings) -> None:
        super().__init__()
        if resolution < _SMALLEST_RESOLUTION or resolution & (resolution - 1):
            raise InputError(
                f"expected pictures of {_SMALLEST_RESOLUTION}, 32, 64, ... pixels to lift, got {resolution}; use another generator"
            )
        if min(w_dim, feature_channels) < 1:
            raise InputError(
                f"expected positive w_dim and feature_channels, got {w_dim} and {feature_channels}; raise them"
            )
        if max(settings.blur_radius, 2 * settings.border_columns, 2 * settings.border_rows) >= resolution:
            raise InputError(
                f"expected a border and a blur_radius that pictures of {resolution} pixels have room for, got {settings.border_columns} "
                f"columns, {settings.border_rows} rows and {settings.blur_radius}; lower them"
            )
        self.resolution, self.w_dim, self.feature_channels = resolution, w_dim, feature_channels
        self.settings = settings
        channels = decoder_channels(resolution, settings)
        width = settings.mlp_width
        self.view = Perceptron(w_dim, VIEW_SIZE, width, last=nn.Tanh())
        self.light = Perceptron(w_dim, LIGHT_SIZE, width, last=nn.Tanh())
        self.manipulation = StyleManipulation(
            w_dim, width, settings.normalise_manipulation, settings.residual_manipulation
        )
        self.depth = DepthDecoder(w_dim, width, channels, feature_channels)
        self.transformation = TransformationDecoder(w_dim, settings.map_mlp_width, channels)

    @property
    def config(self) -> dict[str, Any]:
        """The arguments these networks were built with, as plain values."""
        return {
            "resolution": self.resolution,
            "w_dim": self.w_dim,
            "feature_channels": self.feature_channels,
            "settings": self.settings.to_config(),
        }


def decoder_channels(resolution: int, settings: LiftedSettings) -> list[int]:
    """Channels of a decoder at 4, 8, ... pixels up to half of `resolution`, a power of two: those of tables 3 and 4 at 256 pixels.

    The paper gives no other size. Here the last has `base_channels` at any resolution, which injected features and memory follow.
    """
    sizes = resolution.bit_length() - 3
    return [min(settings.base_channels * 2**halvings, settings.max_channels) for halvings in reversed(range(sizes))]


def _code_layers(w_dim: int, width: int) -> nn.Sequential:
    # Unlike `Perceptron` it ends in an activation, in the release.
    layers: list[nn.Module] = []
    for index in range(_LAYERS):
        layers += [nn.Linear(w_dim if index == 0 else width, width), nn.LeakyReLU(_SLOPE)]
    return nn.Sequential(*layers)


def _doubling(inputs: int, outputs: int) -> list[nn.Module]:
    deconvolution = nn.ConvTranspose2d(inputs, outputs, 4, stride=2, padding=1, bias=False)
    return [deconvolution, nn.GroupNorm(outputs // _GROUP, outputs), nn.ReLU()]


def _convolution(channels: int, kernel_size: int) -> list[nn.Module]:
    convolution = nn.Conv2d(channels, channels, kernel_size, padding=kernel_size // 2, bias=False)
    return [convolution, nn.GroupNorm(channels // _GROUP, channels), nn.ReLU()]
