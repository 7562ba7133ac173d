"""``lightning convert``: StyleGAN2 files from one layout to another."""

from pathlib import Path

from commands.warning_filters import warnings_as_lines
from models.stylegan2.conversion import Networks, convert_networks


def convert(
    source: Path,
    target: Path,
    *,
    networks: Networks = "all",
    discriminator: Path | None = None,
    drop_conv_clamp: bool = False,
    overwrite: bool = False,
    half: bool = False,
) -> None:
    """Write a StyleGAN2 file in this project's format, or in rosinality's.

    Args:
        source: generator file: .safetensors of this project, .pkl of StyleGAN2-ADA or the StyleGAN3 repository, rosinality .pt.
        target: file to write; .safetensors for this project's format, .pt for rosinality's (g_ema, latent_avg, and d).
        networks: which to write. all puts the discriminator, where there is one, into a .pt; a .safetensors holds one network, and
            all means the generator there.
        discriminator: file to take the discriminator of a .pt from; the source by default.
        drop_conv_clamp: leave out the bound on convolutions that ADA files have and rosinality's layout has not; what that changes
            is measured and said.
        overwrite: replace an existing file.
        half: write a generator's matrices into a .safetensors as float16, half as large; what that changes is measured and said.
    """
    with warnings_as_lines():
        lines = convert_networks(source, target, networks, discriminator, drop_conv_clamp, overwrite, half)
    for line in lines:
        print(line)
