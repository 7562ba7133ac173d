"""What the networks of StyleFaceUV that read codes have in common: multilayer perceptrons on the flattened W+ code."""

import itertools
import math
from collections.abc import Callable, Sequence
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from renderers.errors import InputError

# Hidden widths of F3D's perceptrons as multiples of the code's width (StyleFaceUV section 3.2.1: 9, 6 and 3 times 512).
PUBLISHED_HIDDEN = (9, 6, 3)
# Those of the networks that the authors released, with one more layer; their step-size network has the same.
RELEASED_HIDDEN = (9, 6, 3, 1)
# The last layer starts this much below the usual initialisation, so that training starts near the mean face or without a step.
_OUTPUT_GAIN = 0.01


def perceptron(inputs: int, hidden: Sequence[int], outputs: int, activation: Callable[[], nn.Module]) -> nn.Sequential:
    """Linear layers with an activation after each but the last, which starts small and without bias.

    Args:
        inputs: Numbers it reads.
        hidden: Widths of the layers in between.
        outputs: Numbers it gives.
        activation: Makes the module between two layers.
    """
    layers: list[nn.Module] = []
    for width, following in itertools.pairwise((inputs, *hidden)):
        layers += [nn.Linear(width, following), activation()]
    last = nn.Linear(([inputs, *hidden])[-1], outputs)
    nn.init.normal_(last.weight, std=_OUTPUT_GAIN / math.sqrt(last.in_features))
    nn.init.zeros_(last.bias)
    return nn.Sequential(*layers, last)


class CodeNetwork(nn.Module):
    """A network that reads flattened W+ codes, which are whitened first: an affine map that its first layer could learn.

    Neither the paper nor the release whitens: mean 0 and deviation 1, until `whiten_by`, leave codes as they are.

    Args:
        num_layers: Layers of a code.
        w_dim: Width of a code.
        hidden: Widths of the hidden layers, as multiples of `w_dim`.

    Attributes:
        code_mean, code_std: (width) each.
    """

    code_mean: Tensor
    code_std: Tensor

    def __init__(self, num_layers: int, w_dim: int, hidden: Sequence[int]) -> None:
        super().__init__()
        if min(num_layers, w_dim, *hidden, 1) < 1:
            raise InputError(
                f"expected codes and hidden layers of positive sizes, got {num_layers} layers of width {w_dim} and hidden widths "
                f"{', '.join(map(str, hidden))} times that; correct them"
            )
        self.num_layers, self.w_dim, self.hidden = num_layers, w_dim, tuple(hidden)
        self.register_buffer("code_mean", torch.zeros(w_dim))
        self.register_buffer("code_std", torch.ones(w_dim))

    @property
    def code_size(self) -> int:
        """Numbers of a flattened code."""
        return self.num_layers * self.w_dim

    @property
    def hidden_widths(self) -> tuple[int, ...]:
        """Widths of the hidden layers."""
        return tuple(multiple * self.w_dim for multiple in self.hidden)

    def whiten_by(self, mean: Float[Tensor, " width"], std: Float[Tensor, " width"]) -> None:
        """Set the statistics by which codes are whitened, those of W of the generator."""
        self.code_mean.copy_(mean)
        # A dimension that hardly varies must not be blown up.
        self.code_std.copy_(std.clamp_min(0.01 * float(std.max())))

    def flattened(self, codes: Float[Tensor, "batch layers width"]) -> Float[Tensor, "batch numbers"]:
        """Whitened codes, one row each.

        Raises:
            InputError: for codes of another generator's size.
        """
        if codes.ndim != 3 or codes.shape[1:] != (self.num_layers, self.w_dim):
            raise InputError(
                f"expected codes of shape (batch, {self.num_layers}, {self.w_dim}), got {tuple(codes.shape)}; "
                f"use the generator that the {type(self).__name__} was trained for"
            )
        return ((codes - self.code_mean) / self.code_std).flatten(1)

    def code_config(self) -> dict[str, Any]:
        """Plain JSON values of the arguments."""
        return {"num_layers": self.num_layers, "w_dim": self.w_dim, "hidden": list(self.hidden)}
