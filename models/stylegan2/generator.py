"""The StyleGAN2 generator: mapping network and skip-output synthesis network (Karras et al. 2020, figure 7).

One class covers what trained checkpoints come with: the rosinality and the ADA implementations compute the same function up to the
scale that weights are stored with (see `models.stylegan2.loading`) and the options of the constructor.
"""

import math
from collections.abc import Sequence
from typing import Any, Literal

import torch
from jaxtyping import Float
from torch import Tensor, nn

from models.stylegan2.latents import truncate
from models.stylegan2.layers import EqualizedLinear, StyledConvolution, ToRGB, low_pass_kernel, upsample
from renderers.errors import InputError

NoiseMode = Literal["const", "random", "none"]

# Keeps the normalisation of a zero latent finite; both public implementations use this value.
NORMALISATION_EPSILON = 1e-8
# Far above what is trained; a damaged or hostile file with more would ask for more memory than there is.
MAX_RESOLUTION = 8192
# Networks have 2 to 12; the kernel has this many squared.
_MOST_TAPS = 32


def check_architecture(channels: Sequence[int], blur_kernel: Sequence[float], conv_clamp: float | None) -> None:
    """Refuse sizes and options that the layers cannot be built with.

    Args:
        channels: Feature channels at 4, 8, 16, ... pixels.
        blur_kernel: Taps of the low-pass filter.
        conv_clamp: Bound on the outputs of convolutions, or None.

    Raises:
        InputError: saying which and what is possible.
    """
    if not channels or min(channels) < 1:
        raise InputError(f"expected positive channels for each resolution from 4 pixels up, got {list(channels)}; list at least one")
    if len(channels) > MAX_RESOLUTION.bit_length() - 2:
        raise InputError(f"expected images of at most {MAX_RESOLUTION} px, got {len(channels)} resolutions from 4 px up; list fewer")
    taps = list(blur_kernel)
    if len(taps) % 2 or not 0 < len(taps) <= _MOST_TAPS or taps != taps[::-1]:
        raise InputError(
            f"expected a symmetric blur kernel of even length up to {_MOST_TAPS}, got {taps[:_MOST_TAPS]}; the usual one is [1, 3, 3, 1]"
        )
    with torch.device("cpu"):
        # Networks are also built on the meta device, where no value can be looked at.
        sound = all(is_number(tap) for tap in taps) and bool(low_pass_kernel(taps).isfinite().all())
    if not sound:
        raise InputError(f"expected a blur kernel of finite numbers with a sum, got {taps}; the usual one is [1, 3, 3, 1]")
    if conv_clamp is not None and not (is_number(conv_clamp) and conv_clamp > 0):
        raise InputError(f"expected a positive number or null as conv_clamp, got {conv_clamp!r}; 256 is that of StyleGAN2-ADA")


def is_number(value: Any) -> bool:
    """Whether a stored option is a finite number; switches are none."""
    # Whole numbers that no floating-point number holds would stop math.isfinite.
    return isinstance(value, (int, float)) and not isinstance(value, bool) and abs(value) < math.inf


def normalised_taps(blur_kernel: Sequence[float]) -> tuple[float, ...]:
    """Taps of the same filter whose sum is positive and whose smallest, apart from zeros, is 1: filters are normalised, so gains differ
    between files of one network."""
    smallest = math.copysign(min(abs(tap) for tap in blur_kernel if tap != 0), sum(blur_kernel))
    return tuple(round(tap / smallest, 6) for tap in blur_kernel)


