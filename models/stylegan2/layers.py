"""The layers of StyleGAN2 (Karras et al. 2020, "Analyzing and Improving the Image Quality of StyleGAN"), in plain PyTorch.

Numbers that the paper leaves to its official release (gains, filter, epsilon) are those of that release, which the rosinality and
ADA implementations share. Convolutions keep the memory format and data type of their input, so the same layers run in float32 or
under bfloat16 autocast; styles and demodulation are always computed in float32.
"""

import math
from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

# Gain of the leaky ReLU that keeps its output at unit variance, and its slope: official release.
ACTIVATION_GAIN = math.sqrt(2.0)
NEGATIVE_SLOPE = 0.2
# Keeps the demodulation of a dead filter finite: equation 3 of the paper leaves it open, the official release gives it.
DEMODULATION_EPSILON = 1e-8


def low_pass_kernel(taps: Sequence[float]) -> Float[Tensor, "taps taps"]:
    """The separable low-pass filter of `taps`, normalised to sum 1."""
    row = torch.tensor(taps, dtype=torch.float32)
    kernel = torch.outer(row, row)
    return kernel / kernel.sum()


class _Depthwise(torch.autograd.Function):
    """Depthwise filtering whose gradient, of any order, is depthwise filtering again.

    Torch's own second derivative of a grouped convolution also computes the gradient of the (constant) kernel, one channel after the
    other, which makes R1 several times slower.
    """

    @staticmethod
    def forward(ctx: Any, x: Tensor, kernel: Tensor, padding: int) -> Tensor:
        ctx.save_for_backward(kernel)
        ctx.padding = padding
        weight = kernel.to(x.dtype).expand(x.shape[1], 1, *kernel.shape)
        return F.conv2d(x, weight, padding=padding, groups=x.shape[1])

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None, None]:
        (kernel,) = ctx.saved_tensors
        # The adjoint of a correlation is one with the flipped kernel and the complementary padding; symmetric kernels flip to themselves.
        return _Depthwise.apply(gradients[0], kernel, kernel.shape[0] - 1 - ctx.padding), None, None


def depthwise(
    x: Float[Tensor, "batch channels height width"], kernel: Float[Tensor, "taps taps"], padding: int
) -> Float[Tensor, "batch channels out_height out_width"]:
    """Filter every channel by itself with a symmetric kernel, which gets no gradient."""
    return _Depthwise.apply(x, kernel, padding)


def upsample(
    x: Float[Tensor, "batch channels height width"], kernel: Float[Tensor, "taps taps"]
) -> Float[Tensor, "batch channels out_height out_width"]:
    """Double the size of images: zeros between pixels, then the low-pass filter with gain 4."""
    channels = x.shape[1]
    weight = (kernel * 4).to(x.dtype).expand(channels, 1, *kernel.shape)
    # A transposed convolution is exactly zero insertion and filtering; this padding centres a filter of even length.
    return F.conv_transpose2d(x, weight, stride=2, padding=kernel.shape[0] // 2 - 1, groups=channels)


class EqualizedLinear(nn.Module):
    """Linear layer whose weight is scaled at run time by the He constant (Karras et al. 2018, section 4.1).

    Args:
        inputs: Input features.
        outputs: Output features.
        bias_init: Initial bias.
        lr_multiplier: Learning rate relative to the rest of the network (0.01 in the mapping network of StyleGAN2).
        activate: Whether a leaky ReLU of gain sqrt(2) follows.
    """

    def __init__(
        self, inputs: int, outputs: int, bias_init: float = 0.0, lr_multiplier: float = 1.0, activate: bool = False
    ) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(outputs, inputs) / lr_multiplier)
        self.bias = nn.Parameter(torch.full((outputs,), bias_init / lr_multiplier))
        self.weight_gain = lr_multiplier / math.sqrt(inputs)
        self.bias_gain = lr_multiplier
        self.activate = activate

    def forward(self, x: Float[Tensor, "batch inputs"]) -> Float[Tensor, "batch outputs"]:
        """Apply the layer."""
        x = F.linear(x, self.weight * self.weight_gain, self.bias * self.bias_gain)
        return F.leaky_relu(x, NEGATIVE_SLOPE) * ACTIVATION_GAIN if self.activate else x


