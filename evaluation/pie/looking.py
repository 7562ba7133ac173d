"""Who looks at the pictures of PIE's tables, and how far apart two pictures are to them."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import torch
from jaxtyping import Float, Int
from torch import Tensor

from evaluation.picture_readers import CoefficientReader, JudgeReader, Reading, join, reading_of
from evaluation.pie.embedded import EmbeddedPortraits
from evaluation.pie.shown_edits import PLURALS, by_source
from models.morphable import FaceParameters
from models.observers import JudgeReading
from models.stylerig.face_encoder import FaceEncoder

# Pictures at a time: those of many edits at 1024 px would not fit into memory.
BATCH_SIZE = 50
HELD_OUT = "portraits and samples"


class EncoderReader(CoefficientReader):
    """Reads pictures by MoFA, which the energy and the rig use themselves: what was aimed at, not what an independent reader sees.

    Args:
        encoder: MoFA.
        parameter_std: Standard deviations of packed parameters over the rig's training set: the units.
    """

    name = "MoFA, which the energy itself uses"

    def __init__(self, encoder: FaceEncoder, parameter_std: Float[Tensor, " total"]) -> None:
        self.encoder, self.parameter_std = encoder, parameter_std
        self.spreads = self

    def component_spread(self, component: str) -> Tensor:
        """See `Spreads`."""
        return self.parameter_std[self.encoder.sizes.slice(component)]

    def read(self, images: Float[Tensor, "batch 3 size size"], codes: Float[Tensor, "batch layers width"]) -> Reading:
        return reading_of(self.encoder.parameters_of(images))


@dataclass(frozen=True, eq=False)
class Seen:
    """What the networks see in pictures.

    Attributes:
        mofa: Reading by MoFA.
        judge: Reading by the judge; None without one.
        identity: (B, D) Psi, unit vectors.
    """

    mofa: JudgeReading
    judge: JudgeReading | None
    identity: Float[Tensor, "batch embedding"]

    def at(self, places: Int[Tensor, " places"]) -> "Seen":
        """Those of some of the pictures."""
        judge = None if self.judge is None else JudgeReading(*(value[places] for value in self.judge))
        return Seen(JudgeReading(*(value[places] for value in self.mofa)), judge, self.identity[places])


@dataclass(frozen=True, eq=False)
class UnseenTargets:
    """What edits ask for: face parameters of pictures that neither training nor optimisation saw.

    Attributes:
        parameters: theta_v, as MoFA reads it.
        seen: The pictures I_v.
    """

    parameters: FaceParameters
    seen: Seen


@torch.no_grad()
def look(embedded: EmbeddedPortraits, pictures: Float[Tensor, "batch 3 size size"]) -> Seen:
    """See pictures in [-1, 1], some at a time."""
    return joined([_look(embedded, part) for part in pictures.split(BATCH_SIZE)])


def joined(parts: Sequence[Seen]) -> Seen:
    """What was seen in batches, as one."""
    judged = [part.judge for part in parts if part.judge is not None]
    return Seen(
        _as_judge(join([part.mofa for part in parts])),
        _as_judge(join(list(judged))) if judged else None,
        torch.cat([part.identity for part in parts]),
    )


@torch.no_grad()
def unseen_targets(embedded: EmbeddedPortraits, count: int) -> UnseenTargets:
    """Targets of the first codes v of the test split."""
    codes = embedded.unseen_codes(count)
    parameters, seen = [], []
    for part in codes.split(BATCH_SIZE):
        pictures = embedded.pictures(part)
        parameters.append(embedded.read(pictures))
        seen.append(_look(embedded, pictures))
    return UnseenTargets(FaceParameters.cat(parameters), joined(seen))


@torch.no_grad()
def edited_pictures(
    embedded: EmbeddedPortraits,
    portrait: Int[Tensor, " edits"],
    target: FaceParameters,
    components: Sequence[str],
    feedback: int = 0,
) -> Iterator[Float[Tensor, "batch 3 size size"]]:
    """Pictures of edits, some at a time.

    Args:
        embedded: Whose embeddings are edited.
        portrait: Place of the embedding that each edit changes.
        target: What each edit asks for.
        components: What it changes.
        feedback: Rounds of PIE's feedback.
    """
    codes = embedded.codes
    for places in torch.arange(len(portrait), device=embedded.device).split(BATCH_SIZE):
        yield embedded.pictures(embedded.edit(codes[portrait[places]], target[places], components, feedback))


def moved_by_mofa(embedded: EmbeddedPortraits, component: str, first: Seen, second: Seen) -> Float[Tensor, " batch"]:
    """How far apart a component is to MoFA: radians for the rotation, else root mean squares in spreads over the rig's training set."""
    reader = EncoderReader(embedded.encoder, embedded.opened.rig.networks[0].parameter_std)  # type: ignore[arg-type]
    return _in_radians(component, reader.distance(component, first.mofa, second.mofa))


