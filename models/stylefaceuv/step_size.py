"""Fyaw: how far to move a code along the yaw direction so that its picture shows an asked yaw (StyleFaceUV section 3.2.2).

The paper's form takes any target angle; `MirrorStep` is the release's, which knows the mirrored yaw alone. Both belong to one
direction d of W+, which is stored with them: a step along another means nothing.
"""

import math
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar, TypeVar

import torch
from jaxtyping import Float
from torch import Tensor, nn

from models.stylefaceuv.perceptron import RELEASED_HIDDEN, CodeNetwork, perceptron
from models.stylerig.provenance import Provenance
from models.stylerig.storage import load_trained, save_trained
from renderers.errors import InputError

# Not `typing.Self`, which checkers of signatures at run time refuse on single methods.
Network = TypeVar("Network", bound="YawStep")

# Radians that an angle is divided by: about the deviation of yaw over portrait photos. Our choice.
_YAW_SCALE = 0.3


class YawStep(CodeNetwork, ABC):
    """A network that gives steps along one direction.

    Args:
        num_layers: Layers of a code.
        w_dim: Width of a code.
        hidden: Widths of the hidden layers, as multiples of `w_dim`. The paper leaves them open.

    Attributes:
        direction: (layers, width), what a step of 1 adds to a code; zero until `move_along`.
        step_unit: (), what outputs of the perceptron are multiplied by; 1 until `move_along`.
    """

    kind: ClassVar[str]

    direction: Tensor
    step_unit: Tensor

    def __init__(self, num_layers: int, w_dim: int, hidden: Sequence[int] = RELEASED_HIDDEN) -> None:
        super().__init__(num_layers, w_dim, hidden)
        self.register_buffer("direction", torch.zeros(num_layers, w_dim))
        self.register_buffer("step_unit", torch.ones(()))

    def move_along(self, direction: Float[Tensor, "layers width"], unit: float = 1.0) -> None:
        """Set the direction.

        Args:
            direction: Of any length: the paper's is of length 1 over all layers; one of W is repeated for each layer.
            unit: A step that is neither small nor large, such as the spread of a `LatentDirection`: outputs count in it.

        Raises:
            InputError: for a direction of another size, zero or not finite, and for a unit that is not positive.
        """
        if direction.shape != self.direction.shape:
            raise InputError(
                f"expected a direction of shape {tuple(self.direction.shape)}, got {tuple(direction.shape)}; take that of the "
                "generator whose codes are moved"
            )
        length = float(torch.linalg.vector_norm(direction.double()))
        if not (math.isfinite(length) and length > 0 and math.isfinite(unit) and unit > 0):
            raise InputError(
                f"expected a finite direction and unit above 0, got lengths {length} and {unit}; find the direction anew"
            )
        self.direction.copy_(direction)
        self.step_unit.fill_(unit)

    @abstractmethod
    def mirrored(
        self, codes: Float[Tensor, "batch layers width"], yaw: Float[Tensor, " batch"]
    ) -> Float[Tensor, "batch layers width"]:
        """Codes whose pictures show the opposite yaw: w_sym of section 3.3.

        Args:
            codes: W+ codes.
            yaw: What their own pictures show, in radians.

        Raises:
            InputError: for codes of another size, and without a direction.
        """

    def moved(
        self, codes: Float[Tensor, "batch layers width"], steps: Float[Tensor, "batch 1"]
    ) -> Float[Tensor, "batch layers width"]:
        """w + s d (equation 2).

        Raises:
            InputError: without a direction.
        """
        if not bool(self.direction.any()):
            raise InputError(
                "expected a direction to move codes along, this network has none; give it one by move_along"
            )
        return codes + steps[:, :, None] * self.direction

    def save(self, path: str | Path, provenance: Provenance) -> Path:
        """Write the weights, matrices as float16, with what they were trained for."""
        return save_trained(path, self, self.kind, self.code_config(), provenance)

    @classmethod
    def load(cls: type[Network], path: str | Path, present: Provenance) -> Network:
        """The network of a file that was trained for `present`: see `load_trained`."""
        return load_trained(path, cls.kind, present, cls._of_config)

    @classmethod
    def _of_config(cls: type[Network], config: Mapping[str, Any]) -> Network:
        return cls(config["num_layers"], config["w_dim"], config["hidden"])


class StepSize(YawStep):
    """Fyaw(w, a) for any target angle a: a Tanh perceptron on the code and the angle, and a linear map of both beside it.

    The paper does not say how the angle enters. To first order the step is linear in code and angle, so the linear part, which
    starts at zero, carries on where angles leave those of the training and the perceptron saturates. The angle enters the perceptron
    multiplied by the root of the size of a code, or it would be one input among thousands.
    """

    kind = "step-size"

    def __init__(self, num_layers: int, w_dim: int, hidden: Sequence[int] = RELEASED_HIDDEN) -> None:
        super().__init__(num_layers, w_dim, hidden)
        self.net = perceptron(self.code_size + 1, self.hidden_widths, 1, nn.Tanh)
        self.linear = nn.Linear(self.code_size + 1, 1)
        nn.init.zeros_(self.linear.weight)
        nn.init.zeros_(self.linear.bias)

    def forward(
        self, codes: Float[Tensor, "batch layers width"], yaw: float | Float[Tensor, " batch"]
    ) -> Float[Tensor, "batch 1"]:
        """Steps along the direction.

        Args:
            codes: W+ codes.
            yaw: What the moved codes' pictures are to show, in radians; one for all codes or one for each.

        Raises:
            InputError: for codes of another size.
        """
        flat = self.flattened(codes)
        angle = torch.as_tensor(yaw, dtype=flat.dtype, device=flat.device).expand(len(flat))[:, None] / _YAW_SCALE
        gain = math.sqrt(self.code_size)
        steps = self.net(torch.cat([flat, gain * angle], dim=1)) + self.linear(torch.cat([flat / gain, angle], dim=1))
        return steps * self.step_unit

    def turned(
        self, codes: Float[Tensor, "batch layers width"], yaw: float | Float[Tensor, " batch"]
    ) -> Float[Tensor, "batch layers width"]:
        """w' = w + Fyaw(w, a) d (equation 2): codes whose pictures show a yaw; arguments and errors as of `forward` and `moved`."""
        return self.moved(codes, self(codes, yaw))

    def mirrored(
        self, codes: Float[Tensor, "batch layers width"], yaw: Float[Tensor, " batch"]
    ) -> Float[Tensor, "batch layers width"]:
        return self.turned(codes, -yaw)


class MirrorStep(YawStep):
    """The release's form: a Tanh perceptron that gives the step to the mirrored yaw alone."""

    kind = "mirror-step"

    def __init__(self, num_layers: int, w_dim: int, hidden: Sequence[int] = RELEASED_HIDDEN) -> None:
        super().__init__(num_layers, w_dim, hidden)
        self.net = perceptron(self.code_size, self.hidden_widths, 1, nn.Tanh)

    def forward(self, codes: Float[Tensor, "batch layers width"]) -> Float[Tensor, "batch 1"]:
        """Steps along the direction.

        Raises:
            InputError: for codes of another size.
        """
        return self.net(self.flattened(codes)) * self.step_unit

    def mirrored(
        self, codes: Float[Tensor, "batch layers width"], yaw: Float[Tensor, " batch"]
    ) -> Float[Tensor, "batch layers width"]:
        # What the codes show now, the network reads from the codes themselves.
        return self.moved(codes, self(codes))
