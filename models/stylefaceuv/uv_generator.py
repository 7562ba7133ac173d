"""The UV generator of StyleFaceUV (section 3.3): a code of W+ becomes a diffuse map and a displacement map of a face model.

It has the synthesis network of StyleGAN2 and starts from the weights of the 2D generator whose codes it takes; where that one sums
colours over resolutions, this one sums two maps.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor, nn

from models.morphable import FaceParameters
from models.stylefaceuv.sources import FaceSources
from models.stylefaceuv.surface import UVSurface
from models.stylefaceuv.texel_masks import TextureSampling
from models.stylegan2 import Generator
from models.stylegan2.generator import check_architecture, is_number, normalised_taps
from models.stylegan2.layers import StyledConvolution, ToRGB, low_pass_kernel, upsample
from models.stylerig.provenance import Provenance
from models.stylerig.storage import Bits, load_trained, save_trained
from renderers.camera import PerspectiveCamera
from renderers.errors import InputError
from renderers.face_renderer import FaceRender, FaceRenderer

UV_GENERATOR_KIND = "stylefaceuv-uv-generator"

# The authors' release bounds displacements by 0.01 for a camera 10 units away: a millimetre where the unit is the decimetre.
RELEASE_BOUND_OF_DISTANCE = 0.001


class UVMaps(NamedTuple):
    """What the UV generator makes of a code; row 0 of a map is the top of the texture.

    Attributes:
        diffuse: (B, 3, resolution, resolution) albedo, RGB in [0, 1].
        displacement: (B, 3, resolution, resolution) offsets of the surface, in the axes and the unit of the face model.
    """

    diffuse: Float[Tensor, "batch 3 rows columns"]
    displacement: Float[Tensor, "batch 3 rows columns"]


class UVGenerator(nn.Module):
    """Codes of W+ to UV maps: the synthesis network of StyleGAN2 with two heads at each resolution.

    The diffuse map is sigmoid(2 x) of its head's sum x: in [0, 1] as albedo must be, with the slope of the usual (x + 1) / 2 in the
    middle; the paper leaves the range open. The displacement map is `displacement_bound` tanh(x), as in the authors' release.

    No noise is added, though layers keep the 2D generator's: one stored picture for all codes would be learned as speckles of the
    texture at the same texels of every face, and fresh noise would give a code another face each time. The paper leaves it open.

    Args:
        channels: Feature channels at 4, 8, 16, ... pixels, which give the size of the maps, 4 * 2**(n - 1).
        w_dim: Size of a code of W.
        blur_kernel: Taps of the low-pass filter of upsampling.
        conv_clamp: Bound on the absolute output of each convolution, or None.
        displacement_bound: Largest offset along an axis, in the face model's unit; see `release_displacement_bound`.
        surface: The part of the face model that the maps are for.

    Raises:
        InputError: for sizes and options that layers cannot be built with, and a bound that is not positive.
    """

    kernel: Tensor

    def __init__(
        self,
        channels: Sequence[int],
        w_dim: int = 512,
        blur_kernel: Sequence[float] = (1.0, 3.0, 3.0, 1.0),
        conv_clamp: float | None = None,
        displacement_bound: float = 0.01,
        surface: UVSurface = UVSurface(),
    ) -> None:
        super().__init__()
        check_architecture(channels, blur_kernel, conv_clamp)
        if w_dim < 1:
            raise InputError(f"expected a positive w_dim, got {w_dim}; raise it")
        if not (is_number(displacement_bound) and displacement_bound > 0):
            raise InputError(
                f"expected a positive displacement_bound, got {displacement_bound!r}; 0.01 is that of the authors' release"
            )
        self.channels = tuple(channels)
        self.w_dim = w_dim
        self.blur_kernel = normalised_taps(blur_kernel)
        self.conv_clamp = conv_clamp
        self.displacement_bound = displacement_bound
        self.surface = surface
        self.resolution = 4 * 2 ** (len(channels) - 1)
        self.num_layers = 2 * len(channels)

        # Names and order are those of `Generator`, whose weights fill them.
        self.const = nn.Parameter(torch.randn(channels[0], 4, 4))
        self.convolutions = nn.ModuleList()
        self.to_diffuse = nn.ModuleList()
        self.to_displacement = nn.ModuleList()
        for level, outputs in enumerate(channels):
            size = 4 * 2**level
            if level > 0:
                inputs = channels[level - 1]
                self.convolutions.append(
                    StyledConvolution(inputs, outputs, w_dim, size, True, self.blur_kernel, conv_clamp)
                )
            self.convolutions.append(
                StyledConvolution(outputs, outputs, w_dim, size, False, self.blur_kernel, conv_clamp)
            )
            self.to_diffuse.append(ToRGB(outputs, w_dim, conv_clamp))
            self.to_displacement.append(ToRGB(outputs, w_dim, conv_clamp))
        # Training starts from the face model's own shape; the head still learns, since the features it weighs are not zero.
        for head in self._heads(self.to_displacement):
            nn.init.zeros_(head.weight)
        self.register_buffer("kernel", low_pass_kernel(self.blur_kernel), persistent=False)

    @classmethod
    def from_generator(
        cls, generator: Generator, displacement_bound: float = 0.01, surface: UVSurface = UVSurface()
    ) -> "UVGenerator":
        """A UV generator that starts from a 2D generator (section 3.3).

        Convolutions, constant and the diffuse head are the generator's own: the first diffuse map is its picture without noise. The
        displacement head takes the styles of the colour head, its weights stay zero.

        Args:
            generator: Of the codes to come.
            displacement_bound: Largest offset along an axis, in the face model's unit.
            surface: The part of the face model that the maps are for.
        """
        network = cls(
            generator.channels,
            generator.w_dim,
            generator.blur_kernel,
            generator.conv_clamp,
            displacement_bound,
            surface,
        ).to(generator.const.device)
        state = {name: value for name, value in generator.state_dict().items() if name in network.state_dict()}
        state |= {f"to_diffuse.{name}": value for name, value in generator.to_rgb.state_dict().items()}
        state |= {
            f"to_displacement.{name}": value
            for name, value in generator.to_rgb.state_dict().items()
            if ".affine." in name
        }
        own = {name: value for name, value in network.state_dict().items() if name not in state}
        network.load_state_dict({**state, **own})
        return network

    @property
    def config(self) -> dict[str, Any]:
        """The arguments this network was built with, as plain values."""
        return {
            "channels": list(self.channels),
            "w_dim": self.w_dim,
            "blur_kernel": list(self.blur_kernel),
            "conv_clamp": self.conv_clamp,
            "displacement_bound": self.displacement_bound,
            "surface": self.surface.to_config(),
        }

    def forward(
        self,
        codes: Float[Tensor, "batch layers width"],
    ) -> UVMaps:
        """The maps of W+ codes.

        Args:
            codes: One code for each layer, of the 2D generator that this one started from.

        Raises:
            InputError: if codes have another shape.
        """
        if codes.shape[1:] != (self.num_layers, self.w_dim):
            raise InputError(
                f"expected codes (batch, {self.num_layers}, {self.w_dim}) for this UV generator, got {tuple(codes.shape)}; "
                "use codes of the generator that it started from"
            )
        layers = [layer for layer in self.convolutions if isinstance(layer, StyledConvolution)]
        heads = (self._heads(self.to_diffuse), self._heads(self.to_displacement))
        with torch.autocast(codes.device.type, enabled=False):
            # As in `Generator.synthesis`, level l reads its maps with the code of layer 2 l + 1.
            modulations = [layer.modulation(codes[:, index]) for index, layer in enumerate(layers)]
            weights = [
                [head.modulated_weight(codes[:, 2 * level + 1]) for level, head in enumerate(each)] for each in heads
            ]
        x = self.const.to(codes.dtype).expand(len(codes), -1, -1, -1)
        if torch.is_autocast_enabled(codes.device.type):
            x = x.to(torch.get_autocast_dtype(codes.device.type))
        x = x.contiguous(memory_format=torch.channels_last)
        sums: list[Tensor] = []
        for index, (layer, modulation) in enumerate(zip(layers, modulations, strict=True)):
            x = layer(x, *modulation, None)
            if index % 2 == 0:
                level = index // 2
                maps = [each[level](x, weight[level]) for each, weight in zip(heads, weights, strict=True)]
                sums = (
                    [upsample(below, self.kernel) + own for below, own in zip(sums, maps, strict=True)]
                    if sums
                    else maps
                )
        diffuse, displacement = sums
        return UVMaps(torch.sigmoid(2 * diffuse), self.displacement_bound * torch.tanh(displacement))

    def save(self, path: str | Path, provenance: Provenance, sources: FaceSources, bits: Bits = 16) -> Path:
        """Write the weights with what they were trained for, and the places of what they are used with."""
        return save_trained(path, self, UV_GENERATOR_KIND, {**self.config, **sources.to_config()}, provenance, bits)

    @classmethod
    def load(cls, path: str | Path, present: Provenance) -> "UVGenerator":
        """Read weights, frozen and in evaluation mode.

        Args:
            path: The file, as given or relative to the project root.
            present: The generator, face model and camera they are about to be used with.

        Raises:
            InputError: for a missing or broken file, another kind of network, or one trained for something else.
        """
        return load_trained(path, UV_GENERATOR_KIND, present, cls._from_config)

    @classmethod
    def _from_config(cls, config: dict[str, Any]) -> "UVGenerator":
        return cls(
            config["channels"],
            config["w_dim"],
            config["blur_kernel"],
            config["conv_clamp"],
            config["displacement_bound"],
            UVSurface.from_config(config["surface"]),
        )

    @staticmethod
    def _heads(layers: nn.ModuleList) -> list[ToRGB]:
        return [layer for layer in layers if isinstance(layer, ToRGB)]


def release_displacement_bound(camera: PerspectiveCamera) -> float:
    """The authors' bound of displacements for a camera, in the face model's unit: it goes with the camera's distance."""
    return RELEASE_BOUND_OF_DISTANCE * camera.distance


def render_detailed(
    renderer: FaceRenderer,
    parameters: FaceParameters,
    maps: UVMaps,
    texture_sampling: TextureSampling = "pixel",
) -> FaceRender:
    """The detailed face (section 3.3): coefficients' shape plus displacement, the diffuse map under the coefficients' light.

    Normals are those of the displaced surface. There is no background: pixels beside the face are black, and 0 in the mask.

    Args:
        renderer: Of the surface of the maps (`UVSurface.apply`), with the camera that the coefficients refer to.
        parameters: Pose, light and coarse shape; the reflectance is not looked at.
        maps: Of `UVGenerator`, or edited.
        texture_sampling: "pixel" looks the diffuse map up at every pixel, which keeps more detail; "vertex" at every vertex, as the
            authors' release does.

    Returns:
        The render, colours in [0, 1].

    Raises:
        InputError: for per-pixel sampling by a renderer of points.
    """
    return renderer(parameters, maps.diffuse, texture_sampling, maps.displacement)
