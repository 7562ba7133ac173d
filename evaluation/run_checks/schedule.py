"""Which steps of a run are measured: a few of each phase that differs in what a step costs, weighed by how often they come."""

import math
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

from pytorch_lightning import LightningModule

from lightning_modules.stylefaceuv import StyleFaceUV
from lightning_modules.stylegan2 import StyleGAN2

WHOLE_RUN = "all"
# Probability of adaptive augmentation at which steps are measured; ours.
_AUGMENTED = 0.5


@dataclass(frozen=True)
class MeasuredStep:
    """One step of a trial.

    Attributes:
        phase: Name of the phase that it stands for.
        weight: Part of the steps of that phase that it stands for; 0 for a warm-up, which is not counted.
        prepare: Brings the model into the state of such a step.
    """

    phase: str
    weight: float
    prepare: Callable[[], None] = lambda: None


@dataclass(frozen=True)
class Phase:
    """A part of a run whose steps cost alike.

    Attributes:
        name: Of the phase.
        images: Samples of the data, images as a rule, that it lasts; None until the end of the run.
    """

    name: str
    images: int | None


def phases_of(model: LightningModule) -> list[Phase]:
    """The phases of a run in their order."""
    if isinstance(model, StyleFaceUV) and model.total_images is not None:
        # Counted in codes there, of which a pair has two; in samples of the data, pairs, here.
        return [Phase(WHOLE_RUN, -(-model.total_images // 2))]
    if not isinstance(model, StyleGAN2):
        return [Phase(WHOLE_RUN, None)]
    supervised = _supervised_images(model)
    total = model.total_images
    phases = [Phase("supervised", supervised if total is None else min(supervised, total))] if supervised else []
    if total is None or total > supervised:
        phases.append(Phase("adversarial", None if total is None else total - supervised))
    return phases


def steps_of(model: LightningModule, count: int, accumulated: int = 1) -> list[MeasuredStep]:
    """The steps of a trial: for each phase one of warm-up, `count` ordinary ones, and one for each kind of rarer step.

    Args:
        model: What is trained.
        count: Ordinary steps in each phase.
        accumulated: Batches whose gradients are added before the optimizer's step, which comes with the last of them; as many, or a
            multiple, are measured.
    """
    if isinstance(model, StyleFaceUV):
        (ordinary, share), *rarer = _turns(model)
        return [
            MeasuredStep(WHOLE_RUN, 0.0, partial(_put_turn, model, ordinary)),
            *([MeasuredStep(WHOLE_RUN, share / count, partial(_put_turn, model, ordinary))] * count),
            *(MeasuredStep(WHOLE_RUN, part, partial(_put_turn, model, step)) for step, part in rarer),
        ]
    if not isinstance(model, StyleGAN2):
        count = -(-count // accumulated) * accumulated
        return [*([MeasuredStep(WHOLE_RUN, 0.0)] * accumulated), *([MeasuredStep(WHOLE_RUN, 1 / count)] * count)]
    steps: list[MeasuredStep] = []
    for phase in phases_of(model):
        adversarial = phase.name == "adversarial"
        images = model.warm_start.images if adversarial else 0
        kinds = _penalty_kinds(model) if adversarial else [(1, 1.0)]
        ordinary, share = kinds[0]
        steps.append(MeasuredStep(phase.name, 0.0, partial(_put, model, images, ordinary)))
        steps += [MeasuredStep(phase.name, share / count, partial(_put, model, images, ordinary))] * count
        steps += [MeasuredStep(phase.name, part, partial(_put, model, images, step)) for step, part in kinds[1:]]
    return steps


def _supervised_images(model: StyleGAN2) -> int:
    # The last of them train the discriminator as well and cost nearly as much as those that follow.
    warm_start = model.warm_start
    return max(warm_start.images - warm_start.discriminator_images, 0)


def _penalty_kinds(model: StyleGAN2) -> list[tuple[int, float]]:
    """For each set of penalties that can fall on one step: a step that has it, and how often it comes; the commonest first."""
    r1 = model.r1_interval if model.r1_gamma else 0
    path_length = model.path_length_interval if model.path_length_weight else 0
    return _kinds_of(
        math.lcm(r1 or 1, path_length or 1),
        lambda step: (bool(r1) and step % r1 == 0, bool(path_length) and step % path_length == 0),
    )


def _turns(model: StyleFaceUV) -> list[tuple[int, float]]:
    """Likewise, for steps of the generator alone, with one of the discriminator, and with its penalty."""
    settings = model.settings
    between = settings.generator_steps if settings.adversarial > 0 else 0
    penalty = between * settings.r1_interval if settings.r1_gamma > 0 else 0
    return _kinds_of(
        penalty or between or 1,
        lambda step: (bool(between) and step % between == 0, bool(penalty) and step % penalty == 0),
    )


def _kinds_of(cycle: int, kind_of: Callable[[int], tuple[bool, ...]]) -> list[tuple[int, float]]:
    """A step of each kind that comes in a cycle, and how often it comes; the commonest first."""
    kinds = [kind_of(step) for step in range(cycle)]
    return [(kinds.index(kind), number / cycle) for kind, number in Counter(kinds).most_common()]


def _put_turn(model: StyleFaceUV, step: int) -> None:
    model.steps.fill_(step)
    # The trial ends by itself.
    model.total_images = None


def _put(model: StyleGAN2, images_seen: int, step: int) -> None:
    model.images_seen.fill_(images_seen)
    model.discriminator_steps.fill_(step)
    if model.augmentation is not None:
        # It starts at 0, where pictures that nothing is done to cost less; small sets bring it to about this.
        model.augmentation.probability.fill_(_AUGMENTED)
    # The trial ends by itself.
    model.total_images = None
