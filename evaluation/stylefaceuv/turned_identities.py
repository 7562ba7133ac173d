"""What networks see of faces as their heads turn, by any way of turning them, and of portraits that are turned without any error."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from datamodules.portraits import PortraitSampler
from evaluation.reading_changes import reading_change
from evaluation.stylefaceuv.known_portraits import turned
from evaluation.stylefaceuv.turning import FaceTurner
from lightning_modules.stylefaceuv_views import on_face
from models.observers import FaceEmbedder, Judge, JudgeReading

TRUE_TURNS = "portraits truly turned"
Draw = Callable[[slice, float], Float[Tensor, "batch 3 size size"]]

# Portraits do not turn as far as 58 degrees.
MOST_TRUE_DEG = 57.0
_SEED = 90_100
# Faces at a time.
_BATCH = 25


@dataclass(frozen=True, eq=False)
class TurnedIdentities:
    """What networks see of faces turned to several yaws.

    Attributes:
        name: The way of turning.
        yaws_deg: Asked.
        to_picture: Cosine with the face's own picture, as the generator paints it.
        to_others: Mean cosine with the own pictures of the other faces.
        recognised: Share of the other faces whose own pictures are less like it than its own.
        to_front: Cosine with the same way's picture at yaw 0.
        yaw_read_deg: By the judge; NaN without one.
        identity_change: By the judge, from the face's own picture, in spreads; NaN without one.
    """

    name: str
    yaws_deg: tuple[float, ...]
    to_picture: Float[Tensor, "yaws faces"]
    to_others: Float[Tensor, "yaws faces"]
    recognised: Float[Tensor, "yaws faces"]
    to_front: Float[Tensor, "yaws faces"]
    yaw_read_deg: Float[Tensor, "yaws faces"]
    identity_change: Float[Tensor, "yaws faces"]

    @property
    def yaw_error_deg(self) -> Float[Tensor, "yaws faces"]:
        """Absolute difference of the yaw read from the one asked; NaN without a judge."""
        asked = self.yaw_read_deg.new_tensor(self.yaws_deg)[:, None]
        return (self.yaw_read_deg - asked).abs()


@torch.no_grad()
def turned_identities(
    turner: FaceTurner,
    codes: Float[Tensor, "faces layers width"],
    pictures: Float[Tensor, "faces 3 size size"],
    embedder: FaceEmbedder,
    judge: Judge | None,
    yaws_deg: Sequence[float],
) -> TurnedIdentities:
    """Faces of codes turned one way.

    Args:
        turner: The way.
        codes: Of the faces.
        pictures: Theirs, in [-1, 1].
        embedder: Says who is in a picture.
        judge: Reads what yaw was reached and who is seen; None leaves that out.
        yaws_deg: Asked.
    """

    def draw(faces: slice, yaw_deg: float) -> Tensor:
        part = codes[faces]
        return turner.turned(part, part.new_full((len(part),), math.radians(yaw_deg)))

    return _measured(turner.name, draw, pictures, embedder, judge, yaws_deg)


@torch.no_grad()
def true_turns(
    sampler: PortraitSampler,
    faces: int,
    image_size: int,
    embedder: FaceEmbedder,
    judge: Judge | None,
    alone: bool,
    yaws_deg: Sequence[float],
) -> TurnedIdentities:
    """Synthetic portraits drawn again in other yaws, those of up to 57 degrees; other arguments as of `turned_identities`.

    Args:
        sampler: Draws them.
        faces: How many people.
        image_size: Pixels.
    """
    # A stream of its own: no network was trained on people of this seed.
    people = torch.arange(faces)
    own = sampler.latents(people, torch.zeros_like(people), _SEED)

    def shown(latents: Tensor) -> Tensor:
        portraits = sampler.render(latents, image_size)
        return on_face(portraits.image, portraits.mask.to(portraits.image)) if alone else portraits.image

    def draw(which: slice, yaw_deg: float) -> Tensor:
        part = own[which]
        asked = turned(sampler, part, part.new_full((len(part),), math.radians(yaw_deg)))
        return shown(asked)

    pictures = torch.cat([shown(part) for part in own.split(_BATCH)])
    reached = [yaw for yaw in yaws_deg if abs(yaw) <= MOST_TRUE_DEG]
    return _measured(TRUE_TURNS, draw, pictures, embedder, judge, reached)


def _measured(
    name: str,
    draw: Draw,
    pictures: Float[Tensor, "faces 3 size size"],
    embedder: FaceEmbedder,
    judge: Judge | None,
    yaws_deg: Sequence[float],
) -> TurnedIdentities:
    own = torch.cat([embedder(part) for part in pictures.split(_BATCH)])
    vectors: list[Tensor] = []
    columns: list[Tensor] = []
    for start in range(0, len(pictures), _BATCH):
        faces = slice(start, start + _BATCH)
        known = None if judge is None else judge(pictures[faces])
        front = embedder(draw(faces, 0.0))
        seen = [draw(faces, yaw) for yaw in yaws_deg]
        turned_vectors = torch.stack([embedder(images) for images in seen])
        to_front = (turned_vectors * front).sum(dim=2)
        read = [torch.stack(_judged(judge, known, images)) for images in seen]
        vectors.append(turned_vectors)
        columns.append(torch.cat([to_front[None], torch.stack(read, dim=1)]))
    cosines = torch.cat(vectors, dim=1) @ own.T
    mine = cosines.diagonal(dim1=1, dim2=2)
    others = max(len(own) - 1, 1)
    to_others = (cosines.sum(dim=2) - mine) / others
    recognised = (cosines < mine[:, :, None]).sum(dim=2) / others
    to_front, yaw_read, identity_change = torch.cat(columns, dim=2).cpu()
    return TurnedIdentities(
        name, tuple(yaws_deg), mine.cpu(), to_others.cpu(), recognised.cpu(), to_front, yaw_read, identity_change
    )


def _judged(judge: Judge | None, known: JudgeReading | None, images: Tensor) -> tuple[Tensor, Tensor]:
    """Yaw in degrees and change of identity in spreads."""
    if judge is None or known is None:
        unknown = images.new_full((len(images),), math.nan)
        return unknown, unknown
    reading = judge(images)
    return reading.rotation[:, 1].rad2deg(), reading_change(judge, known, reading).identity
