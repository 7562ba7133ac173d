"""Codes of W and W+: statistics, truncation and style mixing."""

from collections.abc import Callable

import torch
from jaxtyping import Float, Int
from torch import Tensor

from renderers.errors import InputError


def truncate(
    codes: Float[Tensor, "*batch width"],
    mean_w: Float[Tensor, " width"],
    strength: float,
    layers: int | None = None,
) -> Float[Tensor, "*batch width"]:
    """Truncation in W (Karras et al. 2019, appendix B): mean + strength (code - mean).

    Args:
        codes: Codes of W (batch, width), or of W+ (batch, layers, width).
        mean_w: The mean of W.
        strength: 1 leaves codes alone, 0 gives the mean.
        layers: For W+, truncate the first `layers` layers alone; all by default.

    Raises:
        InputError: if `layers` is given for codes of W.
    """
    if strength == 1.0:
        return codes
    truncated = torch.lerp(mean_w.expand_as(codes), codes, strength)
    if layers is None:
        return truncated
    if codes.dim() < 3:
        raise InputError(f"expected W+ codes to truncate some layers of, got {tuple(codes.shape)}; leave out layers for W")
    return torch.cat([truncated[..., :layers, :], codes[..., layers:, :]], dim=-2)


@torch.no_grad()
def code_statistics(
    mapping: Callable[[Tensor], Tensor],
    z_dim: int,
    samples: int = 10_000,
    seed: int = 0,
    device: torch.device | str = "cpu",
) -> tuple[Float[Tensor, " width"], Float[Tensor, " width"]]:
    """Mean and standard deviation of W, estimated from the codes of fixed standard normal latents.

    Args:
        mapping: Codes of latents, for instance `Generator.mapping`.
        z_dim: Size of a latent.
        samples: Number of latents.
        seed: Seed of the latents.
        device: Where the mapping network lives.
    """
    rng = torch.Generator().manual_seed(seed)
    # Sums in float64: the variance of a narrow direction is a small difference of large sums.
    total, squares, count = torch.zeros((), dtype=torch.float64), torch.zeros((), dtype=torch.float64), 0
    for start in range(0, samples, 1000):
        size = min(1000, samples - start)
        codes = mapping(torch.randn(size, z_dim, generator=rng).to(device)).double().cpu()
        total, squares, count = total + codes.sum(dim=0), squares + codes.square().sum(dim=0), count + size
    mean = total / count
    return mean.float(), (squares / count - mean.square()).clamp_min(0).sqrt().float()


def mix(
    codes: Float[Tensor, "batch sources width"], crossovers: Int[Tensor, "batch cuts"], layers: int
) -> Float[Tensor, "batch layers width"]:
    """Style mixing (Karras et al. 2019, section 3.1) of any number of codes of W into one code of W+.

    Args:
        codes: The codes to mix, sources = cuts + 1.
        crossovers: Layers at which the next code takes over, in any order; layer l takes the code number
            (crossovers <= l). Points at 0 skip codes, points at `layers` leave the later codes out.
        layers: Layers of the result.

    Raises:
        InputError: if the numbers of codes and of crossovers do not fit.
    """
    if codes.shape[1] != crossovers.shape[1] + 1:
        raise InputError(
            f"expected one crossover less than codes, got {crossovers.shape[1]} for {codes.shape[1]} codes; "
            "give one crossover between each two codes"
        )
    index = torch.arange(layers, device=codes.device)
    source = (crossovers[:, :, None] <= index).sum(dim=1)
    return torch.gather(codes, 1, source[:, :, None].expand(-1, -1, codes.shape[2]))


def random_crossovers(
    batch: int, layers: int, probability: float, rng: torch.Generator, device: torch.device | str = "cpu"
) -> Int[Tensor, "batch 1"]:
    """Crossovers for mixing two codes as in the training of StyleGAN2: uniform in 1..layers-1 with `probability`, else none.

    Args:
        batch: Number of samples.
        layers: Layers of the generator.
        probability: How often two codes are mixed (0.9 in the paper).
        rng: Source of randomness, on `device`.
        device: Where the result lives.
    """
    cut = torch.randint(1, max(layers, 2), (batch, 1), generator=rng, device=device)
    mixed = torch.rand(batch, 1, generator=rng, device=device) < probability
    return torch.where(mixed, cut, torch.full_like(cut, layers))
