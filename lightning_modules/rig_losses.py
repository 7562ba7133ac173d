"""What RigNet is trained for: the controls, and the edit and consistency losses of each (StyleRig section 7)."""

from dataclasses import dataclass
from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor, nn

from lightning_modules.render_loss import RenderLoss
from models.morphable import FaceParameters
from models.stylerig import preserved_components
from renderers.errors import InputError

# lambda_land of the edit and consistency losses (StyleRig, supplement). None is published for identity: ours is that of the
# expression, which moves the same vertices.
LANDMARK_WEIGHTS = {"rotation": 17.5, "expression": 100.0, "illumination": 7.8, "identity": 100.0}


@dataclass(frozen=True)
class Control:
    """One component that the network is trained to control.

    Attributes:
        component: What an edit changes.
        landmark: lambda_land of its edit and consistency losses; null for the component's own: as published, 17.5 for rotation,
            100.0 for expression and 7.8 for illumination, and our 100.0 for identity, for which none is published.
        weight: Of both losses against those of other controls, 1 for a network with one control. For the all-in-one network alone
            the supplement gives rotation 1.0, expression 1000.0 and illumination 0.001, against the published sums.
    """

    component: Literal["rotation", "expression", "illumination", "identity"] = "rotation"
    landmark: float | None = None
    weight: float = 1.0

    def __post_init__(self) -> None:
        if self.weight < 0:
            raise InputError(f"expected a weight of 0 or more for {self.component}, got {self.weight}; correct settings.controls")

    @property
    def landmark_weight(self) -> float:
        """lambda_land: the one given, else the component's own."""
        return LANDMARK_WEIGHTS[self.component] if self.landmark is None else self.landmark


class StyleRigLosses(nn.Module):
    """L_edit and L_consist of one control, for codes whose parameters are to be exchanged."""

    def __init__(self, control: Control, loss: RenderLoss) -> None:
        super().__init__()
        self.control = control
        self.loss = loss

    def forward(
        self,
        requested: FaceParameters,
        own: FaceParameters,
        achieved: FaceParameters,
        requested_target: tuple[Tensor, Tensor],
        own_target: tuple[Tensor, Tensor],
        consistency: bool = True,
    ) -> tuple[Float[Tensor, ""], Float[Tensor, ""]]:
        """Both losses.

        Args:
            requested: p_v, whose component the edit takes.
            own: p_w.
            achieved: p_hat = F(w_hat).
            requested_target: Target of `RenderLoss` made of I_v.
            own_target: That made of I_w.
            consistency: Whether L_consist carries gradients; without, it takes less time.
        """
        component = self.control.component
        edit = requested.with_components_from(achieved, (component,))
        consist = own.with_components_from(achieved, preserved_components(component))
        with torch.set_grad_enabled(consistency and torch.is_grad_enabled()):
            kept = self.loss(*own_target, consist).total
        return self.loss(*requested_target, edit).total, kept
