"""A network that reads from a picture the code of W a generator would make it of: where an optimisation of codes may start."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from models.observers.blocks import feature_trunk
from models.observers.cropping import resize_square
from models.stylegan2 import Generator
from models.stylegan2.digest import generator_digest
from models.weights import build_from, fill, half_matrices, load_weights, save_weights
from renderers.errors import InputError

KIND = "code-encoder"
# The readout starts this small, so that training starts near the mean code.
_OUTPUT_DEVIATION = 1e-3
# Of a code in any direction.
_SMALLEST_DEVIATION = 1e-6


class CodeEncoder(nn.Module):
    """A convolutional network from an aligned portrait to a code of W of one generator. No paper gives it: PIE leaves open where its
    optimisation starts (section 4.4).

    Zero output is the generator's mean code; outputs count in the standard deviations of W.

    Args:
        w_dim: Width of the generator's codes.
        widths, blocks: Channels and residual blocks of each stage of the trunk.
        num_features: Length of the feature vector below the code.
        working_size: Side in pixels that pictures are resized to.

    Attributes:
        mean_w, std_w: (width) each, of the generator's W; zero and one until `set_statistics`.
    """

    mean_w: Tensor
    std_w: Tensor

    def __init__(
        self,
        w_dim: int,
        widths: Sequence[int] = (24, 48, 64, 96),
        blocks: Sequence[int] = (1, 1, 1, 1),
        num_features: int = 128,
        working_size: int = 64,
    ) -> None:
        super().__init__()
        self.w_dim, self.widths, self.blocks = w_dim, tuple(widths), tuple(blocks)
        self.num_features, self.working_size = num_features, working_size
        self.trunk = feature_trunk(self.widths, self.blocks, num_features)
        self.readout = nn.Linear(num_features, w_dim)
        nn.init.normal_(self.readout.weight, std=_OUTPUT_DEVIATION)
        nn.init.zeros_(self.readout.bias)
        # Kept with the weights: files of generators without statistics get estimates, which differ between machines.
        self.register_buffer("mean_w", torch.zeros(w_dim))
        self.register_buffer("std_w", torch.ones(w_dim))

    def set_statistics(self, generator: Generator) -> None:
        """Take mean and standard deviations of W from the generator whose codes are to be read.

        Raises:
            InputError: for codes of another width.
        """
        if generator.w_dim != self.w_dim:
            raise InputError(f"expected a generator of codes of width {self.w_dim}, got one of {generator.w_dim}; match w_dim")
        self.mean_w.copy_(generator.mean_w)
        # Directions in which codes do not vary need no reading, and errors in them none of the weight.
        self.std_w.copy_(generator.std_w.clamp_min(_SMALLEST_DEVIATION))

    def forward(self, images: Float[Tensor, "batch 3 size size"]) -> Float[Tensor, "batch width"]:
        """Codes of W, float32, of aligned portraits in [-1, 1] of any size.

        Raises:
            InputError: unless the pictures are square RGB.
        """
        features = self.trunk(resize_square(images, self.working_size)).float().mean(dim=(-2, -1))
        return self.mean_w + self.readout(features).float() * self.std_w

    def save(self, path: str | Path, generator: Generator) -> Path:
        """Write the weights, matrices as float16, with the digest of the generator that they were trained for."""
        config = {
            "w_dim": self.w_dim,
            "widths": list(self.widths),
            "blocks": list(self.blocks),
            "num_features": self.num_features,
            "working_size": self.working_size,
            "generator_digest": generator_digest(generator),
        }
        return save_weights(path, half_matrices(self.state_dict()), KIND, config)

    @classmethod
    def load(cls, path: str | Path, generator: Generator) -> "CodeEncoder":
        """The network of a file, frozen, in evaluation mode.

        Args:
            path: The file, as given or relative to the project root.
            generator: Whose codes it is to read.

        Raises:
            InputError: for a missing or broken file, another kind of network, or one trained for another generator.
        """
        state, config = load_weights(path, KIND)
        digest = build_from(path, lambda: _digest_of(config))
        own = generator_digest(generator)
        if digest != own:
            raise InputError(
                f"expected the generator that {path} was trained for (weights {digest[:12]}), got one with weights {own[:12]}; "
                "name that generator or train anew for this one"
            )
        network = build_from(path, lambda: cls._of_config(config))
        fill(network, state, path)
        return network.eval().requires_grad_(False)

    @classmethod
    def _of_config(cls, config: Mapping[str, Any]) -> "CodeEncoder":
        return cls(config["w_dim"], config["widths"], config["blocks"], config["num_features"], config["working_size"])


def _digest_of(config: Mapping[str, Any]) -> str:
    digest = config["generator_digest"]
    if not isinstance(digest, str):
        raise TypeError(f"a digest is text, not {digest!r}")
    return digest
