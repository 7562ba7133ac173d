"""What is edited: codes from a file, or embedded portraits, which bring their photos along."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import UInt8

from models.latent_codes import LatentCodes, load_codes
from models.portrait_embedding import PortraitEmbedding, codes_of, is_embedding, load_embeddings
from models.weights import locate


@dataclass(frozen=True)
class EditSubjects:
    """Codes, and where they are embeddings, these.

    Attributes:
        codes: What is edited.
        embeddings: One for each code, in their order; none for codes from elsewhere.
    """

    codes: LatentCodes
    embeddings: tuple[PortraitEmbedding, ...] = ()

    def select(self, names: Sequence[str]) -> "EditSubjects":
        """Those of these names, in this order.

        Raises:
            InputError: for a name that is not there.
        """
        found = {embedding.name: embedding for embedding in self.embeddings}
        return EditSubjects(self.codes.select(names), tuple(found[name] for name in names) if found else ())

    def portrait(self, row: int) -> UInt8[np.ndarray, "size size 3"] | None:
        """The portrait that a code was found for; None of a code from elsewhere."""
        return self.embeddings[row].image.permute(1, 2, 0).numpy() if self.embeddings else None


def load_subjects(path: str | Path) -> EditSubjects:
    """Codes of a file, or embeddings of a file or a folder.

    Raises:
        InputError: if it is missing, damaged, of another kind, or a folder without embeddings.
    """
    place = locate(path)
    if place.is_dir() or is_embedding(place):
        embeddings = load_embeddings(place)
        return EditSubjects(codes_of(embeddings), tuple(embeddings))
    return EditSubjects(load_codes(place))
