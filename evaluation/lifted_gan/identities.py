"""Identity similarity against yaw of lifted faces and of other methods on the same codes (Fig. 7 of LiftedGAN)."""

from collections.abc import Sequence

from datamodules.portraits import PortraitSampler
from evaluation.figures import Figure
from evaluation.lifted_gan.under_test import LiftedUnderTest
from evaluation.stylefaceuv.identity_against_yaw import YAWS_DEG, identity_figures
from evaluation.stylefaceuv.turned_identities import TRUE_TURNS, true_turns, turned_identities
from evaluation.stylefaceuv.turning import FaceTurner

CURVES, SUMMARY = "lifted_gan_identity_against_yaw", "lifted_gan_identity_by_turn"


def identity_against_yaw(
    tested: LiftedUnderTest,
    ways: Sequence[FaceTurner],
    people: int,
    sampler: PortraitSampler | None = None,
    yaws_deg: Sequence[float] = YAWS_DEG,
) -> list[Figure]:
    """The curves, and the ways compared face by face.

    Args:
        tested: The lifted generator.
        ways: Of turning heads; differences are from the first.
        people: Unseen codes, at least 2.
        sampler: Also measure synthetic portraits that are turned without any error; None for pictures of another kind.
        yaws_deg: Asked, in ascending order.
    """
    w = tested.unseen_codes(people)
    codes, pictures = tested.generator.broadcast(w), tested.pictures(w)
    looking = tested.embedder, tested.judge
    seen = [turned_identities(way, codes, pictures, *looking, yaws_deg) for way in ways]
    if sampler is not None:
        seen.append(true_turns(sampler, people, tested.size, *looking, False, yaws_deg))
    who = "The judge reads the yaw reached and the change of identity. " if tested.judge is not None else ""
    caption = (
        f"{people} faces of the same unseen codes, all asked the same absolute yaws by every method. Similarity is the cosine of identity "
        "vectors: with the 2D generator's own picture of the face, in whatever yaw it has; with those of the others; and with the same "
        "method's picture at yaw 0, as the paper measures it. Recognised: the share of others to whom the turned face is less alike than "
        f"to its own picture, one half by chance. Bands are standard errors. {who}A method that does not reach the yaw keeps the identity "
        f"easily. Identity is read by {type(tested.embedder).__name__}, which L_idt trains against where it is the training's. "
        f"{TRUE_TURNS.capitalize()} are other people: what the network says of turns without any error."
    )
    return identity_figures(seen, CURVES, SUMMARY, "(LiftedGAN's Fig. 7)", caption)
