"""Adaptive discriminator augmentation (Karras et al. 2020, "Training Generative Adversarial Networks with Limited Data").

What the discriminator sees, real or generated, is changed at random, each change with a probability p below one, so that the
generator does not learn the changes (section 2.2 of the paper); p follows from how far the discriminator overfits (section 3).
"""

from collections.abc import Callable

import torch
from jaxtyping import Float
from torch import Tensor, nn

from models.stylegan2.augmentation_steps import (
    blit,
    colour_matrices,
    cut_out,
    filter_bands,
    inverse_geometry,
    recolour,
    warp,
)
from renderers.errors import InputError


class Augmentation(nn.Module):
    """Random changes of pictures, each applied to a picture with probability p: the pipeline of the paper's appendix B.

    Differentiable in the images. Strengths and order are the paper's. By default on are the groups that its experiments found best
    for photos ("bgc": blitting, geometry and colour).

    Args:
        blitting: Mirror images, quarter turns and shifts by whole pixels.
        geometry: Scaling, rotation, anisotropic scaling and shifts by fractions of a pixel, without aliasing.
        colour: Brightness, contrast, luma flip, hue and saturation.
        filtering: Amplify or attenuate octave bands of frequencies.
        noise: Gaussian noise.
        cutout: A square of half the picture's side in grey.
    """

    def __init__(
        self,
        blitting: bool = True,
        geometry: bool = True,
        colour: bool = True,
        filtering: bool = False,
        noise: bool = False,
        cutout: bool = False,
    ) -> None:
        super().__init__()
        self.blitting = blitting
        self.geometry = geometry
        self.colour = colour
        self.filtering = filtering
        self.noise = noise
        self.cutout = cutout

    def forward(
        self,
        images: Float[Tensor, "batch 3 height width"],
        probability: Float[Tensor, ""],
        rng: torch.Generator | None = None,
    ) -> Float[Tensor, "batch 3 height width"]:
        """Changed images, float32, also under autocast: coordinates in bfloat16 are off by whole pixels.

        Args:
            images: RGB in [-1, 1]; what comes out may leave that range.
            probability: p, on the device of the images: reading it would stop for the device.
            rng: Source of the random numbers, on the same device.

        Raises:
            InputError: if images are not square.
        """
        batch, _, height, width = images.shape
        if height != width:
            raise InputError(f"expected square images to augment, got {tuple(images.shape)}; crop them")

        def chosen(chance: Tensor = probability) -> Tensor:
            return torch.rand(batch, generator=rng, device=images.device) < chance

        def normal(*shape: int) -> Tensor:
            return torch.randn(batch, *shape, generator=rng, device=images.device)

        def uniform(*shape: int) -> Tensor:
            return torch.rand(batch, *shape, generator=rng, device=images.device)

        with torch.autocast(images.device.type, enabled=False):
            images = images.float()
            if self.blitting:
                images = blit(images, chosen, uniform)
            if self.geometry:
                matrices, moved = inverse_geometry(probability, chosen, normal, uniform)
                images = torch.where(moved[:, None, None, None], warp(images, matrices), images)
            if self.colour:
                images = recolour(images, colour_matrices(chosen, normal, uniform))
            if self.filtering:
                images = filter_bands(images, chosen, normal)
            if self.noise:
                # Half-normal with a standard deviation of 0.1 (appendix B).
                strength = normal().abs() * 0.1 * chosen()
                images = images + strength[:, None, None, None] * normal(*images.shape[1:])
            if self.cutout:
                images = cut_out(images, chosen, uniform)
            return images


class AdaptiveAugmentation(nn.Module):
    """Augmentation whose probability p follows the discriminator's overfitting.

    The measure is r_t = E[sign(D(real))] (equation 1 of the paper): 0 where the discriminator does not know real pictures from
    generated ones, 1 where it knows every real one by heart. p rises while it is above `target` and falls while it is below.

    p and the measure that is being taken are buffers: a checkpoint holds them.

    Args:
        target: Value of r_t that is aimed at (0.6 in the paper).
        images_to_one: Real images over which p could rise from 0 to 1 (500 thousand in the paper). Small data sets overfit within
            fewer: a lower value follows them faster.
        interval: Steps of the discriminator between two changes of p (4 in the paper).
        initial: p at the start; with `images_to_one` infinite it stays.
        pipeline: What is changed; by default the paper's choice.
    """

    probability: Tensor
    sign_sum: Tensor
    sign_steps: Tensor

    def __init__(
        self,
        target: float = 0.6,
        images_to_one: float = 500_000.0,
        interval: int = 4,
        initial: float = 0.0,
        pipeline: Augmentation | None = None,
    ) -> None:
        super().__init__()
        if not (-1 <= target <= 1 and images_to_one > 0 and interval >= 1 and 0 <= initial <= 1):
            raise InputError(
                "expected a target in -1..1, positive images_to_one, an interval of at least 1 and an initial probability in 0..1, "
                f"got {target}, {images_to_one}, {interval} and {initial}; correct them"
            )
        self.target = target
        self.images_to_one = images_to_one
        self.interval = interval
        self.pipeline = Augmentation() if pipeline is None else pipeline
        self.register_buffer("probability", torch.tensor(float(initial)))
        self.register_buffer("sign_sum", torch.zeros(()))
        self.register_buffer("sign_steps", torch.zeros((), dtype=torch.int64))

    def forward(
        self, images: Float[Tensor, "batch 3 size size"], rng: torch.Generator | None = None
    ) -> Float[Tensor, "batch 3 size size"]:
        """Images in [-1, 1] changed with the present probability: see `Augmentation`."""
        return self.pipeline(images, self.probability, rng)

    @torch.no_grad()
    def adapt(
        self,
        real_logits: Float[Tensor, " batch"],
        images: int,
        mean_over_ranks: Callable[[Tensor], Tensor] = lambda values: values,
    ) -> None:
        """Take a step of the discriminator into the measure, and move p where `interval` steps are together.

        Args:
            real_logits: Logits of real pictures, augmented as in training.
            images: Real images of this step on all ranks together.
            mean_over_ranks: Averages a tensor over the ranks, so that p is the same on each.
        """
        self.sign_sum += mean_over_ranks(real_logits.float().sign().mean())
        self.sign_steps += 1
        if int(self.sign_steps) < self.interval:
            return
        step = images * self.interval / self.images_to_one
        moved = self.probability + step * (self.sign_sum / self.interval - self.target).sign()
        self.probability.copy_(moved.clamp(0, 1))
        self.sign_sum.zero_()
        self.sign_steps.zero_()
