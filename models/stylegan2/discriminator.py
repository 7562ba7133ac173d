"""The residual StyleGAN2 discriminator (Karras et al. 2020, figure 7) with minibatch standard deviation."""

import math
from collections.abc import Sequence
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from models.stylegan2.generator import check_architecture, normalised_taps
from models.stylegan2.layers import EqualizedConvolution, EqualizedLinear
from renderers.errors import InputError

# Keeps the gradient of the standard deviation of equal features finite; both public implementations use this value.
DEVIATION_EPSILON = 1e-8


def minibatch_deviation(x: Float[Tensor, "batch channels height width"], group: int | None) -> Float[Tensor, "batch 1 height width"]:
    """Mean standard deviation of features within groups of samples, as one feature (Karras et al. 2018, section 3).

    Sample i belongs to the group of all samples congruent to i modulo batch / group, as in both public implementations.

    Raises:
        InputError: if the batch is no multiple of the group, which is `group`, or the batch where that is smaller or `group` is None.
    """
    batch, _, height, width = x.shape
    group = batch if group is None else min(group, batch)
    if batch % group:
        raise InputError(f"expected a batch that is a multiple of {group} for the minibatch deviation, got {batch}; change it")
    # Written out: torch's own variance is slow along a leading dimension this short.
    members = x.unflatten(0, (group, -1)).to(torch.promote_types(x.dtype, torch.float32)).unbind(0)
    mean = torch.stack(members).mean(dim=0)
    variance = torch.stack([(member - mean).square() for member in members]).mean(dim=0)
    deviation = (variance + DEVIATION_EPSILON).sqrt().mean(dim=(1, 2, 3))
    return deviation.repeat(group)[:, None, None, None].expand(-1, 1, height, width).to(x.dtype)


class ResidualBlock(nn.Module):
    """Two convolutions that halve the size, beside a filtered 1x1 skip.

    Args:
        inputs: Input channels.
        outputs: Output channels.
        blur_kernel: Taps of the low-pass filter.
        conv_clamp: Bound on the absolute output of each convolution, or None.
    """

    def __init__(self, inputs: int, outputs: int, blur_kernel: Sequence[float], conv_clamp: float | None) -> None:
        super().__init__()
        # The sum of two unit-variance branches is brought back to unit variance.
        gain = math.sqrt(0.5)
        self.conv0 = EqualizedConvolution(inputs, inputs, 3, conv_clamp=conv_clamp)
        self.conv1 = EqualizedConvolution(
            inputs, outputs, 3, down=True, gain=gain, blur_kernel=blur_kernel, conv_clamp=conv_clamp
        )
        self.skip = EqualizedConvolution(
            inputs, outputs, 1, down=True, bias=False, activate=False, gain=gain, blur_kernel=blur_kernel, conv_clamp=None
        )

    def forward(self, x: Float[Tensor, "batch inputs height width"]) -> Float[Tensor, "batch outputs half_height half_width"]:
        """Apply the block."""
        return self.conv1(self.conv0(x)) + self.skip(x)


class Discriminator(nn.Module):
    """StyleGAN2 discriminator: images to logits that they are real.

    Args:
        channels: Feature channels at 4, 8, 16, ... pixels, as in `Generator`.
        deviation_group: Size of the groups of the minibatch deviation (4 in the official release); None for the whole batch.
        blur_kernel: Taps of the low-pass filter of downsampling, symmetric and of even number.
        conv_clamp: Bound on the absolute output of each convolution (256 in ADA files), or None.
    """

    def __init__(
        self,
        channels: Sequence[int],
        deviation_group: int | None = 4,
        blur_kernel: Sequence[float] = (1.0, 3.0, 3.0, 1.0),
        conv_clamp: float | None = None,
    ) -> None:
        super().__init__()
        check_architecture(channels, blur_kernel, conv_clamp)
        whole = isinstance(deviation_group, int) and not isinstance(deviation_group, bool)
        if deviation_group is not None and not (whole and deviation_group > 0):
            raise InputError(
                f"expected a positive deviation_group, or null for the whole batch, got {deviation_group!r}; 4 is the usual one"
            )
        self.channels = tuple(channels)
        self.deviation_group = deviation_group
        self.blur_kernel = normalised_taps(blur_kernel)
        self.conv_clamp = conv_clamp
        self.resolution = 4 * 2 ** (len(channels) - 1)

        self.from_rgb = EqualizedConvolution(3, channels[-1], 1, conv_clamp=conv_clamp)
        self.blocks = nn.ModuleList(
            ResidualBlock(channels[level], channels[level - 1], self.blur_kernel, conv_clamp)
            for level in range(len(channels) - 1, 0, -1)
        )
        self.convolution = EqualizedConvolution(channels[0] + 1, channels[0], 3, conv_clamp=conv_clamp)
        self.hidden = EqualizedLinear(channels[0] * 16, channels[0], activate=True)
        self.output = EqualizedLinear(channels[0], 1)

    @property
    def config(self) -> dict[str, Any]:
        """The arguments this discriminator was built with, as plain values."""
        return {
            "channels": list(self.channels),
            "deviation_group": self.deviation_group,
            "blur_kernel": list(self.blur_kernel),
            "conv_clamp": self.conv_clamp,
        }

    def forward(self, images: Float[Tensor, "batch 3 resolution resolution"]) -> Float[Tensor, " batch"]:
        """Logits of images, RGB in [-1, 1].

        Raises:
            InputError: if images have another size.
        """
        if images.shape[1:] != (3, self.resolution, self.resolution):
            raise InputError(
                f"expected images (batch, 3, {self.resolution}, {self.resolution}) for this discriminator, "
                f"got {tuple(images.shape)}; resize them"
            )
        x = self.from_rgb(images.contiguous(memory_format=torch.channels_last))
        for block in self.blocks:
            x = block(x)
        x = self.convolution(torch.cat([x, minibatch_deviation(x, self.deviation_group)], dim=1))
        with torch.autocast(x.device.type, enabled=False):
            # The last layers are small: full precision costs nothing and keeps the logits' differences.
            return self.output(self.hidden(x.flatten(1).to(self.output.weight.dtype))).squeeze(1)
