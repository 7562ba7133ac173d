"""Fitted faces on disk: shards that are written whole or not at all, and say what they were fitted with.

A shard holds the fits that are relied on, with their numbers and codes, and beside them the numbers of those that failed and why.
Codes of one latent are kept once rather than for each layer.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float, Int64
from torch import Tensor

from datamodules.face_fits.fitting import FAILURES, FaceFits
from models.morphable import FaceParameters, ParameterSizes
from models.stylerig.provenance import Provenance
from models.weights import FLOATS, build_from, load_weights, save_weights
from renderers.errors import InputError

KIND = "fitted-faces"
_PREFIX, _SUFFIX = "faces-", ".safetensors"
_NUMBERS = ("parameters", "landmark_error", "colour_error", "loss")
_INTEGERS = ("indices", "steps", "failed", "reasons")


@dataclass(frozen=True, eq=False)
class FitPlan:
    """Which faces a folder holds. Shards of equal descriptions belong together; a larger count continues a smaller one.

    Attributes:
        count: Faces in all.
        shard_size: Faces of a file.
        description: Plain JSON values that say what is fitted with what.
        provenance: What codes and parameters belong to.
        sizes: Of the parameters.
    """

    count: int
    shard_size: int
    description: Mapping[str, Any]
    provenance: Provenance
    sizes: ParameterSizes

    def __post_init__(self) -> None:
        if min(self.count, self.shard_size) < 1:
            raise InputError(
                f"expected faces and a shard_size of 1 or more, got {self.count} and {self.shard_size}; raise them"
            )

    @property
    def shards(self) -> int:
        return -(-self.count // self.shard_size)

    def numbers(self, shard: int) -> range:
        """Faces of a shard."""
        return range(shard * self.shard_size, min((shard + 1) * self.shard_size, self.count))

    def path(self, folder: Path, shard: int) -> Path:
        """File of a shard; a last, shorter one has a name of its own."""
        numbers = self.numbers(shard)
        return folder / f"{_PREFIX}{numbers.start:08d}-{numbers.stop:08d}{_SUFFIX}"


@dataclass(frozen=True, eq=False)
class FittedFaces:
    """Fits that are relied on, of one or more shards, on the CPU.

    Attributes:
        indices: Numbers of the faces, rising.
        codes: (faces, layers, width), or (faces, 1, width) where every layer has the same; None for photos.
        layers: Of the codes; 0 for photos.
        parameters: Packed.
        landmark_error, colour_error, loss, steps: See `FaceFits`; `steps` are those after the rigid ones.
        names: Of the faces.
        failed: Numbers of the faces that are left out.
        reasons: Why, as indices into `FAILURES`.
        sizes: Of the parameters.
        provenance: What they belong to.
        description: See `FitPlan`.
    """

    indices: Int64[Tensor, " faces"]
    codes: Float[Tensor, "faces stored width"] | None
    layers: int
    parameters: Float[Tensor, "faces total"]
    landmark_error: Float[Tensor, " faces"]
    colour_error: Float[Tensor, " faces"]
    loss: Float[Tensor, " faces"]
    steps: Int64[Tensor, " faces"]
    names: tuple[str, ...]
    failed: Int64[Tensor, " failed"]
    reasons: Int64[Tensor, " failed"]
    sizes: ParameterSizes
    provenance: Provenance
    description: Mapping[str, Any]

    def __post_init__(self) -> None:
        count = len(self.indices)
        lengths = {len(getattr(self, name)) for name in (*_NUMBERS, "steps", "names")}
        stored = (
            None if self.codes is None else (self.codes.dim(), len(self.codes), self.codes.shape[1] in (1, self.layers))
        )
        if (
            lengths != {count}
            or self.parameters.shape[1:] != (self.sizes.total,)
            or stored not in (None, (3, count, True))
        ):
            raise InputError(f"expected entries of {count} faces in a file of fitted faces, got others; fit them again")
        if len(self.failed) != len(self.reasons) or not bool(
            ((self.reasons > 0) & (self.reasons < len(FAILURES))).all()
        ):
            raise InputError("expected a known reason for every failed face, got others; fit them again")

    def __len__(self) -> int:
        return len(self.indices)

    def fitted(self) -> FaceParameters:
        """The parameters by component."""
        return FaceParameters.unpack(self.parameters, self.sizes)

    def codes_of(self, rows: Int64[Tensor, " rows"]) -> Float[Tensor, "rows layers width"]:
        """W+ codes of some rows.

        Raises:
            InputError: for photos, which have none.
        """
        if self.codes is None:
            raise InputError(
                "expected fitted faces of a generator, these are of photos, which have no codes; fit a generator's"
            )
        return self.codes[rows].expand(-1, self.layers, -1)

    def counts(self) -> dict[str, int]:
        """Faces that are kept, and that are left out for each reason."""
        left_out = {reason: int((self.reasons == number).sum()) for number, reason in enumerate(FAILURES) if number}
        return {FAILURES[0]: len(self), **left_out}


def save_shard(
    path: Path, plan: FitPlan, numbers: range, fits: FaceFits, codes: Tensor | None, names: tuple[str, ...]
) -> Path:
    """Write a shard, whole or not at all."""
    kept = (fits.failure == 0).cpu()
    everyone = torch.arange(numbers.start, numbers.stop)
    tensors = {
        "indices": everyone[kept],
        "parameters": fits.parameters.pack().cpu()[kept],
        "landmark_error": fits.landmark_error.cpu()[kept],
        "colour_error": fits.colour_error.cpu()[kept],
        "loss": fits.loss.cpu()[kept],
        "steps": fits.steps.cpu()[kept],
        "failed": everyone[~kept],
        "reasons": fits.failure.cpu()[~kept],
    }
    layers = 0
    if codes is not None:
        layers = codes.shape[1]
        tensors["codes"] = codes[kept, :1] if bool((codes == codes[:, :1]).all()) else codes[kept]
    config = {
        "plan": dict(plan.description),
        "layers": layers,
        "names": [name for name, keep in zip(names, kept.tolist(), strict=True) if keep],
        "sizes": {
            "identity": plan.sizes.identity,
            "expression": plan.sizes.expression,
            "reflectance": plan.sizes.reflectance,
        },
        "provenance": plan.provenance.to_config(),
    }
    return save_weights(path, tensors, KIND, config)


def load_shard(path: str | Path) -> FittedFaces:
    """Read one file of fitted faces.

    Raises:
        InputError: if it is missing, cut short, of another kind, or holds values that are none of fitted faces.
    """
    tensors, config = load_weights(path, KIND)
    missing = [name for name in (*_NUMBERS, *_INTEGERS) if name not in tensors]
    if missing:
        raise InputError(f"expected {missing[0]} in a file of fitted faces, {path} has none; fit them again")
    floats = [tensors[name] for name in (*_NUMBERS, "codes") if name in tensors]
    fits = all(value.dtype in FLOATS and bool(torch.isfinite(value).all()) for value in floats)
    shapes = all(tensors[name].dim() == (2 if name == "parameters" else 1) for name in (*_NUMBERS, *_INTEGERS))
    if not fits or not shapes or any(tensors[name].dtype != torch.int64 for name in _INTEGERS):
        raise InputError(f"expected finite numbers of fitted faces in {path}, it holds others; fit them again")
    return build_from(path, lambda: _built(tensors, config))


def find_shards(folder: Path) -> list[Path]:
    """Files of fitted faces in a folder, in the order of their numbers."""
    return sorted(folder.glob(f"{_PREFIX}*{_SUFFIX}"))


def load_fitted_faces(folder: str | Path) -> FittedFaces:
    """All fitted faces of a folder, in the order of their numbers, or those of one file.

    Raises:
        InputError: where there is none, or they were fitted with different things or twice.
    """
    place = Path(folder)
    paths = [place] if place.is_file() else find_shards(place)
    if not paths:
        raise InputError(f"expected fitted faces in {folder}, found none; fit them by 'lightning fit-faces'")
    return join_shards([load_shard(path) for path in paths], folder)


def join_shards(parts: list[FittedFaces], folder: str | Path) -> FittedFaces:
    """Shards as one; `folder` is named in errors."""
    first = parts[0]
    for part in parts[1:]:
        # The face model and camera, which descriptions leave to it.
        part.provenance.check(first.provenance, str(folder))
        if (
            dict(part.description) != dict(first.description)
            or part.layers != first.layers
            or part.sizes != first.sizes
        ):
            raise InputError(
                f"expected fits of one kind in {folder}, got those of several; keep each in a folder of its own"
            )
    seen = torch.cat([numbers for part in parts for numbers in (part.indices, part.failed)])
    if len(seen.unique()) < len(seen):
        raise InputError(
            f"expected each face once in {folder}, some are there twice; remove the shorter of its files that overlap"
        )
    joined = {name: torch.cat([getattr(part, name) for part in parts]) for name in (*_NUMBERS, *_INTEGERS)}
    codes = [part.codes for part in parts if part.codes is not None]
    # Shards of mixed codes may happen to hold none that differ between layers.
    wide = any(part.shape[1] > 1 for part in codes)
    return FittedFaces(
        codes=torch.cat([part.expand(-1, first.layers, -1) if wide else part for part in codes]) if codes else None,
        layers=first.layers,
        names=tuple(name for part in parts for name in part.names),
        sizes=first.sizes,
        provenance=first.provenance,
        description=first.description,
        **joined,
    )


def _built(tensors: Mapping[str, Tensor], config: Mapping[str, Any]) -> FittedFaces:
    codes = tensors.get("codes")
    numbers = {name: tensors[name].float() for name in _NUMBERS}
    return FittedFaces(
        codes=None if codes is None else codes.float(),
        layers=int(config["layers"]),
        names=tuple(str(name) for name in config["names"]),
        sizes=ParameterSizes(**config["sizes"]),
        provenance=Provenance.from_config(config["provenance"]),
        description=dict(config["plan"]),
        **numbers,
        **{name: tensors[name] for name in _INTEGERS},
    )
