"""Synthetic portraits: people with hair, eyes, teeth, clothes and backgrounds, drawn from Gaussian latents with their truth."""

from datamodules.portraits.latent import LatentLayout
from datamodules.portraits.sampler import Portraits, PortraitSampler

__all__ = ["LatentLayout", "PortraitSampler", "Portraits"]
