"""StyleGAN2 networks sized by their resolution, with the public implementations' rule for channels."""

from collections.abc import Sequence

from models.stylegan2.discriminator import Discriminator
from models.stylegan2.generator import Generator
from renderers.errors import InputError


def channels_by_resolution(resolution: int, channel_base: int = 32768, channel_max: int = 512) -> list[int]:
    """Feature channels at 4, 8, 16, ... pixels: `channel_base` / pixels, at most `channel_max`.

    With 512 at most, `channel_base` is 16384 times rosinality's channel multiplier: 32768 is the paper's configuration F (multiplier 2),
    16384 ADA's for up to 256 pixels.

    Raises:
        InputError: if the resolution is no power of two from 4, or a resolution is left without channels.
    """
    if resolution < 4 or resolution & (resolution - 1):
        raise InputError(f"expected a resolution of 4, 8, 16, ... pixels, got {resolution}; take the power of two below it")
    if channel_base < resolution or channel_max < 1:
        raise InputError(
            f"expected a channel_base of at least the resolution {resolution} and a positive channel_max, "
            f"got {channel_base} and {channel_max}; raise them"
        )
    sizes = [4 * 2**level for level in range(resolution.bit_length() - 2)]
    return [min(channel_base // size, channel_max) for size in sizes]


class SizedGenerator(Generator):
    """A `Generator` whose channels follow from its resolution; it is saved and loaded as any other.

    Args:
        resolution: Height and width of its images, 4, 8, 16, ... pixels.
        channel_base: Channels times pixels, see `channels_by_resolution`.
        channel_max: Most channels of a resolution.
        z_dim: Size of a latent.
        w_dim: Size of a code.
        mapping_layers: Layers of the mapping network.
        mapping_lr_multiplier: Learning rate of the mapping network relative to the rest.
        blur_kernel: Taps of the low-pass filter of upsampling.
        conv_clamp: Bound on the absolute output of each convolution, or None.
    """

    def __init__(
        self,
        resolution: int = 256,
        channel_base: int = 32768,
        channel_max: int = 512,
        z_dim: int = 512,
        w_dim: int = 512,
        mapping_layers: int = 8,
        mapping_lr_multiplier: float = 0.01,
        blur_kernel: Sequence[float] = (1.0, 3.0, 3.0, 1.0),
        conv_clamp: float | None = None,
    ) -> None:
        super().__init__(
            channels_by_resolution(resolution, channel_base, channel_max),
            z_dim,
            w_dim,
            mapping_layers,
            mapping_lr_multiplier,
            blur_kernel=blur_kernel,
            conv_clamp=conv_clamp,
        )


class SizedDiscriminator(Discriminator):
    """A `Discriminator` whose channels follow from its resolution.

    Args:
        resolution: Height and width of its images, 4, 8, 16, ... pixels.
        channel_base: Channels times pixels, see `channels_by_resolution`.
        channel_max: Most channels of a resolution.
        deviation_group: Samples whose spread the last layers see; None for the whole batch.
        blur_kernel: Taps of the low-pass filter of downsampling.
        conv_clamp: Bound on the absolute output of each convolution, or None.
    """

    def __init__(
        self,
        resolution: int = 256,
        channel_base: int = 32768,
        channel_max: int = 512,
        deviation_group: int | None = 4,
        blur_kernel: Sequence[float] = (1.0, 3.0, 3.0, 1.0),
        conv_clamp: float | None = None,
    ) -> None:
        channels = channels_by_resolution(resolution, channel_base, channel_max)
        super().__init__(channels, deviation_group, blur_kernel, conv_clamp)
