"""Linear directions of W along which one property of the picture changes, as InterFaceGAN finds them (Shen et al., CVPR 2020).

A direction is the unit normal n of a hyperplane that separates codes with little of a property from codes with much. Moving a code is
w + a n. Steps a have no unit of their own, so amounts are given in standard deviations of w . n over the codes that the direction was
found with: an amount of 1 is as large a step in any generator.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from models.stylegan2.digest import generator_digest
from models.stylegan2.generator import Generator
from models.weights import FLOATS, build_from, load_weights, save_weights
from renderers.errors import InputError

KIND = "latent-directions"
# How far from 1 the length of a normal may be: rounding of whoever wrote it.
_UNIT = 1e-3


@dataclass(frozen=True)
class DirectionQuality:
    """How well a direction tells codes apart that it was not found with.

    Attributes:
        accuracy: Share of the extremes of held-out codes that lie on the right side of the hyperplane; one half is chance.
        correlation: Pearson's, of w . n with the reading, over all held-out codes.
        low, high: Mean readings of the extremes that the direction was found with, in `unit`.
        unit: Of readings, as `models.stylerig.sliders.unit_of` names it.
        margin: Distance of the support-vector machine's margin from the hyperplane, in spreads; None in files of earlier versions.
        beyond_margin: Share of the held-out extremes that lie on the right side and outside the margin; None likewise.
    """

    accuracy: float
    correlation: float
    low: float
    high: float
    unit: str
    margin: float | None = None
    beyond_margin: float | None = None


@dataclass(frozen=True, eq=False)
class LatentDirection:
    """One direction, on the CPU.

    Attributes:
        name: What changes along it; of those that `lightning directions` writes, the slider that was read.
        normal: (width), of length 1, towards more of the property.
        spread: Standard deviation of w . n over codes of W: the unit of amounts.
        boundary: w . n on the hyperplane.
        quality: Measured on held-out codes; None for a direction from elsewhere.
    """

    name: str
    normal: Float[Tensor, " width"]
    spread: float
    boundary: float
    quality: DirectionQuality | None = None

    def __post_init__(self) -> None:
        if not self.name or not self.name.isprintable() or any(letter in self.name for letter in ":=/\\"):
            raise InputError(f"expected a name of a direction without : = / and \\, got {self.name!r}; rename it")
        length = float(torch.linalg.vector_norm(self.normal.double()))
        if not abs(length - 1) <= _UNIT:
            raise InputError(
                f"expected a normal of length 1 of the direction {self.name}, got {length:.4g}; divide it by that"
            )
        if not (math.isfinite(self.spread) and self.spread > 0 and math.isfinite(self.boundary)):
            raise InputError(
                f"expected a spread above 0 and a finite boundary of the direction {self.name}, got {self.spread} and {self.boundary}; "
                "find it again by 'lightning directions'"
            )

    def positions(self, codes: Float[Tensor, "batch layers width"]) -> Float[Tensor, " batch"]:
        """Signed distances of W+ codes from the hyperplane, in spreads, means over the layers."""
        return (codes.mean(dim=1) @ self.normal.to(codes) - self.boundary) / self.spread

    def move(
        self, codes: Float[Tensor, "batch layers width"], amount: float | Float[Tensor, " batch"]
    ) -> Float[Tensor, "batch layers width"]:
        """w + a n for the code of every layer; differentiable.

        Args:
            codes: W+ codes.
            amount: In spreads; one for all codes or one for each.

        Raises:
            InputError: for codes of another width.
        """
        if codes.shape[-1] != len(self.normal):
            raise InputError(
                f"expected codes of width {len(self.normal)} for the direction {self.name}, got {codes.shape[-1]}; "
                "use codes of its generator"
            )
        amounts = torch.as_tensor(amount, dtype=codes.dtype, device=codes.device).expand(len(codes))
        return codes + (self.spread * amounts)[:, None, None] * self.normal.to(codes)


@dataclass(frozen=True)
class LatentMove:
    """One step along a direction.

    Attributes:
        direction: Along which.
        amount: In spreads, for all codes.
    """

    direction: LatentDirection
    amount: float

    def __post_init__(self) -> None:
        if not math.isfinite(self.amount):
            raise InputError(f"expected a finite amount along {self.direction.name}, got {self.amount}; correct it")


@dataclass(frozen=True, eq=False)
class LatentDirections:
    """Directions of one generator that were found together.

    Attributes:
        directions: Of different names.
        generator_digest: Of the generator in whose W they lie.
        found: Plain JSON values on how they were found; empty for those from elsewhere.
    """

    directions: tuple[LatentDirection, ...]
    generator_digest: str
    found: Mapping[str, Any]

    def __post_init__(self) -> None:
        if not self.directions or len(set(self.names)) < len(self.names):
            raise InputError(
                f"expected directions of different names, got {', '.join(self.names) or 'none'}; name each once"
            )
        if len({direction.normal.shape for direction in self.directions}) > 1:
            raise InputError(
                "expected directions of one width, got several; keep those of each generator in a file of their own"
            )

    @property
    def names(self) -> tuple[str, ...]:
        """Names in the order of the directions."""
        return tuple(direction.name for direction in self.directions)

    def named(self, name: str) -> LatentDirection:
        """The direction of a name.

        Raises:
            InputError: where there is none.
        """
        for direction in self.directions:
            if direction.name == name:
                return direction
        raise InputError(f"expected one of the directions {', '.join(self.names)}, got {name!r}; correct the name")

    def angles_deg(self) -> Float[Tensor, "directions directions"]:
        """Angles between the normals in W, in degrees: below 90 where moving along one also moves along the other."""
        normals = torch.stack([direction.normal.double() for direction in self.directions])
        normals = normals / torch.linalg.vector_norm(normals, dim=1, keepdim=True)
        return (normals @ normals.T).clamp(-1, 1).acos().rad2deg().fill_diagonal_(0.0).float()

    def require(self, generator: Generator) -> None:
        """Refuse another generator than the one in whose W the directions lie.

        Raises:
            InputError: where its weights differ.
        """
        if generator_digest(generator) != self.generator_digest:
            raise InputError(
                "expected the generator in whose W these directions were found, its weights differ; find them anew by "
                "'lightning directions'"
            )


def move_codes(
    codes: Float[Tensor, "batch layers width"], moves: Sequence[LatentMove]
) -> Float[Tensor, "batch layers width"]:
    """Codes moved along any number of directions; their order does not matter."""
    for move in moves:
        codes = move.direction.move(codes, move.amount)
    return codes


def save_directions(path: str | Path, directions: LatentDirections) -> Path:
    """Write directions as a safetensors file: a tensor ``normals`` (directions, width); the rest is metadata."""
    entries = [
        {
            "name": each.name,
            "spread": each.spread,
            "boundary": each.boundary,
            "quality": None if each.quality is None else asdict(each.quality),
        }
        for each in directions.directions
    ]
    config = {"directions": entries, "generator_digest": directions.generator_digest, "found": dict(directions.found)}
    return save_weights(path, {"normals": torch.stack([each.normal for each in directions.directions])}, KIND, config)


def load_directions(path: str | Path) -> LatentDirections:
    """Read directions that `save_directions` wrote.

    Raises:
        InputError: if the file is missing, cut short, of another kind, or holds values that are none of directions.
    """
    tensors, config = load_weights(path, KIND)
    normals = tensors.get("normals")
    if normals is None or normals.dtype not in FLOATS or normals.dim() != 2 or not bool(torch.isfinite(normals).all()):
        raise InputError(f"expected finite normals (directions, width) in {path}, it has others; write it again")
    return build_from(path, lambda: _built(normals.float(), config))


def _built(normals: Float[Tensor, "directions width"], config: Mapping[str, Any]) -> LatentDirections:
    return LatentDirections(
        tuple(
            LatentDirection(
                str(entry["name"]),
                normal,
                float(entry["spread"]),
                float(entry["boundary"]),
                None if entry["quality"] is None else _quality(**entry["quality"]),
            )
            for normal, entry in zip(normals, config["directions"], strict=True)
        ),
        str(config["generator_digest"]),
        dict(config["found"]),
    )


def _quality(
    accuracy: float,
    correlation: float,
    low: float,
    high: float,
    unit: str,
    margin: float | None = None,
    beyond_margin: float | None = None,
) -> DirectionQuality:
    margin, beyond_margin = (None if value is None else float(value) for value in (margin, beyond_margin))
    return DirectionQuality(
        float(accuracy), float(correlation), float(low), float(high), str(unit), margin, beyond_margin
    )
