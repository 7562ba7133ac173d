"""Latent codes on disk: W+ codes with their names, and the generator that they are codes of.

A code means a picture only together with its generator, so a file of codes carries a digest of that generator's weights. It is the
same for the same network in any file layout, and it does not depend on the statistics of W, which change no picture of a code.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from jaxtyping import Float, Int64
from torch import Tensor

from models.stylegan2.digest import generator_digest
from models.stylegan2.generator import Generator
from models.weights import FLOATS, build_from, load_weights, save_weights
from renderers.errors import InputError

CODES_KIND = "latent-codes"


@dataclass(frozen=True)
class LatentCodes:
    """Codes of one generator.

    Attributes:
        w_plus: (codes, layers, width), the codes.
        names: One name for each code, unique; pictures made of it are called so.
        generator_digest: Of the generator they belong to, from `generator_digest`.
        w: (codes, width), the codes of W that `w_plus` repeats for each layer, where it does.
        seeds: (codes), the seeds that codes were drawn from, where they were.
        truncation: Strength of the truncation that is already in the codes; None where it is not known.
    """

    w_plus: Float[Tensor, "codes layers width"]
    names: tuple[str, ...]
    generator_digest: str
    w: Float[Tensor, "codes width"] | None = None
    seeds: Int64[Tensor, " codes"] | None = None
    truncation: float | None = None

    def __post_init__(self) -> None:
        if self.w_plus.dim() != 3:
            raise InputError(f"expected codes (codes, layers, width), got {tuple(self.w_plus.shape)}; give W+ codes")
        count, _, width = self.w_plus.shape
        if self.w is not None and self.w.shape != (count, width):
            raise InputError(f"expected {count} codes of W of width {width}, got {tuple(self.w.shape)}; leave them out")
        if self.seeds is not None and self.seeds.shape != (count,):
            raise InputError(f"expected {count} seeds for as many codes, got {tuple(self.seeds.shape)}; leave them out")
        if len(self.names) != count or len(set(self.names)) != count:
            raise InputError(f"expected {count} different names for as many codes, got {len(self.names)}; name each code")
        for name in self.names:
            if not name or name in (".", "..") or not name.isprintable() or any(letter in name for letter in "/\\"):
                raise InputError(f"expected names of codes that can name files, got {name!r}; rename it")
        if self.truncation is not None and not math.isfinite(self.truncation):
            raise InputError(f"expected a finite truncation of codes, got {self.truncation}; leave it out where it is not known")

    def __len__(self) -> int:
        return len(self.names)

    def select(self, names: Sequence[str]) -> "LatentCodes":
        """The codes of these names, in this order.

        Raises:
            InputError: for a name that is not there.
        """
        missing = [name for name in names if name not in self.names]
        if missing:
            raise InputError(f"expected one of the codes {', '.join(self.names[:6])}, ..., got {missing[0]}; correct the name")
        rows = torch.tensor([self.names.index(name) for name in names], dtype=torch.int64)
        return LatentCodes(
            self.w_plus[rows],
            tuple(names),
            self.generator_digest,
            None if self.w is None else self.w[rows],
            None if self.seeds is None else self.seeds[rows],
            self.truncation,
        )

    def require(self, generator: Generator) -> None:
        """Refuse another generator than the one these are codes of.

        Raises:
            InputError: where the number of layers, the width, or the weights differ.
        """
        layers, width = self.w_plus.shape[1:]
        if (layers, width) != (generator.num_layers, generator.w_dim):
            raise InputError(
                f"expected codes of {generator.num_layers} layers of width {generator.w_dim} for this generator, got {layers} of "
                f"width {width}; name the generator they were made with"
            )
        if generator_digest(generator) != self.generator_digest:
            raise InputError(
                "expected the generator that these codes were made with, its weights differ; name that one, or make the codes anew"
            )


def save_codes(path: str | Path, codes: LatentCodes) -> Path:
    """Write codes as a safetensors file: tensors ``w_plus``, and ``w`` and ``seeds`` where there are; the rest is metadata."""
    tensors = {"w_plus": codes.w_plus, "w": codes.w, "seeds": codes.seeds}
    config = {"names": list(codes.names), "generator_digest": codes.generator_digest, "truncation": codes.truncation}
    return save_weights(path, {name: value for name, value in tensors.items() if value is not None}, CODES_KIND, config)


def load_codes(path: str | Path) -> LatentCodes:
    """Read codes that `save_codes` wrote.

    Args:
        path: The file, as given or relative to the project.

    Raises:
        InputError: if the file is missing, cut short, of another kind, or holds values that are not finite.
    """
    tensors, config = load_weights(path, CODES_KIND)
    w_plus, w, seeds = tensors.get("w_plus"), tensors.get("w"), tensors.get("seeds")
    if w_plus is None or not all(value is None or value.dtype in FLOATS for value in (w_plus, w)):
        raise InputError(f"expected floating-point codes w_plus, {path} has none; write it again")
    if seeds is not None and seeds.dtype != torch.int64:
        raise InputError(f"expected seeds of 64-bit integers, {path} has {seeds.dtype}; write it again")
    if not all(value is None or bool(torch.isfinite(value).all()) for value in (w_plus, w)):
        raise InputError(f"expected finite codes, {path} holds some that are not; write it again")
    if w_plus.dim() != 3 or (w is not None and w.dim() != 2) or (seeds is not None and seeds.dim() != 1):
        raise InputError(f"expected codes (codes, layers, width), {path} has {tuple(w_plus.shape)}; write it again")
    names, digest = config.get("names"), config.get("generator_digest")
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names) or not isinstance(digest, str):
        raise InputError(f"expected a list of names and a generator's digest beside codes, {path} has others; write it again")
    return build_from(
        path,
        lambda: LatentCodes(
            w_plus.float(),
            tuple(names),
            digest,
            None if w is None else w.float(),
            seeds,
            None if config["truncation"] is None else float(config["truncation"]),
        ),
    )
