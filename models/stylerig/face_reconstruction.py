"""Differentiable face reconstruction F: latent code to face parameters (StyleRig section 6)."""

import math
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from models.morphable import FaceParameters, ParameterSizes
from models.stylerig.parameter_scales import parameter_scales
from models.stylerig.provenance import Provenance
from models.stylerig.storage import load_trained, save_trained
from renderers.errors import InputError

KIND = "face-reconstruction"

# The last layer starts this much below the usual initialisation, so that training starts near the mean face.
_OUTPUT_GAIN = 0.01


class FaceReconstruction(nn.Module):
    """Three-layer MLP with ELU after each intermediate layer, from the flattened W+ code to the packed face parameters.

    Codes are whitened by the generator's mean and standard deviation first, an affine map that the first layer could learn.
    Outputs are scaled per component so that one learning rate fits all; zero output is the mean face, frontal, under the
    frontal light that the illumination convention puts at zero coefficients.

    Args:
        num_layers: Layers of a code.
        w_dim: Width of a code.
        sizes: Sizes of the face model.
        hidden: Width of both intermediate layers; the paper leaves it open.
    """

    code_mean: Tensor
    code_std: Tensor
    output_scale: Tensor

    def __init__(
        self, num_layers: int, w_dim: int, sizes: ParameterSizes = ParameterSizes(), hidden: int = 512
    ) -> None:
        super().__init__()
        self.num_layers, self.w_dim, self.sizes, self.hidden = num_layers, w_dim, sizes, hidden
        self.net = nn.Sequential(
            nn.Linear(num_layers * w_dim, hidden),
            nn.ELU(),
            nn.Linear(hidden, hidden),
            nn.ELU(),
            nn.Linear(hidden, sizes.total),
        )
        last = self.net[-1]
        assert isinstance(last, nn.Linear)
        nn.init.normal_(last.weight, std=_OUTPUT_GAIN / math.sqrt(hidden))
        nn.init.zeros_(last.bias)
        self.register_buffer("code_mean", torch.zeros(w_dim))
        self.register_buffer("code_std", torch.ones(w_dim))
        # Kept with the weights: they mean nothing under other scales.
        self.register_buffer("output_scale", parameter_scales(sizes))

    def whiten_by(self, mean: Float[Tensor, " width"], std: Float[Tensor, " width"]) -> None:
        """Set the statistics by which codes are whitened, those of W of the generator."""
        self.code_mean.copy_(mean)
        # A dimension that hardly varies must not be blown up.
        self.code_std.copy_(std.clamp_min(0.01 * float(std.max())))

    def forward(self, codes: Float[Tensor, "batch layers width"]) -> Float[Tensor, "batch total"]:
        """Packed face parameters of codes.

        Raises:
            InputError: for codes of another generator's size.
        """
        if codes.shape[1:] != (self.num_layers, self.w_dim):
            raise InputError(
                f"expected codes of shape (batch, {self.num_layers}, {self.w_dim}), got {tuple(codes.shape)}; "
                "use the generator that the face reconstruction was trained for"
            )
        return self.net(((codes - self.code_mean) / self.code_std).flatten(1)) * self.output_scale

    def parameters_of(self, codes: Float[Tensor, "batch layers width"]) -> FaceParameters:
        """As `forward`, unpacked."""
        return FaceParameters.unpack(self(codes), self.sizes)

    def save(self, path: str | Path, provenance: Provenance) -> Path:
        """Write the weights with what they were trained for."""
        config = {
            "num_layers": self.num_layers,
            "w_dim": self.w_dim,
            "hidden": self.hidden,
            "sizes": asdict(self.sizes),
        }
        return save_trained(path, self, KIND, config, provenance)

    @classmethod
    def load(cls, path: str | Path, present: Provenance) -> "FaceReconstruction":
        """The network of a file that was trained for `present`: see `load_trained`."""
        return load_trained(path, KIND, present, cls._of_config)

    @classmethod
    def _of_config(cls, config: Mapping[str, Any]) -> "FaceReconstruction":
        return cls(config["num_layers"], config["w_dim"], ParameterSizes(**config["sizes"]), config["hidden"])