class Mapping(nn.Module):
    """The mapping network z -> w.

    Args:
        z_dim: Size of a latent.
        w_dim: Size of a code.
        layers: Number of layers.
        lr_multiplier: Learning rate relative to the synthesis network.
        normalize: Whether latents are divided by their root mean square first.
    """

    def __init__(self, z_dim: int, w_dim: int, layers: int, lr_multiplier: float, normalize: bool) -> None:
        super().__init__()
        sizes = [z_dim] + [w_dim] * layers
        self.layers = nn.ModuleList(
            EqualizedLinear(a, b, lr_multiplier=lr_multiplier, activate=True)
            for a, b in zip(sizes[:-1], sizes[1:], strict=True)
        )
        self.normalize = normalize

    @property
    def first(self) -> EqualizedLinear:
        """The layer that reads latents."""
        layer = self.layers[0]
        assert isinstance(layer, EqualizedLinear)
        return layer

    def forward(self, z: Float[Tensor, "batch z_dim"]) -> Float[Tensor, "batch width"]:
        """Codes of W of standard normal latents, in full precision also under autocast.

        Raises:
            InputError: if latents have another size.
        """
        inputs = self.first.weight.shape[1]
        if z.shape[-1] != inputs:
            raise InputError(f"expected latents of {inputs} numbers for this generator, got {tuple(z.shape)}; match z_dim")
        with torch.autocast(z.device.type, enabled=False):
            if self.normalize:
                z = z * torch.rsqrt(z.square().mean(dim=1, keepdim=True) + NORMALISATION_EPSILON)
            for layer in self.layers:
                z = layer(z)
            return z


