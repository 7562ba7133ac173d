"""StyleGAN2: generator, discriminator, codes and checkpoints."""

from models.stylegan2.discriminator import Discriminator
from models.stylegan2.generator import Generator
from models.stylegan2.loading import describe_generator, load_discriminator, load_generator

__all__ = ["Discriminator", "Generator", "describe_generator", "load_discriminator", "load_generator"]
