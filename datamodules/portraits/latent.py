"""The latent vector of a portrait: its layout, and the latents of numbered people and shots."""

from dataclasses import dataclass, fields

import torch
from jaxtyping import Float, Int64
from torch import Tensor

from datamodules.counter_random import normal, sample_keys
from renderers.errors import InputError

# Numbers of people and of shots per person; together the 2^48 samples of a stream.
_PEOPLE, _SHOTS = 1 << 28, 1 << 20
_PERSON_STREAM, _SHOT_STREAM = 64, 65


@dataclass(frozen=True)
class LatentLayout:
    """Widths of the parts of a portrait latent, in their order in the vector.

    The first parts belong to the person (they stay the same between the shots of one person), the others to the shot.
    Every part is standard normal; `sampler` and `controls` say what each number does.
    """

    identity: int = 80
    reflectance: int = 80
    hair: int = 12
    face_hair: int = 4
    iris: int = 2
    complexion: int = 4
    expression: int = 16
    rotation: int = 3
    placement: int = 3
    gaze: int = 2
    light: int = 12
    glasses: int = 3
    clothes: int = 8
    background: int = 18
    photo: int = 3

    @property
    def person(self) -> int:
        """Width of the parts that belong to the person."""
        return self.identity + self.reflectance + self.hair + self.face_hair + self.iris + self.complexion

    @property
    def total(self) -> int:
        return sum(getattr(self, field.name) for field in fields(self))

    @property
    def slices(self) -> dict[str, slice]:
        """Where each part lies in the vector."""
        result, start = {}, 0
        for field in fields(self):
            width = getattr(self, field.name)
            result[field.name] = slice(start, start + width)
            start += width
        return result

    def split(self, latents: Float[Tensor, "batch latent"]) -> "PortraitLatent":
        """The named parts of latent vectors.

        Raises:
            InputError: the vectors have another width than the layout.
        """
        if latents.shape[-1] != self.total:
            raise InputError(
                f"portrait latents must have {self.total} numbers, got {latents.shape[-1]}: use the sampler's layout"
            )
        return PortraitLatent(**{name: latents[:, part] for name, part in self.slices.items()})


@dataclass(frozen=True)
class PortraitLatent:
    """The parts of a batch of portrait latents, each (batch, width)."""

    identity: Tensor
    reflectance: Tensor
    hair: Tensor
    face_hair: Tensor
    iris: Tensor
    complexion: Tensor
    expression: Tensor
    rotation: Tensor
    placement: Tensor
    gaze: Tensor
    light: Tensor
    glasses: Tensor
    clothes: Tensor
    background: Tensor
    photo: Tensor


def draw_latents(
    layout: LatentLayout, person: Int64[Tensor, "batch"], shot: Int64[Tensor, "batch"], seed: int
) -> Float[Tensor, "batch latent"]:
    """Latents of the given shots of the given people.

    A row depends on (seed, person, shot) alone, never on the batch it is drawn in. Two shots of one person share the
    person's part.

    Raises:
        InputError: a negative or too large person or shot number.
    """
    if len(person) and (
        int(person.min()) < 0 or int(shot.min()) < 0 or int(person.max()) >= _PEOPLE or int(shot.max()) >= _SHOTS
    ):
        raise InputError(
            f"person numbers must be in 0..{_PEOPLE - 1} and shot numbers in 0..{_SHOTS - 1}: choose others"
        )
    own = normal(sample_keys(seed, _PERSON_STREAM, person), layout.person)
    rest = normal(sample_keys(seed, _SHOT_STREAM, person * _SHOTS + shot), layout.total - layout.person)
    return torch.cat([own, rest], dim=1)
