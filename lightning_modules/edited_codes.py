"""Training codes of a face reconstruction that lie where edits lead, off the distribution that latent pairs are drawn from.

A RigNet is trained through the face reconstruction F and finds directions in which F reads more than the pictures show: those in
which codes hardly vary, about which F's own training codes say nothing. Codes that were moved as edits move them, with the pictures
that belong to them, tell F what such directions really do. StyleRig trains on codes of pairs alone; all of this is our addition.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from datamodules.counter_random import normal, sample_keys, subkeys, uniform
from datamodules.latent_pairs import LatentPairs
from lightning_modules.pair_batches import codes_and_images
from models.stylegan2 import Generator
from models.stylerig import RigNet
from renderers.errors import InputError

# Streams 0 to 2 are the pairs' own.
_STREAM = 3


@dataclass(frozen=True)
class EditedCodes:
    """How many training codes are moved, and how. A moved code is w + t (target - w) plus a Gaussian step.

    Attributes:
        share: Probability with which a code is moved, 0 to 1; 0 trains on the codes of pairs alone, as published.
        rignet: Weights of a RigNet for the same generator and scene, of an earlier training: the target is its edit of w towards
            control parameters drawn from the statistics that it is normalised by. null: the target is the pair's other code.
        extrapolation: t is uniform from 0 to this; above 1 codes go beyond their target.
        step: Standard deviation of the entries of the step, in units of the root mean square deviation of W: one number, or one
            for each layer. The pose edits of the demo's RigNet have a root mean square of 0.2 over all layers.
    """

    share: float = 0.0
    rignet: str | None = None
    extrapolation: float = 1.3
    step: float | list[float] = 0.2

    def __post_init__(self) -> None:
        if not 0 <= self.share <= 1 or self.extrapolation < 0 or min(self.steps, default=0.0) < 0:
            raise InputError(
                f"expected edited codes with a share from 0 to 1 and an extrapolation and steps of 0 or more, got {self}; correct them"
            )

    @property
    def steps(self) -> Sequence[float]:
        """The deviations of the step, one for all layers or one for each."""
        return self.step if isinstance(self.step, list) else [self.step]

    def check_layers(self, num_layers: int) -> None:
        """Refuse deviations for the layers of another generator.

        Raises:
            InputError: for a list of another length, an empty one among them.
        """
        if isinstance(self.step, list) and len(self.step) != num_layers:
            raise InputError(
                f"expected a step of edited codes for each of the generator's {num_layers} layers, got {len(self.step)}; "
                "give so many or a single number"
            )


@torch.no_grad()
def edit_pairs(settings: EditedCodes, generator: Generator, rignet: RigNet | None, pairs: LatentPairs) -> LatentPairs:
    """Pairs of which some codes were moved, with the pictures of these made anew.

    Which codes are moved, and how far, follows from the indices of the pairs, as the pairs do.

    Args:
        settings: How many, and how.
        generator: Frozen generator on the device of the pairs.
        rignet: The network of `settings.rignet`, on the same device.
        pairs: Pairs with pictures.

    Raises:
        InputError: for pairs without them.
    """
    codes, images = codes_and_images(pairs)
    others = torch.cat([pairs.v, pairs.w])
    pair_keys = sample_keys(0, _STREAM, pairs.indices)
    keys = torch.cat([subkeys(pair_keys, 1), subkeys(pair_keys, 2)])
    moved: Bool[Tensor, " codes"] = uniform(keys, 2)[:, 0] < settings.share
    if moved.any():
        edited = _moved(settings, generator, rignet, codes[moved], others[moved], keys[moved])
        codes[moved] = edited
        images[moved] = generator.synthesis(edited, noise="const").clamp(-1, 1)
    (w, v), (image_w, image_v) = codes.chunk(2), images.chunk(2)
    return LatentPairs(pairs.indices, w, v, image_w, image_v)


def _moved(
    settings: EditedCodes,
    generator: Generator,
    rignet: RigNet | None,
    codes: Float[Tensor, "codes layers width"],
    others: Float[Tensor, "codes layers width"],
    keys: Int[Tensor, " codes"],
) -> Float[Tensor, "codes layers width"]:
    if rignet is None:
        targets = others
    else:
        drawn = normal(subkeys(keys, 1), rignet.sizes.total)
        targets = rignet(codes, rignet.parameter_mean + rignet.parameter_std * drawn)
    t = settings.extrapolation * uniform(keys, 2)[:, 1]
    deviation = codes.new_tensor(settings.steps) * generator.std_w.square().mean().sqrt()
    step = normal(subkeys(keys, 2), codes[0].numel()).reshape(codes.shape) * deviation[:, None]
    return codes + t[:, None, None] * (targets - codes) + step