class Generator(nn.Module):
    """StyleGAN2 generator, from latents z over codes w and W+ to images.

    Args:
        channels: Feature channels at 4, 8, 16, ... pixels; their number gives the size of the image, 4 * 2**(n - 1).
        z_dim: Size of a latent z.
        w_dim: Size of a code of W.
        mapping_layers: Layers of the mapping network.
        mapping_lr_multiplier: Learning rate of the mapping network relative to the rest (0.01 in the paper).
        normalize_z: Whether latents are divided by their root mean square first.
        blur_kernel: Taps of the low-pass filter of upsampling, symmetric and of even number.
        conv_clamp: Bound on the absolute output of each convolution (256 in ADA files), or None.

    Attributes:
        mean_w: (w_dim), the mean of W, towards which codes are truncated.
        std_w: (w_dim), the standard deviation of W in each direction of the code.
    """

    mean_w: Tensor
    std_w: Tensor
    kernel: Tensor

    def __init__(
        self,
        channels: Sequence[int],
        z_dim: int = 512,
        w_dim: int = 512,
        mapping_layers: int = 8,
        mapping_lr_multiplier: float = 0.01,
        normalize_z: bool = True,
        blur_kernel: Sequence[float] = (1.0, 3.0, 3.0, 1.0),
        conv_clamp: float | None = None,
    ) -> None:
        super().__init__()
        check_architecture(channels, blur_kernel, conv_clamp)
        if min(z_dim, w_dim, mapping_layers) < 1:
            raise InputError(f"expected positive sizes, got z_dim {z_dim}, w_dim {w_dim}, mapping_layers {mapping_layers}; raise them")
        if not (is_number(mapping_lr_multiplier) and mapping_lr_multiplier > 0):
            raise InputError(f"expected a positive mapping_lr_multiplier, got {mapping_lr_multiplier!r}; 0.01 is the paper's")
        if not isinstance(normalize_z, bool):
            raise InputError(f"expected true or false as normalize_z, got {normalize_z!r}; true is the paper's")
        self.channels = tuple(channels)
        self.z_dim = z_dim
        self.w_dim = w_dim
        self.mapping_layers = mapping_layers
        self.mapping_lr_multiplier = mapping_lr_multiplier
        self.normalize_z = normalize_z
        self.blur_kernel = normalised_taps(blur_kernel)
        self.conv_clamp = conv_clamp
        self.resolution = 4 * 2 ** (len(channels) - 1)
        self.num_layers = 2 * len(channels)

        self.mapping = Mapping(z_dim, w_dim, mapping_layers, mapping_lr_multiplier, normalize_z)
        self.const = nn.Parameter(torch.randn(channels[0], 4, 4))
        self.convolutions = nn.ModuleList()
        self.to_rgb = nn.ModuleList()
        for level, outputs in enumerate(channels):
            size = 4 * 2**level
            if level > 0:
                self.convolutions.append(
                    StyledConvolution(channels[level - 1], outputs, w_dim, size, True, self.blur_kernel, conv_clamp)
                )
            self.convolutions.append(StyledConvolution(outputs, outputs, w_dim, size, False, self.blur_kernel, conv_clamp))
            self.to_rgb.append(ToRGB(outputs, w_dim, conv_clamp))
        self.register_buffer("mean_w", torch.zeros(w_dim))
        self.register_buffer("std_w", torch.ones(w_dim))
        self.register_buffer("kernel", low_pass_kernel(self.blur_kernel), persistent=False)

    @property
    def config(self) -> dict[str, Any]:
        """The arguments this generator was built with, as plain values."""
        return {
            "channels": list(self.channels),
            "z_dim": self.z_dim,
            "w_dim": self.w_dim,
            "mapping_layers": self.mapping_layers,
            "mapping_lr_multiplier": self.mapping_lr_multiplier,
            "normalize_z": self.normalize_z,
            "blur_kernel": list(self.blur_kernel),
            "conv_clamp": self.conv_clamp,
        }

    def broadcast(self, code: Float[Tensor, "batch width"]) -> Float[Tensor, "batch layers width"]:
        """The W+ code that gives every layer the same code of W."""
        return code[:, None].expand(-1, self.num_layers, -1)

    def truncate(
        self, codes: Float[Tensor, "*batch width"], strength: float, layers: int | None = None
    ) -> Float[Tensor, "*batch width"]:
        """Pull codes of W, or of W+, towards the mean code: see `models.stylegan2.latents.truncate`."""
        return truncate(codes, self.mean_w, strength, layers)

    def synthesis(
        self,
        codes: Float[Tensor, "batch layers width"],
        noise: NoiseMode = "const",
        rng: torch.Generator | None = None,
    ) -> Float[Tensor, "batch 3 resolution resolution"]:
        """Images of W+ codes, RGB about [-1, 1] (not clamped).

        Args:
            codes: One code for each layer.
            noise: The stored pictures of noise (the same image for the same code), fresh ones for each sample, or none.
            rng: Source of fresh noise; torch's own by default.

        Raises:
            InputError: if codes have another shape.
        """
        if codes.shape[1:] != (self.num_layers, self.w_dim):
            raise InputError(
                f"expected codes (batch, {self.num_layers}, {self.w_dim}) for this generator, got {tuple(codes.shape)}; "
                "use codes of the same generator"
            )
        convolutions = [layer for layer in self.convolutions if isinstance(layer, StyledConvolution)]
        to_rgb = [layer for layer in self.to_rgb if isinstance(layer, ToRGB)]
        with torch.autocast(codes.device.type, enabled=False):
            # Level l of the pyramid ends at layer 2 l: its colours read the code that the first convolution above reads too.
            modulations = [layer.modulation(codes[:, index]) for index, layer in enumerate(convolutions)]
            rgb_weights = [layer.modulated_weight(codes[:, 2 * level + 1]) for level, layer in enumerate(to_rgb)]
        x = self.const.to(codes.dtype).expand(len(codes), -1, -1, -1)
        if torch.is_autocast_enabled(codes.device.type):
            x = x.to(torch.get_autocast_dtype(codes.device.type))
        x = x.contiguous(memory_format=torch.channels_last)
        image: Tensor | None = None
        for index, (layer, modulation) in enumerate(zip(convolutions, modulations, strict=True)):
            x = layer(x, *modulation, self._noise(layer, x, noise, rng))
            if index % 2 == 0:
                level = index // 2
                rgb = to_rgb[level](x, rgb_weights[level])
                image = rgb if image is None else upsample(image, self.kernel) + rgb
        assert image is not None  # check_architecture asks for one level at least
        return image

    def _noise(
        self, layer: StyledConvolution, x: Tensor, mode: NoiseMode, rng: torch.Generator | None
    ) -> Float[Tensor, "noises 1 height width"] | None:
        if mode == "none":
            return None
        if mode == "const":
            return layer.noise_const[None, None]
        size = (len(x), 1, layer.resolution, layer.resolution)
        return torch.randn(size, generator=rng, device=x.device, dtype=layer.noise_const.dtype)

    def forward(
        self, z: Float[Tensor, "batch z_dim"], truncation: float = 1.0, noise: NoiseMode = "const"
    ) -> Float[Tensor, "batch 3 resolution resolution"]:
        """Images of latents, one code for all layers."""
        return self.synthesis(self.broadcast(self.truncate(self.mapping(z), truncation)), noise)
