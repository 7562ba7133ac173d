"""RigNet: edits a latent code so that its image obeys chosen face parameters (StyleRig section 6)."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from models.morphable import ParameterSizes
from models.stylerig.rig_network import RigNetwork


class RigNet(RigNetwork):
    """w_hat = w + d: an independent linear encoder per layer, and an independent linear decoder of concat(l_i, p) per layer.

    Only the controlled components of the parameters enter (PIE section 3.1), normalised by their mean and standard deviation
    over the training set. There is no nonlinearity.

    The encoder starts as a random projection and the decoder at zero, so that training starts from w_hat = w.

    Args:
        num_layers: Layers of a code.
        w_dim: Width of a code.
        components: What the network controls.
        sizes: Sizes of the face model.
        latent: Width of l_i; 32 in the paper.
    """

    kind = "rignet"

    def __init__(
        self,
        num_layers: int,
        w_dim: int,
        components: Sequence[str] = ("rotation",),
        sizes: ParameterSizes = ParameterSizes(),
        latent: int = 32,
    ) -> None:
        super().__init__(num_layers, w_dim, components, sizes)
        self.latent = latent
        self.encoder_weight = nn.Parameter(torch.randn(num_layers, w_dim, latent) / math.sqrt(w_dim))
        self.encoder_bias = nn.Parameter(torch.zeros(num_layers, latent))
        self.decoder_weight = nn.Parameter(torch.zeros(num_layers, latent + len(self.control_index), w_dim))
        self.decoder_bias = nn.Parameter(torch.zeros(num_layers, w_dim))

    @torch.no_grad()
    def centre_encoder(self, mean_w: Float[Tensor, " width"]) -> None:
        """Start the encoder's biases so that the mean code is encoded as zero, which speeds up the start of training."""
        self.encoder_bias.copy_(-torch.einsum("w,lwe->le", mean_w, self.encoder_weight))

    def forward(
        self, codes: Float[Tensor, "batch layers width"], parameters: Float[Tensor, "batch total"]
    ) -> Float[Tensor, "batch layers width"]:
        """Edited codes, RigNet(w, p).

        Args:
            codes: W+ codes.
            parameters: Packed face parameters; the network reads those of its components only.

        Raises:
            InputError: for sizes of another generator or face model.
        """
        self.check_codes(codes)
        control = self.controls(parameters)[:, None].expand(-1, self.num_layers, -1)
        encoded = torch.einsum("blw,lwe->ble", codes, self.encoder_weight) + self.encoder_bias
        decoder_input = torch.cat([encoded, control], dim=2)
        return codes + torch.einsum("ble,lew->blw", decoder_input, self.decoder_weight) + self.decoder_bias

    def edit(
        self,
        codes: Float[Tensor, "batch layers width"],
        own: Float[Tensor, "batch total"],
        target: Float[Tensor, "batch total"],
    ) -> Float[Tensor, "batch layers width"]:
        # What the codes are now, the network reads from the codes themselves.
        return self(codes, target)

    @property
    def is_trained(self) -> bool:
        return bool(self.decoder_weight.any())

    def layout(self) -> dict[str, Any]:
        return {"latent": self.latent}

    @classmethod
    def from_layout(
        cls, num_layers: int, w_dim: int, components: Sequence[str], sizes: ParameterSizes, layout: Mapping[str, Any]
    ) -> "RigNet":
        return cls(num_layers, w_dim, components, sizes, layout["latent"])
