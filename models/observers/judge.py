"""The judge: reads pose, expression, light and identity from a picture. It measures; no loss ever uses it."""

from collections.abc import Sequence
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor, nn

from models.morphable.parameters import ParameterSizes
from models.observers.blocks import feature_trunk
from models.observers.cropping import resize_square
from models.observers.interfaces import SavedNetwork
from renderers.errors import InputError

# What the judge reads, in the order of its outputs. Not the translation: aligned portraits hold it nearly fixed.
JUDGED_COMPONENTS = ("rotation", "expression", "illumination", "identity", "reflectance")
# Components that vary less than this in the training portraits are constants, and not scaled up to be learnt as noise.
_CONSTANT_BELOW = 1e-6


class JudgeReading(NamedTuple):
    """What the judge reads from a batch of pictures, in the units of `FaceParameters`.

    Attributes:
        rotation: (B, 3) Euler radians (pitch, yaw, roll).
        expression: (B, E) blendshape coefficients.
        illumination: (B, 27) spherical harmonics, channel-major.
        identity: (B, I) shape coefficients, standard deviations.
        reflectance: (B, R) skin coefficients, standard deviations.
        features: (B, F) the layer below these readings, for Fréchet distances.
    """

    rotation: Float[Tensor, "batch 3"]
    expression: Float[Tensor, "batch expression"]
    illumination: Float[Tensor, "batch 27"]
    identity: Float[Tensor, "batch identity"]
    reflectance: Float[Tensor, "batch reflectance"]
    features: Float[Tensor, "batch features"]


class Judge(SavedNetwork):
    """A residual network, trained on portraits with their truth.

    Outputs are learnt in units of each coefficient's spread over the training portraits (buffers `mean` and `spread`,
    (N,), in the order of `JUDGED_COMPONENTS`), and given back in their own units.

    Args:
        identity, expression, reflectance: numbers of coefficients of the face model.
        expression_names: names of the blendshapes, in order, or empty.
        widths, blocks: channels and residual blocks of each stage.
        num_features: length of the feature vector.
        working_size: side in pixels that pictures are resized to.
    """

    kind = "judge"
    mean: Tensor
    spread: Tensor

    def __init__(
        self,
        identity: int = 80,
        expression: int = 64,
        reflectance: int = 80,
        expression_names: Sequence[str] = (),
        widths: Sequence[int] = (32, 64, 128, 144),
        blocks: Sequence[int] = (1, 2, 2, 1),
        num_features: int = 256,
        working_size: int = 64,
    ) -> None:
        super().__init__()
        if expression_names and len(expression_names) != expression:
            raise InputError(
                f"expected {expression} expression names, got {len(expression_names)}; give one per coefficient or none"
            )
        self.identity = identity
        self.expression = expression
        self.reflectance = reflectance
        self.sizes = ParameterSizes(identity, expression, reflectance)
        self.expression_names = tuple(expression_names)
        self.widths = tuple(widths)
        self.blocks = tuple(blocks)
        self.num_features = num_features
        self.working_size = working_size
        self.trunk = feature_trunk(self.widths, self.blocks, num_features)
        self.readout = nn.Linear(num_features, sum(self.component_widths))
        self.register_buffer("mean", torch.zeros(sum(self.component_widths)))
        self.register_buffer("spread", torch.ones(sum(self.component_widths)))

    @property
    def component_widths(self) -> tuple[int, ...]:
        """Number of coefficients of each of `JUDGED_COMPONENTS`."""
        return tuple(getattr(self.sizes, name) for name in JUDGED_COMPONENTS)

    def features(self, images: Float[Tensor, "batch 3 size size"]) -> Float[Tensor, "batch features"]:
        """Feature vectors for Fréchet distances, float32, of images (B, 3, S, S) in [-1, 1]."""
        return self.trunk(resize_square(images, self.working_size)).float().mean(dim=(-2, -1))

    def standardised(self, features: Float[Tensor, "batch features"]) -> Float[Tensor, "batch outputs"]:
        """All readings in spreads of the training portraits about their mean."""
        return self.readout(features).float()

    def targets(self, parameters: Float[Tensor, "batch total"]) -> Float[Tensor, "batch outputs"]:
        """True readings, in their own units and in the judge's order, from packed face parameters."""
        if parameters.shape[-1] != self.sizes.total:
            raise InputError(
                f"expected face parameters of width {self.sizes.total}, got {tuple(parameters.shape)}; "
                "build the judge with the sizes of that face model"
            )
        return torch.cat([parameters[:, self.sizes.slice(name)] for name in JUDGED_COMPONENTS], dim=1)

    def set_statistics(self, targets: Float[Tensor, "samples outputs"]) -> None:
        """Take mean and spread of the readings from true ones."""
        self.mean.copy_(targets.mean(dim=0))
        spread = targets.std(dim=0)
        self.spread.copy_(torch.where(spread > _CONSTANT_BELOW, spread, torch.ones_like(spread)))

    def split(self, readings: Float[Tensor, "batch outputs"]) -> dict[str, Tensor]:
        """Columns of the judge's outputs by component."""
        return dict(zip(JUDGED_COMPONENTS, readings.split(self.component_widths, dim=1), strict=True))

    def forward(self, images: Float[Tensor, "batch 3 size size"]) -> JudgeReading:
        """Read images (B, 3, S, S) in [-1, 1], any S.

        Raises: `InputError` unless the images are square RGB.
        """
        features = self.features(images)
        readings = self.standardised(features) * self.spread + self.mean
        return JudgeReading(**self.split(readings), features=features)

    def component_spread(self, component: str) -> Float[Tensor, " coefficients"]:
        """Standard deviation over the training portraits of each coefficient of one of `JUDGED_COMPONENTS`."""
        return self.split(self.spread[None])[component][0]


def correlation(
    first: Float[Tensor, "samples values"], second: Float[Tensor, "samples values"]
) -> Float[Tensor, " values"]:
    """Pearson's correlation of each column; NaN where either is constant."""
    first, second = (values.double() - values.double().mean(dim=0) for values in (first, second))
    product = (first * second).sum(dim=0)
    return (product / (first.square().sum(dim=0) * second.square().sum(dim=0)).sqrt()).float()
