"""The steering baseline of StyleRig (section 8.4, after Jahanian et al.): a change of parameters to a change of codes, without seeing w."""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from models.morphable import ParameterSizes
from models.stylerig.rig_network import RigNetwork


class SteeringNetwork(RigNetwork):
    """w_hat = w + D (p - F(w)): per layer a linear map of the normalised change of the controlled parameters.

    It is RigNet's decoder without the encoder ("does not use the latent vector w as an input, and thus does not require an
    encoder"), so that the two differ in what they see alone. Whether the paper's has biases or hidden layers is not said; a bias
    would move codes of which nothing is asked. The maps start at zero.
    """

    kind = "steering"

    def __init__(
        self,
        num_layers: int,
        w_dim: int,
        components: Sequence[str] = ("rotation",),
        sizes: ParameterSizes = ParameterSizes(),
    ) -> None:
        super().__init__(num_layers, w_dim, components, sizes)
        self.decoder_weight = nn.Parameter(torch.zeros(num_layers, len(self.control_index), w_dim))

    def edit(
        self,
        codes: Float[Tensor, "batch layers width"],
        own: Float[Tensor, "batch total"],
        target: Float[Tensor, "batch total"],
    ) -> Float[Tensor, "batch layers width"]:
        self.check_codes(codes)
        change = self.controls(target) - self.controls(own)
        return codes + torch.einsum("bc,lcw->blw", change, self.decoder_weight)

    @property
    def is_trained(self) -> bool:
        return bool(self.decoder_weight.any())

    def layout(self) -> dict[str, Any]:
        return {}

    @classmethod
    def from_layout(
        cls, num_layers: int, w_dim: int, components: Sequence[str], sizes: ParameterSizes, layout: Mapping[str, Any]
    ) -> "SteeringNetwork":
        return cls(num_layers, w_dim, components, sizes)
