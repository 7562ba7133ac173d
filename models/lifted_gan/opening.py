"""A lifted generator from its file, whoever wrote it."""

from pathlib import Path

from models.lifted_gan.model import LiftedGAN
from models.lifted_gan.official import load_official
from models.stylegan2.loading import load_generator
from models.weights import is_safetensors, locate


def open_lifted(lifted: str | Path, generator: str | Path) -> LiftedGAN:
    """A lifted generator, frozen and in evaluation mode.

    Args:
        lifted: Weights that `LiftedGAN.save` wrote, or a `.pth` of the authors.
        generator: The StyleGAN2 that it was trained for, of any format that `load_generator` reads.

    Raises:
        InputError: as `LiftedGAN.load` and `load_official`; a StyleGAN2 given as the lifted generator among them.
    """
    if is_safetensors(locate(lifted)):
        return LiftedGAN.load(lifted, load_generator(generator))
    return load_official(lifted, generator)
