"""Synthetic portraits whose truth is known, with the codes that were found for them, drawn again turned as asked."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from jaxtyping import Float
from torch import Tensor

from datamodules.portraits import Portraits, PortraitSampler
from datamodules.synthetic_portraits import split_spec
from evaluation.pie.reenactment import portrait_latents
from evaluation.stylefaceuv.under_test import FacesUnderTest
from models.code_encoder import CodeEncoder
from models.morphable import FaceParameters
from models.morphable.procedural import Density
from models.portrait_embedding import PortraitEmbedding, load_embeddings
from models.stylegan2 import Generator
from models.stylegan2.digest import generator_digest
from renderers.errors import InputError

# Portraits drawn at a time.
_DRAWN = 16
# Of the people, those of the demo's test split: none that anything was trained with.
_SEED = 0


@dataclass(frozen=True, eq=False)
class KnownPortraits:
    """Portraits with their codes.

    Attributes:
        sampler: Draws them.
        latents: (P, D) what they are drawn from.
        codes: (P, layers, width) W+ codes that stand for them.
        found_by: Where the codes are from, as captions say it.
    """

    sampler: PortraitSampler
    latents: Float[Tensor, "portraits latent"]
    codes: Float[Tensor, "portraits layers width"]
    found_by: str

    def __len__(self) -> int:
        return len(self.codes)

    def drawn(self, size: int, yaw: Float[Tensor, " portraits"] | None = None) -> Portraits:
        """The portraits, turned to a yaw where one is given; all else stays.

        Args:
            size: Pixels.
            yaw: Radians for each; the sampler's heads turn by less than a bound.
        """
        latents = self.latents if yaw is None else turned(self.sampler, self.latents, yaw)
        parts = [self.sampler.render(part, size) for part in latents.split(_DRAWN)]
        return Portraits(
            torch.cat([part.image for part in parts]),
            FaceParameters.cat([part.parameters for part in parts]),
            torch.cat([part.landmarks for part in parts]),
            torch.cat([part.mask for part in parts]),
            torch.cat([part.depth for part in parts]),
        )


def turned(
    sampler: PortraitSampler, latents: Float[Tensor, "portraits latent"], yaw: Float[Tensor, " portraits"]
) -> Float[Tensor, "portraits latent"]:
    """Latents of the same portraits at another yaw, in radians, by bisection: the yaw grows with its latent.

    Raises:
        InputError: for a yaw that no latent of the sampler has.
    """
    place = sampler.layout.slices["rotation"].start + 1
    changed = latents.clone()
    low, high = torch.full_like(yaw, -20.0), torch.full_like(yaw, 20.0)
    for _ in range(40):
        middle = (low + high) / 2
        changed[:, place] = middle
        above = sampler.face_parameters(changed).rotation[:, 1] > yaw
        low, high = torch.where(above, low, middle), torch.where(above, middle, high)
    reached = sampler.face_parameters(changed).rotation[:, 1]
    if bool(((reached - yaw).abs() > 1e-2).any()):
        worst = float(yaw[(reached - yaw).abs().argmax()].rad2deg())
        raise InputError(f"expected a yaw that synthetic portraits can have, got {worst:.0f} degrees; ask for less")
    return changed


def posed_as(read: FaceParameters, original: FaceParameters, asked: FaceParameters) -> FaceParameters:
    """What is read of a picture, moved as the truth moves: by the difference of the true poses.

    Args:
        read: Parameters of the codes.
        original: True parameters of the portraits that the codes stand for.
        asked: True parameters of the portraits turned.
    """
    return replace(
        read,
        rotation=read.rotation + asked.rotation - original.rotation,
        translation=read.translation + asked.translation - original.translation,
    )


@torch.no_grad()
def portraits_by_encoder(tested: FacesUnderTest, encoder: CodeEncoder, count: int, density: Density) -> KnownPortraits:
    """Portraits of the test split with the codes that an encoder reads of them.

    Args:
        tested: Of whose generator the codes are.
        encoder: For that generator.
        count: Portraits.
        density: Of the head's mesh.

    Raises:
        InputError: for a camera that is not the portraits'.
    """
    return encoded_portraits(_sampler(tested, density), tested.faces.generator, encoder, count, density)


@torch.no_grad()
def encoded_portraits(
    sampler: PortraitSampler, generator: Generator, encoder: CodeEncoder, count: int, density: Density
) -> KnownPortraits:
    """Portraits of the test split with the codes of W that an encoder reads of them; all on one device.

    Args:
        sampler: Draws them.
        generator: Of whose W the codes are.
        encoder: For that generator.
        count: Portraits.
        density: Of the sampler's mesh.
    """
    person = split_spec("test", 1, count, 1, _SEED, density, 1).person(torch.arange(count))
    latents = sampler.latents(person, torch.zeros_like(person), _SEED)
    images = torch.cat([sampler.render(part, generator.resolution).image for part in latents.split(_DRAWN)])
    codes = generator.broadcast(encoder.to(images.device)(images))
    return KnownPortraits(sampler, latents, codes, "the code encoder")


def portraits_of_embeddings(
    tested: FacesUnderTest, embeddings: Sequence[PortraitEmbedding], density: Density
) -> KnownPortraits:
    """The synthetic portraits among embeddings.

    Args:
        tested: Of whose generator the codes are.
        embeddings: Of `embedded_portraits`.
        density: Of the head's mesh, as they were embedded.

    Raises:
        InputError: where the sampler gives other people than the embeddings hold, and for a camera that is not the portraits'.
    """
    sampler = _sampler(tested, density)
    latents = torch.cat([portrait_latents(embedding, sampler) for embedding in embeddings])
    codes = torch.stack([embedding.w_plus for embedding in embeddings]).to(tested.device)
    return KnownPortraits(sampler, latents, codes, "PIE's embeddings")


def embedded_portraits(folder: str | Path, generator: Generator) -> list[PortraitEmbedding]:
    """The embeddings of synthetic portraits of a folder.

    Raises:
        InputError: where there are none, or they are of another generator.
    """
    embeddings = [each for each in load_embeddings(folder) if each.source == "portrait"]
    if not embeddings:
        raise InputError(
            f"expected embeddings of synthetic portraits in {folder}, found none; embed some by --data.portraits"
        )
    digest = generator_digest(generator)
    if embeddings[0].generator_digest != digest:
        raise InputError(
            f"expected embeddings of the generator with weights {digest[:12]} in {folder}, they are of "
            f"{embeddings[0].generator_digest[:12]}; embed the portraits for this one"
        )
    return embeddings


def _sampler(tested: FacesUnderTest, density: Density) -> PortraitSampler:
    sampler = PortraitSampler(density).to(tested.device)
    if sampler.camera != tested.faces.camera:
        raise InputError(
            f"expected the camera of the synthetic portraits, {sampler.camera}, for their truth, got {tested.faces.camera}; set "
            "code_encoder and embeddings to null"
        )
    return sampler