class StyledConvolution(nn.Module):
    """Modulated 3x3 convolution with demodulation, noise, bias and leaky ReLU; doubles the size when `up`.

    The paper (equations 1 to 3) modulates and normalises the weights of every sample. Scaling the input channels by the style and the
    output channels by the demodulation factor is the same sum, and needs one convolution for the whole batch:
    conv(x, w s d) = d conv(x s, w), with d_o = rsqrt(sum_i s_i^2 sum_k w_oik^2).

    Args:
        inputs: Input channels.
        outputs: Output channels.
        w_dim: Size of a code of W.
        resolution: Size of the output, in pixels.
        up: Whether the input is half that size.
        blur_kernel: Taps of the low-pass filter of upsampling.
        conv_clamp: Bound on the absolute output, or None.
    """

    noise_const: Tensor
    kernel: Tensor

    def __init__(
        self,
        inputs: int,
        outputs: int,
        w_dim: int,
        resolution: int,
        up: bool,
        blur_kernel: Sequence[float],
        conv_clamp: float | None,
    ) -> None:
        super().__init__()
        self.resolution = resolution
        self.up = up
        self.conv_clamp = conv_clamp
        self.affine = EqualizedLinear(w_dim, inputs, bias_init=1.0)
        self.weight = nn.Parameter(torch.randn(outputs, inputs, 3, 3))
        self.bias = nn.Parameter(torch.zeros(outputs))
        self.noise_strength = nn.Parameter(torch.zeros(()))
        self.register_buffer("noise_const", torch.randn(resolution, resolution))
        self.register_buffer("kernel", low_pass_kernel(blur_kernel) * 4, persistent=False)

    def modulation(
        self, code: Float[Tensor, "batch width"]
    ) -> tuple[Float[Tensor, "batch inputs 1 1"], Float[Tensor, "batch outputs 1 1"]]:
        """Style of every input channel and demodulation factor of every output channel."""
        style = self.affine(code)
        energy = style.square() @ self.weight.square().sum(dim=(2, 3)).T
        demodulation = torch.rsqrt(energy + DEMODULATION_EPSILON)
        return style[:, :, None, None], demodulation[:, :, None, None]

    def forward(
        self,
        x: Float[Tensor, "batch inputs in_height in_width"],
        style: Float[Tensor, "batch inputs 1 1"],
        demodulation: Float[Tensor, "batch outputs 1 1"],
        noise: Float[Tensor, "noises 1 height width"] | None,
    ) -> Float[Tensor, "batch outputs height width"]:
        """Apply the layer.

        Args:
            x: Features.
            style: From `modulation`.
            demodulation: From `modulation`.
            noise: One picture of noise for each sample or for all, or None.
        """
        x = x * style.to(x.dtype)
        if self.up:
            x = F.conv_transpose2d(x, self.weight.transpose(0, 1), stride=2)
            # The transposed convolution leaves 2 n + 1 pixels, the filter of even length takes them to 2 n.
            x = depthwise(x, self.kernel, padding=self.kernel.shape[0] // 2 - 1)
        else:
            x = F.conv2d(x, self.weight, padding=1)
        # The gain of the activation is moved through the leaky ReLU into its argument, which saves a pass over the features.
        # What follows it works in place: no backward pass needs the values before.
        x = x * (demodulation * ACTIVATION_GAIN).to(x.dtype)
        x += (self.bias * ACTIVATION_GAIN).to(x.dtype)[:, None, None]
        if noise is not None:
            x += (noise * (self.noise_strength * ACTIVATION_GAIN)).to(x.dtype)
        x = F.leaky_relu(x, NEGATIVE_SLOPE, inplace=True)
        return x if self.conv_clamp is None else x.clamp(-self.conv_clamp, self.conv_clamp)


class ToRGB(nn.Module):
    """Modulated 1x1 convolution to colours, without demodulation (figure 7 of the paper, skip outputs).

    Args:
        inputs: Input channels.
        w_dim: Size of a code of W.
        conv_clamp: Bound on the absolute output, or None.
    """

    def __init__(self, inputs: int, w_dim: int, conv_clamp: float | None) -> None:
        super().__init__()
        self.conv_clamp = conv_clamp
        self.affine = EqualizedLinear(w_dim, inputs, bias_init=1.0)
        self.weight = nn.Parameter(torch.randn(3, inputs))
        self.bias = nn.Parameter(torch.zeros(3))
        self.weight_gain = 1 / math.sqrt(inputs)

    def modulated_weight(self, code: Float[Tensor, "batch width"]) -> Float[Tensor, "batch 3 inputs"]:
        """The weights of every sample."""
        return self.weight * (self.affine(code) * self.weight_gain)[:, None]

    def forward(
        self, x: Float[Tensor, "batch inputs height width"], weight: Float[Tensor, "batch 3 inputs"]
    ) -> Float[Tensor, "batch 3 height width"]:
        """Colours of features, in float32 for every type of features (up to float64), since skip outputs are summed."""
        batch, _, height, width = x.shape
        # Channels last on both sides: otherwise gradients come back in the other layout and every earlier layer pays for it.
        pixels = x.permute(0, 2, 3, 1).reshape(batch, height * width, -1)
        rgb = torch.bmm(pixels, weight.to(x.dtype).transpose(1, 2)).to(weight.dtype) + self.bias
        rgb = rgb.view(batch, height, width, 3).permute(0, 3, 1, 2)
        return rgb if self.conv_clamp is None else rgb.clamp(-self.conv_clamp, self.conv_clamp)


class EqualizedConvolution(nn.Module):
    """Convolution with a run-time He scale, optional filtered downsampling, bias and leaky ReLU, as in the discriminator.

    Args:
        inputs: Input channels.
        outputs: Output channels.
        kernel_size: 1 or 3.
        down: Whether to filter and halve the size.
        bias: Whether a bias is added.
        activate: Whether a leaky ReLU of gain sqrt(2) follows.
        gain: Further factor on the output, also on its bound; 1/sqrt(2) on both branches of a residual block.
        blur_kernel: Taps of the low-pass filter of downsampling.
        conv_clamp: Bound on the absolute output before `gain`, or None.
    """

    kernel: Tensor

    def __init__(
        self,
        inputs: int,
        outputs: int,
        kernel_size: int,
        down: bool = False,
        bias: bool = True,
        activate: bool = True,
        gain: float = 1.0,
        blur_kernel: Sequence[float] = (1.0, 3.0, 3.0, 1.0),
        conv_clamp: float | None = None,
    ) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(outputs, inputs, kernel_size, kernel_size))
        self.bias = nn.Parameter(torch.zeros(outputs)) if bias else None
        self.kernel_size = kernel_size
        self.down = down
        self.activate = activate
        # As in StyledConvolution, gains are moved through the leaky ReLU into weight and bias.
        self.output_gain = gain * (ACTIVATION_GAIN if activate else 1.0)
        self.weight_gain = self.output_gain / math.sqrt(inputs * kernel_size**2)
        self.conv_clamp = None if conv_clamp is None else conv_clamp * gain
        self.register_buffer("kernel", low_pass_kernel(blur_kernel), persistent=False)

    def forward(self, x: Float[Tensor, "batch inputs height width"]) -> Float[Tensor, "batch outputs out_height out_width"]:
        """Apply the layer."""
        weight = self.weight * self.weight_gain
        bias = None if self.bias is None else self.bias * self.output_gain
        half = self.kernel.shape[0] // 2
        if not self.down:
            x = F.conv2d(x, weight, bias, padding=self.kernel_size // 2)
        elif self.kernel_size == 1:
            # Filtering at full size and reading every second pixel: the gradient of a strided depthwise filter is far slower.
            x = F.conv2d(depthwise(x, self.kernel, padding=half - 1), weight, bias, stride=2)
        else:
            x = F.conv2d(depthwise(x, self.kernel, padding=half), weight, bias, stride=2)
        if self.activate:
            x = F.leaky_relu(x, NEGATIVE_SLOPE, inplace=True)
        return x if self.conv_clamp is None else x.clamp(-self.conv_clamp, self.conv_clamp)
