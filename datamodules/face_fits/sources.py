"""Where the pictures come from whose faces are fitted: a generator's codes, or a folder of aligned photos."""

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol, runtime_checkable

import torch
from jaxtyping import Float
from torch import Tensor

from datamodules.latent_pairs import PairRecipe
from datamodules.photo_folder import check_photos, find_photos, read_photo
from models.stylegan2 import Generator
from models.stylegan2.digest import generator_digest
from renderers.errors import InputError


class FacePictures(NamedTuple):
    """Some faces to fit.

    Attributes:
        images: (B, 3, S, S) in [-1, 1], on the asked device.
        codes: (B, layers, width) codes that they are pictures of; None for photos.
        names: One for each; paths of photos below their folder.
    """

    images: Float[Tensor, "batch 3 size size"]
    codes: Float[Tensor, "batch layers width"] | None
    names: tuple[str, ...]


@runtime_checkable
class FaceSource(Protocol):
    """Numbered faces; each follows from its number alone."""

    # For the type checker only: see `datamodules.latent_pairs.CodeGenerator`.
    if TYPE_CHECKING:
        count: int
        resolution: int

    def describe(self) -> dict[str, Any]:
        """Plain JSON values: equal for sources whose faces of the same number are the same."""

    def faces(self, numbers: Sequence[int], device: torch.device) -> FacePictures:
        """The faces of these numbers."""


class GeneratedFaces:
    """Pictures of random codes of a generator: code i is that of pair i // 2 of `PairRecipe`, its first or its second.

    Args:
        generator: StyleGAN2, on the device that faces are asked on.
        recipe: Of the codes; one latent for all layers by default, as StyleFaceUV's release draws them.
        count: Number of codes.

    Raises:
        InputError: for no codes.
    """

    def __init__(self, generator: Generator, recipe: PairRecipe, count: int) -> None:
        if count < 1:
            raise InputError(f"expected one code or more, got {count}; StyleFaceUV fits 36,000")
        self.generator, self.recipe, self.count = generator, recipe, count
        self.resolution = generator.resolution

    def describe(self) -> dict[str, Any]:
        recipe = self.recipe
        return {
            "generator": generator_digest(self.generator),
            "seed": recipe.seed,
            "max_latents": recipe.max_latents,
            "truncation": recipe.truncation,
        }

    @torch.no_grad()
    def faces(self, numbers: Sequence[int], device: torch.device) -> FacePictures:
        wanted = torch.tensor(numbers, dtype=torch.int64, device=device)
        pairs, place = (wanted // 2).unique(return_inverse=True)
        made = self.recipe.pairs(self.generator, "train", pairs)
        codes = torch.stack([made.w, made.v], dim=1)[place, wanted % 2]
        images = self.generator.synthesis(codes, noise="const").clamp(-1, 1)
        return FacePictures(images, codes, tuple(f"{number:08d}" for number in numbers))


class FolderFaces:
    """Aligned square photos under a folder, in the order of their paths.

    Args:
        root: The folder.
        image_size: Pixels that photos are reduced to; none is smaller.

    Raises:
        InputError: for a folder without photos, or photos that are not square or too small.
    """

    def __init__(self, root: str | Path, image_size: int) -> None:
        self.root, self.resolution = Path(root).expanduser(), image_size
        self.paths = find_photos(self.root)
        check_photos(self.paths, image_size)
        self.count = len(self.paths)

    def describe(self) -> dict[str, Any]:
        digest = hashlib.sha256()
        for path in self.paths:
            # Of what it holds: a photo that replaces another may be as long.
            with path.open("rb") as file:
                contents = hashlib.file_digest(file, "sha256").hexdigest()
            digest.update(f"{path.relative_to(self.root).as_posix()}\n{contents}\n".encode())
        return {"photos": digest.hexdigest(), "image_size": self.resolution}

    def faces(self, numbers: Sequence[int], device: torch.device) -> FacePictures:
        paths = [self.paths[number] for number in numbers]
        images = torch.stack([read_photo(path, self.resolution) for path in paths]).to(device)
        return FacePictures(
            images.float() / 127.5 - 1, None, tuple(path.relative_to(self.root).as_posix() for path in paths)
        )
