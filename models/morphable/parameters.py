"""Typed container of the face parameters and their vector order.

The order is that of the public Basel-model tools: identity, expression, reflectance, rotation, illumination,
translation (80 + 64 + 80 + 3 + 27 + 3 = 257 with the default sizes). Identity and reflectance are in standard deviations
of the face model. Expression is in the unit of its basis: in the model that ships with the software and others of named
shapes, 1 is the shape at full strength; in the Basel model, a standard deviation. Rotation is in Euler radians (pitch,
yaw, roll; R = Rz Ry Rx, object to camera), illumination channel-major (3, 9) spherical-harmonic coefficients,
translation in the face model's unit (decimetre).
"""

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from typing import ClassVar

import torch
from jaxtyping import Float
from torch import Tensor

from renderers.errors import InputError

COMPONENTS: tuple[str, ...] = ("identity", "expression", "reflectance", "rotation", "illumination", "translation")


@dataclass(frozen=True)
class ParameterSizes:
    """How many coefficients each component has; pose and light are fixed by the camera and shading models."""

    identity: int = 80
    expression: int = 64
    reflectance: int = 80
    rotation: ClassVar[int] = 3
    illumination: ClassVar[int] = 27
    translation: ClassVar[int] = 3

    def __post_init__(self) -> None:
        for field in fields(self):
            if getattr(self, field.name) < 1:
                raise InputError(
                    f"expected at least one {field.name} coefficient, got {getattr(self, field.name)}; "
                    "give a positive size"
                )

    @property
    def widths(self) -> tuple[int, ...]:
        """Widths of the components in vector order."""
        return tuple(getattr(self, name) for name in COMPONENTS)

    @property
    def total(self) -> int:
        """Length of the packed vector."""
        return sum(self.widths)

    def slice(self, component: str) -> slice:
        """Where `component` lies in the packed vector."""
        check_components((component,))
        start = sum(self.widths[: COMPONENTS.index(component)])
        return slice(start, start + getattr(self, component))


def check_components(components: Sequence[str]) -> None:
    """Raise InputError unless every name is one of `COMPONENTS`."""
    for name in components:
        if name not in COMPONENTS:
            raise InputError(
                f"expected face parameter components among {', '.join(COMPONENTS)}, got '{name}'; rename it"
            )


@dataclass(frozen=True, eq=False)
class FaceParameters:
    """Face parameters of a batch, each (batch, n); immutable, moved and edited by making new ones."""

    identity: Float[Tensor, "batch identity"]
    expression: Float[Tensor, "batch expression"]
    reflectance: Float[Tensor, "batch reflectance"]
    rotation: Float[Tensor, "batch 3"]
    illumination: Float[Tensor, "batch 27"]
    translation: Float[Tensor, "batch 3"]

    def __post_init__(self) -> None:
        batch = self.identity.shape[:1]
        for name in COMPONENTS:
            value = getattr(self, name)
            if value.ndim != 2 or value.shape[:1] != batch:
                raise InputError(
                    f"expected {name} of shape (batch, n) with the batch of identity {tuple(self.identity.shape)}, "
                    f"got {tuple(value.shape)}; give every component the same batch"
                )
            width = getattr(ParameterSizes, name) if name in ("rotation", "illumination", "translation") else None
            if width is not None and value.shape[1] != width:
                raise InputError(f"expected {name} of width {width}, got shape {tuple(value.shape)}; correct its width")

    @staticmethod
    def zeros(
        batch: int,
        sizes: ParameterSizes = ParameterSizes(),
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> "FaceParameters":
        """The mean face in frontal pose with zero illumination coefficients."""
        return FaceParameters(*(torch.zeros(batch, width, device=device, dtype=dtype) for width in sizes.widths))

    @staticmethod
    def unpack(vector: Float[Tensor, "batch total"], sizes: ParameterSizes = ParameterSizes()) -> "FaceParameters":
        """Split a packed vector; the components are views of it, so gradients flow."""
        if vector.ndim != 2 or vector.shape[1] != sizes.total:
            raise InputError(
                f"expected a parameter vector of shape (batch, {sizes.total}), got {tuple(vector.shape)}; "
                "give the sizes of the face model it was made for"
            )
        return FaceParameters(*vector.split(sizes.widths, dim=1))

    @staticmethod
    def cat(parts: "Sequence[FaceParameters]") -> "FaceParameters":
        """Join batches."""
        return FaceParameters(*(torch.cat([getattr(part, name) for part in parts]) for name in COMPONENTS))

    def pack(self) -> Float[Tensor, "batch total"]:
        """One vector per sample, in the order of `COMPONENTS`."""
        return torch.cat([getattr(self, name) for name in COMPONENTS], dim=1)

    @property
    def sizes(self) -> ParameterSizes:
        return ParameterSizes(self.identity.shape[1], self.expression.shape[1], self.reflectance.shape[1])

    @property
    def device(self) -> torch.device:
        return self.identity.device

    @property
    def dtype(self) -> torch.dtype:
        return self.identity.dtype

    def replace(
        self,
        *,
        identity: Float[Tensor, "_ identity"] | None = None,
        expression: Float[Tensor, "_ expression"] | None = None,
        reflectance: Float[Tensor, "_ reflectance"] | None = None,
        rotation: Float[Tensor, "_ 3"] | None = None,
        illumination: Float[Tensor, "_ 27"] | None = None,
        translation: Float[Tensor, "_ 3"] | None = None,
    ) -> "FaceParameters":
        """A copy with the given components exchanged."""
        given = {
            "identity": identity,
            "expression": expression,
            "reflectance": reflectance,
            "rotation": rotation,
            "illumination": illumination,
            "translation": translation,
        }
        return replace(self, **{name: value for name, value in given.items() if value is not None})

    def with_components_from(self, other: "FaceParameters", components: Sequence[str]) -> "FaceParameters":
        """[theta_self^taubar, theta_other^tau] of PIE (Tewari et al. 2020, section 3).

        `components` (tau) are taken from `other`, the rest from this one.
        """
        check_components(components)
        if other.sizes != self.sizes or len(other) != len(self):
            raise InputError(
                f"expected parameters of batch {len(self)} and {self.sizes}, got batch {len(other)} and {other.sizes}; "
                "take both from the same face model and batch"
            )
        return replace(self, **{name: getattr(other, name) for name in components})

    def to(self, device: torch.device | str | None = None, dtype: torch.dtype | None = None) -> "FaceParameters":
        return FaceParameters(*(getattr(self, name).to(device=device, dtype=dtype) for name in COMPONENTS))

    def detach(self) -> "FaceParameters":
        return FaceParameters(*(getattr(self, name).detach() for name in COMPONENTS))

    def __len__(self) -> int:
        return self.identity.shape[0]

    def __getitem__(self, index: int | slice | Tensor) -> "FaceParameters":
        """Samples of the batch; an integer keeps a batch axis of one."""
        if isinstance(index, int):
            if not -len(self) <= index < len(self):
                raise IndexError(f"sample {index} of a batch of {len(self)}")
            index = slice(index % len(self), index % len(self) + 1)
        return FaceParameters(*(getattr(self, name)[index] for name in COMPONENTS))
