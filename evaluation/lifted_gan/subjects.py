"""What is lifted: codes of W, from files of codes, embeddings, photos through a code encoder, or seeds."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from jaxtyping import Float
from torch import Tensor

from datamodules.face_fits.sources import FolderFaces
from evaluation.edit_subjects import EditSubjects
from models.code_encoder import CodeEncoder
from models.stylegan2 import Generator
from models.stylegan2.sampling import codes_of_seeds
from renderers.errors import InputError

# Layers of a W+ code that differ by less repeat one code of W.
_SAME = 1e-5


@dataclass(frozen=True)
class LiftSubjects:
    """Codes of W, on the CPU.

    Attributes:
        names: Of each.
        w: Codes of W.
        w_plus: The W+ codes that they stand for; repeated from `w` where there are no others.
        portraits: (N, 3, S, S) in [-1, 1]: photos that they were found for; None for codes from elsewhere.
        note: What was done to get from W+ to W; empty for nothing.
    """

    names: tuple[str, ...]
    w: Float[Tensor, "codes w_dim"]
    w_plus: Float[Tensor, "codes layers w_dim"]
    portraits: Float[Tensor, "codes 3 size size"] | None = None
    note: str = ""

    def __len__(self) -> int:
        return len(self.names)

    def select(self, names: Sequence[str]) -> "LiftSubjects":
        """Those of these names, in this order; all for none.

        Raises:
            InputError: for a name that is not there.
        """
        if not names:
            return self
        missing = [name for name in names if name not in self.names]
        if missing:
            raise InputError(
                f"expected one of the photos {', '.join(self.names[:6])}, ..., got {missing[0]}; correct the name"
            )
        rows = [self.names.index(name) for name in names]
        portraits = None if self.portraits is None else self.portraits[rows]
        return LiftSubjects(tuple(names), self.w[rows], self.w_plus[rows], portraits, self.note)


def subjects_of_codes(subjects: EditSubjects, generator: Generator) -> LiftSubjects:
    """Codes of a file, or embeddings; W+ codes become codes of W, since a lifted generator takes those.

    That is the code of W of an embedding's first stage where it has one, else the mean over the layers.

    Raises:
        InputError: for codes of another generator.
    """
    codes = subjects.codes
    codes.require(generator)
    mean = codes.w_plus.mean(dim=1)
    several = (codes.w_plus - mean[:, None]).abs().amax(dim=(1, 2)) > _SAME
    w = mean if codes.w is None else codes.w
    stages = 0
    if subjects.embeddings:
        found = [embedding.w for embedding in subjects.embeddings]
        stages = sum(bool(own) and each is not None for own, each in zip(several, found, strict=True))
        w = torch.stack([own if each is None else each for own, each in zip(w, found, strict=True)])
    averaged = int(several.sum()) - stages if codes.w is None else 0
    said = [f"{stages} by the code of W of their first stage"] * (stages > 0)
    said += [f"{averaged} by the mean over their layers"] * (averaged > 0)
    note = (
        f"a lifted generator takes codes of W: of {len(codes)} codes of W+ stand in {' and '.join(said)}"
        if said
        else ""
    )
    portraits = None
    if subjects.embeddings:
        portraits = torch.stack([embedding.pixels for embedding in subjects.embeddings])
    return LiftSubjects(codes.names, w, codes.w_plus, portraits, note)


def subjects_of_seeds(seeds: Sequence[int], truncation: float, generator: Generator) -> LiftSubjects:
    """Codes that `lightning generate` has for these seeds.

    Raises:
        InputError: for a truncation outside 0 to 1.
    """
    check_truncation(truncation)
    w = codes_of_seeds(generator, seeds, truncation)
    return LiftSubjects(tuple(f"seed{seed:04d}" for seed in seeds), w, generator.broadcast(w))


@torch.no_grad()
def subjects_of_photos(
    folder: Path, encoder_path: str | Path, generator: Generator, batch_size: int = 16
) -> LiftSubjects:
    """Aligned square photos of a folder, each by the code of W that a code encoder reads from it.

    Args:
        folder: With its subfolders; names are paths below it, joined by underscores.
        encoder_path: Weights of a `CodeEncoder` of this generator.
        generator: On the device to compute on.
        batch_size: Photos read together.

    Raises:
        InputError: for a folder without photos, photos that are not square or too small, or an encoder of another generator.
    """
    device = generator.mean_w.device
    encoder = CodeEncoder.load(encoder_path, generator).to(device)
    source = FolderFaces(folder, generator.resolution)
    parts = [
        source.faces(range(start, min(start + batch_size, source.count)), device)
        for start in range(0, source.count, batch_size)
    ]
    w = torch.cat([encoder(part.images).cpu() for part in parts])
    names = tuple("_".join(Path(name).with_suffix("").parts) for part in parts for name in part.names)
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice is not None:
        raise InputError(f"expected photos of different names, got two called {twice} in {folder}; rename one")
    return LiftSubjects(names, w, generator.broadcast(w), torch.cat([part.images.cpu() for part in parts]))


def check_truncation(truncation: float) -> None:
    """Raise InputError for a truncation that a lifted generator is not trained for."""
    if not 0 <= truncation <= 1:
        raise InputError(
            f"expected a truncation from 0 to 1, got {truncation}; lifted generators are trained with 0.7 or so, 1 leaves codes alone"
        )
