"""The encoder of a model-based face autoencoder: picture to face parameters (MoFA, Tewari et al., ICCV 2017), and codes read by it."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from models.morphable import FaceParameters, ParameterSizes
from models.observers.blocks import feature_trunk
from models.observers.cropping import resize_square
from models.stylegan2 import Generator
from models.stylerig.parameter_scales import parameter_scales
from models.stylerig.provenance import Provenance
from models.stylerig.storage import load_trained, save_trained
from renderers.errors import InputError

KIND = "face-encoder"
# Pictures that are made together where codes are read without gradients.
_PICTURES_AT_ONCE = 16
# The readout starts this small, so that training starts near the mean face.
_OUTPUT_DEVIATION = 1e-3


class FaceEncoder(nn.Module):
    """A convolutional network from an aligned portrait to the packed face parameters; MoFA leaves the network open (AlexNet, VGG-Face).

    Zero output is the mean face, frontal, under the frontal light that the illumination convention puts at zero coefficients.

    Args:
        sizes: Sizes of the face model.
        widths, blocks: Channels and residual blocks of each stage of the trunk.
        num_features: Length of the feature vector below the parameters.
        working_size: Side in pixels that pictures are resized to.
    """

    output_scale: Tensor

    def __init__(
        self,
        sizes: ParameterSizes = ParameterSizes(),
        widths: Sequence[int] = (32, 64, 96, 128),
        blocks: Sequence[int] = (1, 2, 2, 1),
        num_features: int = 256,
        working_size: int = 64,
    ) -> None:
        super().__init__()
        self.sizes, self.widths, self.blocks = sizes, tuple(widths), tuple(blocks)
        self.num_features, self.working_size = num_features, working_size
        self.trunk = feature_trunk(self.widths, self.blocks, num_features)
        self.readout = nn.Linear(num_features, sizes.total)
        nn.init.normal_(self.readout.weight, std=_OUTPUT_DEVIATION)
        nn.init.zeros_(self.readout.bias)
        # Kept with the weights: they mean nothing under other scales.
        self.register_buffer("output_scale", parameter_scales(sizes))

    def forward(self, images: Float[Tensor, "batch 3 height width"]) -> Float[Tensor, "batch total"]:
        """Packed face parameters, float32, of aligned portraits in [-1, 1] of any size.

        Raises:
            InputError: unless the pictures are square RGB.
        """
        features = self.trunk(resize_square(images, self.working_size)).float().mean(dim=(-2, -1))
        return self.readout(features).float() * self.output_scale

    def parameters_of(self, images: Float[Tensor, "batch 3 height width"]) -> FaceParameters:
        """As `forward`, unpacked."""
        return FaceParameters.unpack(self(images), self.sizes)

    def save(self, path: str | Path, provenance: Provenance) -> Path:
        """Write the weights with the face model and camera that they were trained for.

        Raises:
            InputError: for the provenance of one generator: an encoder reads anyone's pictures.
        """
        if provenance.generator is not None:
            raise InputError(
                "expected the provenance of a face model and a camera alone, got that of a generator; leave it out"
            )
        config = {
            "sizes": asdict(self.sizes),
            "widths": list(self.widths),
            "blocks": list(self.blocks),
            "num_features": self.num_features,
            "working_size": self.working_size,
        }
        return save_trained(path, self, KIND, config, provenance)

    @classmethod
    def load(cls, path: str | Path, present: Provenance) -> "FaceEncoder":
        """The network of a file that was trained for the face model and camera of `present`: see `load_trained`."""
        return load_trained(path, KIND, present, cls._of_config)

    @classmethod
    def _of_config(cls, config: Mapping[str, Any]) -> "FaceEncoder":
        return cls(
            ParameterSizes(**config["sizes"]),
            config["widths"],
            config["blocks"],
            config["num_features"],
            config["working_size"],
        )


class PictureReconstruction(nn.Module):
    """theta(v) = MoFA(I(v)) (PIE, equation 5): face parameters of a code, read from its picture; takes the place of F.

    Args:
        generator: Makes the pictures, with its stored noise.
        encoder: Reads them.
    """

    def __init__(self, generator: Generator, encoder: FaceEncoder) -> None:
        super().__init__()
        self.generator, self.encoder = generator, encoder
        self.num_layers, self.w_dim, self.sizes = generator.num_layers, generator.w_dim, encoder.sizes

    def forward(self, codes: Float[Tensor, "batch layers width"]) -> Float[Tensor, "batch total"]:
        """Packed face parameters of codes, differentiable.

        Raises:
            InputError: for codes of another generator's size.
        """
        if codes.shape[1:] != (self.num_layers, self.w_dim):
            raise InputError(
                f"expected codes of shape (batch, {self.num_layers}, {self.w_dim}), got {tuple(codes.shape)}; use codes of this generator"
            )
        if torch.is_grad_enabled():
            return self._read(codes)
        # Without gradients nothing need be kept: pictures of thousands of codes at once would fill any memory.
        return torch.cat([self._read(part) for part in codes.split(_PICTURES_AT_ONCE)])

    def _read(self, codes: Float[Tensor, "batch layers width"]) -> Float[Tensor, "batch total"]:
        # Clamped as every picture that is shown or measured: the encoder has seen no other.
        return self.encoder(self.generator.synthesis(codes, noise="const").clamp(-1, 1))

    def parameters_of(self, codes: Float[Tensor, "batch layers width"]) -> FaceParameters:
        """As `forward`, unpacked."""
        return FaceParameters.unpack(self(codes), self.sizes)
