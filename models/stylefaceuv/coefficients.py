"""F3D: latent code to the coefficients of the face model (StyleFaceUV section 3.2.1)."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from models.morphable import FaceParameters, ParameterSizes
from models.stylefaceuv.perceptron import PUBLISHED_HIDDEN, CodeNetwork, perceptron
from models.stylerig.provenance import Provenance
from models.stylerig.statistics import ParameterStatistics
from models.stylerig.storage import load_trained, save_trained

KIND = "code-coefficients"


class CodeCoefficients(CodeNetwork):
    """Two perceptrons on the flattened W+ code: one with Tanh for all but the reflectance, one with ELU for the reflectance.

    Outputs count in the statistics that `normalise_by` sets, an affine map that the last layers could learn; mean 0 and deviation
    1, as published, until then.

    Args:
        num_layers: Layers of a code.
        w_dim: Width of a code.
        sizes: Sizes of the face model.
        hidden: Widths of the hidden layers, as multiples of `w_dim`.

    Attributes:
        parameter_mean, parameter_std: (total) each.
    """

    parameter_mean: Tensor
    parameter_std: Tensor

    def __init__(
        self,
        num_layers: int,
        w_dim: int,
        sizes: ParameterSizes = ParameterSizes(),
        hidden: Sequence[int] = PUBLISHED_HIDDEN,
    ) -> None:
        super().__init__(num_layers, w_dim, hidden)
        self.sizes = sizes
        others = sizes.total - sizes.reflectance
        self.geometry = perceptron(self.code_size, self.hidden_widths, others, nn.Tanh)
        # alpha 1, torch's own, is the paper's.
        self.reflectance = perceptron(self.code_size, self.hidden_widths, sizes.reflectance, nn.ELU)
        self.register_buffer("parameter_mean", torch.zeros(sizes.total))
        self.register_buffer("parameter_std", torch.ones(sizes.total))

    def normalise_by(self, statistics: ParameterStatistics) -> None:
        """Set the training-set statistics that outputs count in."""
        self.parameter_mean.copy_(statistics.mean)
        self.parameter_std.copy_(statistics.std)

    def forward(self, codes: Float[Tensor, "batch layers width"]) -> Float[Tensor, "batch total"]:
        """Packed face parameters of codes.

        Raises:
            InputError: for codes of another generator's size.
        """
        flat = self.flattened(codes)
        before = self.sizes.slice("reflectance").start
        others = self.geometry(flat)
        packed = torch.cat([others[:, :before], self.reflectance(flat), others[:, before:]], dim=1)
        return packed * self.parameter_std + self.parameter_mean

    def parameters_of(self, codes: Float[Tensor, "batch layers width"]) -> FaceParameters:
        """As `forward`, unpacked."""
        return FaceParameters.unpack(self(codes), self.sizes)

    def save(self, path: str | Path, provenance: Provenance) -> Path:
        """Write the weights, matrices as float16, with what they were trained for."""
        return save_trained(path, self, KIND, {**self.code_config(), "sizes": asdict(self.sizes)}, provenance)

    @classmethod
    def load(cls, path: str | Path, present: Provenance) -> "CodeCoefficients":
        """The network of a file that was trained for `present`: see `load_trained`."""
        return load_trained(path, KIND, present, cls._of_config)

    @classmethod
    def _of_config(cls, config: Mapping[str, Any]) -> "CodeCoefficients":
        return cls(config["num_layers"], config["w_dim"], ParameterSizes(**config["sizes"]), config["hidden"])