def moved_by_judge(embedded: EmbeddedPortraits, component: str, first: Seen, second: Seen) -> Float[Tensor, " batch"]:
    """Likewise to the judge, in its own spreads; NaN without one."""
    if embedded.judge is None or first.judge is None or second.judge is None:
        return torch.full_like(first.identity[:, 0], float("nan"))
    return _in_radians(component, JudgeReader(embedded.judge).distance(component, first.judge, second.judge))


def recognition_error(first: Seen, second: Seen) -> Float[Tensor, " batch"]:
    """|| Psi - Psi' ||^2 (equation 14), from 0 to 4."""
    return (first.identity - second.identity).square().sum(dim=1)


def judged_identity(embedded: EmbeddedPortraits, first: Seen, second: Seen) -> Float[Tensor, " batch"]:
    """How far apart people are to the judge: root mean square over shape and skin coefficients in spreads; NaN without a judge."""
    if embedded.judge is None or first.judge is None or second.judge is None:
        return torch.full_like(first.identity[:, 0], float("nan"))
    return JudgeReader(embedded.judge).changes(first.judge, second.judge)["identity"]


def groups_of(embedded: EmbeddedPortraits) -> dict[str, list[int]]:
    """Places of portraits by what is averaged over, the main group first: portraits and samples together where there are both, then
    each source alone."""
    places = by_source(embedded)
    alone = {PLURALS[source]: found for source, found in places.items()}
    if "portrait" in places and "sample" in places:
        return {HELD_OUT: sorted([*places["portrait"], *places["sample"]]), **_photos_last(alone)}
    return _photos_last(alone)


def photos_apart(embedded: EmbeddedPortraits) -> dict[str, EmbeddedPortraits]:
    """The main group of `groups_of`, and photos where there are any besides: transfers are never between photos and other pictures."""
    groups = groups_of(embedded)
    names = dict.fromkeys([next(iter(groups)), *(name for name in groups if name == PLURALS["photo"])])
    return {
        name: replace(embedded, embeddings=tuple(embedded.embeddings[place] for place in groups[name]))
        for name in names
    }


def cross_pairs(portraits: int, pairs: int) -> tuple[Int[Tensor, " pairs"], Int[Tensor, " pairs"]]:
    """Inputs and references: every portrait with the next one, then with the one after that, ...; no pair twice, none of one portrait."""
    number = torch.arange(min(pairs, portraits * (portraits - 1)))
    own = number % portraits
    return own, (own + 1 + number // portraits) % portraits


def mean_of(values: Float[Tensor, " batch"], members: Sequence[int] | Tensor) -> float:
    """Mean over some; NaN over none."""
    return float(values[torch.as_tensor(members, device=values.device)].mean()) if len(members) else float("nan")


def edits_at(portrait: Int[Tensor, " edits"], places: Sequence[int]) -> Int[Tensor, " members"]:
    """Which edits change one of some portraits."""
    return torch.isin(portrait, torch.tensor(places, device=portrait.device)).nonzero()[:, 0]


def _look(embedded: EmbeddedPortraits, pictures: Tensor) -> Seen:
    return Seen(
        reading_of(embedded.encoder.parameters_of(pictures)),
        None if embedded.judge is None else embedded.judge(pictures),
        embedded.identities(pictures),
    )


def _as_judge(reading: Reading) -> JudgeReading:
    assert isinstance(reading, JudgeReading)
    return reading


def _in_radians(component: str, distance: Tensor) -> Tensor:
    return distance.deg2rad() if component == "rotation" else distance


def _photos_last(groups: dict[str, list[int]]) -> dict[str, list[int]]:
    return dict(sorted(groups.items(), key=lambda item: item[0] == PLURALS["photo"]))
