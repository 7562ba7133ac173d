"""The losses that StyleGAN2 is trained with (Karras et al. 2020), and the supervised one of a warm start on rendered portraits."""

import math

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from models.stylegan2.discriminator import Discriminator
from models.stylegan2.generator import Generator


def generator_loss(fake_logits: Float[Tensor, " batch"]) -> Float[Tensor, ""]:
    """Non-saturating logistic loss of the generator: mean of -log sigmoid(D(G(z)))."""
    return F.softplus(-fake_logits).mean()


def discriminator_loss(real_logits: Float[Tensor, " real"], fake_logits: Float[Tensor, " fake"]) -> Float[Tensor, ""]:
    """Logistic loss of the discriminator: mean of -log sigmoid(D(x)) plus mean of -log(1 - sigmoid(D(G(z))))."""
    return F.softplus(-real_logits).mean() + F.softplus(fake_logits).mean()


def r1_penalty(discriminator: Discriminator, images: Float[Tensor, "batch 3 height width"]) -> Float[Tensor, ""]:
    """Mean squared norm of the gradient of logits with respect to real images (Mescheder et al. 2018, R1), without gamma / 2.

    Runs in the precision of the weights also under autocast, since it is differentiated once more.
    """
    images = images.detach().requires_grad_()
    with torch.autocast(images.device.type, enabled=False):
        logits = discriminator(images)
        (gradient,) = torch.autograd.grad(logits.sum(), images, create_graph=True)
    return gradient.square().sum(dim=(1, 2, 3)).mean()


def path_lengths(
    generator: Generator, codes: Float[Tensor, "batch layers width"], rng: torch.Generator | None = None
) -> Float[Tensor, " batch"]:
    """Norms of J_w^T y for random images y: equation 4 and appendix B of the paper, averaged over layers.

    Runs in the precision of the weights also under autocast, since it is differentiated once more.

    Args:
        generator: The generator.
        codes: W+ codes that need gradients, or will be made to.
        rng: Source of y.
    """
    codes = codes if codes.requires_grad else codes.detach().requires_grad_()
    with torch.autocast(codes.device.type, enabled=False):
        images = generator.synthesis(codes, noise="const")
        direction = torch.randn(images.shape, generator=rng, device=images.device, dtype=images.dtype)
        # Dividing by the root of the number of pixels makes the lengths independent of the resolution.
        projected = (images * direction).sum() / math.sqrt(images.shape[2] * images.shape[3])
        (gradient,) = torch.autograd.grad(projected, codes, create_graph=True)
    return gradient.square().sum(dim=2).mean(dim=1).sqrt()


class PathLengthPenalty(nn.Module):
    """Squared deviation of path lengths from their running mean (equation 4 of the paper).

    Args:
        decay: Weight of a new batch in the running mean (0.01 in the paper's release).
    """

    mean_length: Tensor

    def __init__(self, decay: float = 0.01) -> None:
        super().__init__()
        self.decay = decay
        self.register_buffer("mean_length", torch.zeros(()))

    def forward(self, lengths: Float[Tensor, " batch"]) -> Float[Tensor, ""]:
        """Penalty of a batch, which also enters the running mean."""
        mean = self.mean_length.lerp(lengths.detach().mean(), self.decay)
        self.mean_length.copy_(mean)
        return (lengths - mean).square().mean()


def reconstruction_loss(
    images: Float[Tensor, "batch 3 height width"], targets: Float[Tensor, "batch 3 height width"], detail: float = 1.0
) -> Float[Tensor, ""]:
    """Distance of images from the portraits they should show: L1 at full, half and quarter size, and L1 of Laplacians.

    The pooled terms give a gradient to shapes that are a few pixels off, the Laplacian term keeps edges that L1 alone blurs. The weights
    are ours.

    Args:
        images: Generated images.
        targets: Portraits.
        detail: Weight of the Laplacian term.
    """
    difference = images - targets
    loss = difference.abs().mean()
    for size in (2, 4):
        loss = loss + F.avg_pool2d(difference, size).abs().mean()
    # The Laplacian is linear: that of the difference is the difference of the Laplacians.
    inner = difference[:, :, 1:-1, 1:-1] * 4
    laplacian = (
        inner
        - difference[:, :, :-2, 1:-1]
        - difference[:, :, 2:, 1:-1]
        - difference[:, :, 1:-1, :-2]
        - difference[:, :, 1:-1, 2:]
    )
    return loss + detail * laplacian.abs().mean() / 4
