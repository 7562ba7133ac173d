"""RigNet: edits a latent code so that its image obeys chosen face parameters (StyleRig section 6)."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from models.morphable import ParameterSizes
from models.stylerig.provenance import Provenance
from models.stylerig.statistics import ParameterStatistics
from models.stylerig.storage import load_trained, save_trained
from renderers.errors import InputError

KIND = "rignet"

# What a RigNet can control: pose, expression and illumination (StyleRig section 7) and identity geometry (supplement 3).
CONTROLLABLE: tuple[str, ...] = ("rotation", "expression", "illumination", "identity")
# What an edit is to keep where it does not change it: everything but the translation, which is neither edited nor
# preserved because crops tie it to the rotation (supplement 1).
_KEPT: tuple[str, ...] = ("identity", "expression", "reflectance", "rotation", "illumination")


def check_controls(components: Sequence[str]) -> tuple[str, ...]:
    """The components a RigNet is to control, as a tuple.

    Raises:
        InputError: for none, an unknown one or one named twice.
    """
    known = all(component in CONTROLLABLE for component in components)
    if not components or not known or len(set(components)) != len(components):
        raise InputError(
            f"expected components to control among {', '.join(CONTROLLABLE)}, got {', '.join(components) or 'none'}; "
            "name each at most once"
        )
    return tuple(components)


def preserved_components(changed: str) -> tuple[str, ...]:
    """The components that must stay when `changed` is edited (StyleRig section 7 and supplement 1: not the translation)."""
    check_controls((changed,))
    return tuple(component for component in _KEPT if component != changed)


class RigNet(nn.Module):
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

    parameter_mean: Tensor
    parameter_std: Tensor
    control_index: Tensor

    def __init__(
        self,
        num_layers: int,
        w_dim: int,
        components: Sequence[str] = ("rotation",),
        sizes: ParameterSizes = ParameterSizes(),
        latent: int = 32,
    ) -> None:
        super().__init__()
        self.num_layers, self.w_dim, self.sizes, self.latent = num_layers, w_dim, sizes, latent
        self.components = check_controls(components)
        index = torch.cat([torch.arange(sizes.total)[sizes.slice(component)] for component in self.components])
        self.register_buffer("control_index", index, persistent=False)
        self.register_buffer("parameter_mean", torch.zeros(sizes.total))
        self.register_buffer("parameter_std", torch.ones(sizes.total))
        self.encoder_weight = nn.Parameter(torch.randn(num_layers, w_dim, latent) / math.sqrt(w_dim))
        self.encoder_bias = nn.Parameter(torch.zeros(num_layers, latent))
        self.decoder_weight = nn.Parameter(torch.zeros(num_layers, latent + len(index), w_dim))
        self.decoder_bias = nn.Parameter(torch.zeros(num_layers, w_dim))

    def normalise_by(self, statistics: ParameterStatistics) -> None:
        """Set the training-set statistics by which parameters are normalised."""
        self.parameter_mean.copy_(statistics.mean)
        self.parameter_std.copy_(statistics.std)

    @torch.no_grad()
    def centre_encoder(self, mean_w: Float[Tensor, " width"]) -> None:
        """Start the encoder's biases so that the mean code is encoded as zero, which speeds up the start of training."""
        self.encoder_bias.copy_(-torch.einsum("w,lwe->le", mean_w, self.encoder_weight))

    def forward(
        self, codes: Float[Tensor, "batch layers width"], parameters: Float[Tensor, "batch total"]
    ) -> Float[Tensor, "batch layers width"]:
        """Edited codes.

        Args:
            codes: W+ codes.
            parameters: Packed face parameters; the network reads those of its components only.

        Raises:
            InputError: for sizes of another generator or face model.
        """
        if codes.shape[1:] != (self.num_layers, self.w_dim) or parameters.shape[1:] != (self.sizes.total,):
            raise InputError(
                f"expected codes (batch, {self.num_layers}, {self.w_dim}) and parameters (batch, {self.sizes.total}), got "
                f"{tuple(codes.shape)} and {tuple(parameters.shape)}; use the generator and face model it was trained for"
            )
        normalised = (parameters - self.parameter_mean) / self.parameter_std
        control = normalised[:, None, self.control_index].expand(-1, self.num_layers, -1)
        encoded = torch.einsum("blw,lwe->ble", codes, self.encoder_weight) + self.encoder_bias
        decoder_input = torch.cat([encoded, control], dim=2)
        return codes + torch.einsum("ble,lew->blw", decoder_input, self.decoder_weight) + self.decoder_bias

    def save(self, path: str | Path, provenance: Provenance) -> Path:
        """Write the weights with what they were trained for."""
        config = {
            "num_layers": self.num_layers,
            "w_dim": self.w_dim,
            "components": list(self.components),
            "latent": self.latent,
            "sizes": asdict(self.sizes),
        }
        return save_trained(path, self, KIND, config, provenance)

    @classmethod
    def load(cls, path: str | Path, present: Provenance) -> "RigNet":
        """The network of a file that was trained for `present`: see `load_trained`."""
        return load_trained(path, KIND, present, cls._of_config)

    @classmethod
    def _of_config(cls, config: Mapping[str, Any]) -> "RigNet":
        sizes = ParameterSizes(**config["sizes"])
        return cls(config["num_layers"], config["w_dim"], config["components"], sizes, config["latent"])
