"""Embedded portraits on disk: the code that PIE found for a photo, with all that is needed to edit it and to paste it back."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import torch
from jaxtyping import Float, UInt8
from torch import Tensor

from models.latent_codes import LatentCodes
from models.weights import FLOATS, build_from, describe_weights, load_weights, save_weights
from renderers.errors import InputError

KIND = "portrait-embedding"
SUFFIX = ".safetensors"
Source = Literal["photo", "portrait", "sample"]


@dataclass(frozen=True, eq=False)
class PortraitEmbedding:
    """One portrait's embedding, on the CPU.

    Attributes:
        name: Stem of its file; of the photo's name.
        source: "photo", a synthetic "portrait", or a generator's "sample".
        origin: Plain JSON values on where the portrait is from: of a photo its `path`, `sha256` and `transform` (`FaceTransform` as a
            dict, None for one that was aligned already); of a portrait or sample its `index` and `seed`.
        w_plus: (layers, width), the embedding.
        w: (width), the end of the first stage; None for an optimisation that starts in W+.
        image: (3, S, S) the aligned portrait at the generator's resolution, as it was embedded.
        landmarks: (68, 2) of it, in its pixels, as the landmark network saw them.
        parameters: (total) packed, theta_I = MoFA(I).
        truth: (total) packed true parameters of a synthetic portrait; None for others.
        energies: At the end, unweighted terms by name, and `total`, weighted; in the module's normalisation.
        settings: Plain JSON values: what it was embedded with.
        generator_digest: Of the generator whose code it is.
    """

    name: str
    source: Source
    origin: dict[str, Any]
    w_plus: Float[Tensor, "layers width"]
    w: Float[Tensor, " width"] | None
    image: UInt8[Tensor, "3 size size"]
    landmarks: Float[Tensor, "68 2"]
    parameters: Float[Tensor, " total"]
    truth: Float[Tensor, " total"] | None
    energies: dict[str, float]
    settings: dict[str, Any]
    generator_digest: str

    def __post_init__(self) -> None:
        if self.source not in ("photo", "portrait", "sample"):
            raise InputError(
                f"expected an embedding of a photo, portrait or sample, got one of {self.source!r}; embed it again"
            )
        shapes = (self.w_plus.dim(), self.image.dim(), tuple(self.landmarks.shape), self.parameters.dim())
        if shapes != (2, 3, (68, 2), 1) or (self.w is not None and self.w.shape != self.w_plus.shape[1:]):
            raise InputError(
                f"expected w_plus (layers, width) with its portrait, got {tuple(self.w_plus.shape)}; embed it again"
            )

    @property
    def pixels(self) -> Float[Tensor, "3 size size"]:
        """The aligned portrait in [-1, 1]."""
        return self.image.float() / 127.5 - 1


def save_embedding(path: str | Path, embedding: PortraitEmbedding) -> Path:
    """Write an embedding, whole or not at all."""
    tensors = {
        "w_plus": embedding.w_plus,
        "w": embedding.w,
        "image": embedding.image,
        "landmarks": embedding.landmarks,
        "parameters": embedding.parameters,
        "truth": embedding.truth,
    }
    config = {
        "source": embedding.source,
        "origin": embedding.origin,
        "energies": embedding.energies,
        "settings": embedding.settings,
        "generator_digest": embedding.generator_digest,
    }
    return save_weights(path, {name: value for name, value in tensors.items() if value is not None}, KIND, config)


def load_embedding(path: str | Path) -> PortraitEmbedding:
    """Read an embedding that `save_embedding` wrote; its name is the file's stem.

    Raises:
        InputError: if the file is missing, cut short, of another kind, or holds values that are not finite.
    """
    tensors, config = load_weights(path, KIND)
    floats = {name: value for name, value in tensors.items() if name != "image"}
    fits = all(value.dtype in FLOATS and bool(torch.isfinite(value).all()) for value in floats.values())
    if not fits or "image" not in tensors or tensors["image"].dtype != torch.uint8:
        raise InputError(f"expected a portrait of bytes and finite codes in {path}, it holds others; embed it again")
    return build_from(path, lambda: _built(Path(path).stem, tensors, config))


def load_embeddings(folder: str | Path) -> list[PortraitEmbedding]:
    """All embeddings of a folder, or the one of a file, by name; they are of one generator.

    Raises:
        InputError: where there is none, or they are of several generators.
    """
    place = Path(folder)
    paths = [place] if place.is_file() else sorted(path for path in place.glob(f"*{SUFFIX}") if is_embedding(path))
    if not paths:
        raise InputError(
            f"expected embeddings in {folder}, found none; embed photos by 'lightning fit --config configs/demo/pie.yaml'"
        )
    embeddings = [load_embedding(path) for path in paths]
    if len({embedding.generator_digest for embedding in embeddings}) > 1:
        raise InputError(
            f"expected embeddings of one generator in {folder}, got those of several; keep each in a folder of its own"
        )
    return embeddings


def is_embedding(path: Path) -> bool:
    """Whether a file says of itself that it holds an embedding."""
    try:
        return describe_weights(path).kind == KIND
    except InputError:
        return False


def codes_of(embeddings: Sequence[PortraitEmbedding]) -> LatentCodes:
    """The W+ codes of embeddings under their names, as `lightning edit` takes them."""
    return LatentCodes(
        torch.stack([embedding.w_plus for embedding in embeddings]),
        tuple(embedding.name for embedding in embeddings),
        embeddings[0].generator_digest,
    )


def _built(name: str, tensors: Mapping[str, Tensor], config: Mapping[str, Any]) -> PortraitEmbedding:
    w, truth = tensors.get("w"), tensors.get("truth")
    return PortraitEmbedding(
        name,
        config["source"],
        dict(config["origin"]),
        tensors["w_plus"].float(),
        None if w is None else w.float(),
        tensors["image"],
        tensors["landmarks"].float(),
        tensors["parameters"].float(),
        None if truth is None else truth.float(),
        {str(key): float(value) for key, value in config["energies"].items()},
        dict(config["settings"]),
        str(config["generator_digest"]),
    )
