"""Whose faces ``lightning lift`` shows, and in whose styles: as they are asked for, before networks are read."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from evaluation.edit_subjects import EditSubjects, load_subjects
from evaluation.lifted_gan.subjects import (
    LiftSubjects,
    check_truncation,
    subjects_of_codes,
    subjects_of_photos,
    subjects_of_seeds,
)
from models.portrait_embedding import is_embedding
from models.stylegan2 import Generator
from models.stylegan2.sampling import parse_seeds
from models.weights import locate
from renderers.errors import InputError

# What lifted generators are trained with (authors' release).
_TRUNCATION = 0.7


@dataclass(frozen=True)
class AskedCodes:
    """One of the three.

    Attributes:
        codes: Codes or embeddings.
        photos: Folder of photos, of which `names` are wanted, all for none.
        seeds: Seeds, whose codes are truncated by `truncation`.
    """

    codes: EditSubjects | None = None
    photos: Path | None = None
    names: tuple[str, ...] = ()
    seeds: tuple[int, ...] = ()
    truncation: float = _TRUNCATION

    def read(self, generator: Generator, encoder: Path, batch_size: int) -> LiftSubjects:
        """Their codes of W.

        Args:
            generator: Whose codes they are.
            encoder: Weights of the code encoder, read for photos alone.
            batch_size: Photos read together.

        Raises:
            InputError: for codes, an encoder or photos that do not suit the generator, and names that are not there.
        """
        if self.codes is not None:
            return subjects_of_codes(self.codes, generator)
        if self.photos is not None:
            return subjects_of_photos(self.photos, encoder, generator, batch_size).select(self.names)
        return subjects_of_seeds(self.seeds, self.truncation, generator)


def asked_codes(
    codes: Path | None, photos: Path | None, seeds: str | None, truncation: float | None, names: Sequence[str]
) -> AskedCodes:
    """What options ask for.

    Raises:
        InputError: unless it is one of the three, for options that do not go with it, and files that cannot be read.
    """
    options = {"--codes": codes, "--photos": photos, "--seeds": seeds}
    given = [option for option, value in options.items() if value is not None]
    if len(given) != 1:
        raise InputError(f"expected one of {', '.join(options)}, got {' and '.join(given) or 'none'}; give one of them")
    if truncation is not None:
        check_truncation(truncation)
        if seeds is None:
            raise InputError(f"expected --truncation with --seeds, got it with {given[0]}; leave it out")
    if codes is not None:
        subjects = load_subjects(codes)
        return AskedCodes(subjects.select(names) if names else subjects)
    if photos is not None:
        return AskedCodes(photos=photos, names=tuple(names))
    if names:
        raise InputError("expected --names with --codes or --photos, got it with --seeds; name the seeds alone")
    return AskedCodes(
        seeds=tuple(parse_seeds(seeds or "")), truncation=_TRUNCATION if truncation is None else truncation
    )


def asked_styles(style: Path) -> AskedCodes:
    """A file of codes, an embedding, a folder of embeddings, or another folder, of photos.

    Raises:
        InputError: for a file that is missing, damaged or of another kind.
    """
    place = locate(style)
    if place.is_dir() and not any(is_embedding(path) for path in place.glob("*.safetensors")):
        return AskedCodes(photos=place)
    return AskedCodes(load_subjects(place))
