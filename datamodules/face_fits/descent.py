"""Many small optimisations side by side: each row of a batch has its own Adam, its own age and its own end.

A row that has converged leaves the batch and the next one that waits takes its place, so the batch stays full and nobody waits for the
slowest. What a row ends at does not depend, beyond rounding, on the rows beside it.
"""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import NamedTuple

import torch
from jaxtyping import Float, Int64
from torch import Tensor

from models.morphable import FaceParameters
from renderers.errors import InputError

# Adam's own defaults (Kingma and Ba, 2015), which the papers do not change.
_FIRST, _SECOND, _EPSILON = 0.9, 0.999, 1e-8

# Losses (rows,) of some rows, by their numbers, under these parameters; a row's loss depends on its own parameters alone.
RowLoss = Callable[[Int64[Tensor, " rows"], FaceParameters], Tensor]


@dataclass(frozen=True)
class DescentSchedule:
    """How rows are optimised.

    Attributes:
        steps: At most so many for each row.
        rates: Step size of Adam for each component that is moved; the others stay.
        decay: Let step sizes fall to zero along a half cosine over `steps`.
        tolerance: A row ends early where the mean of its loss over `window` steps is not below that over the window before by this share
            of it; 0 for never.
        window: See there.
        batch_size: Rows that are optimised together.
    """

    steps: int
    rates: Mapping[str, float]
    decay: bool = False
    tolerance: float = 0.0
    window: int = 25
    batch_size: int = 64

    def __post_init__(self) -> None:
        if min(self.steps, self.window, self.batch_size) < 1 or not 0 <= self.tolerance < 1:
            raise InputError(
                f"expected steps, a window and a batch of 1 or more and a tolerance from 0 to below 1, got {self.steps}, {self.window}, "
                f"{self.batch_size} and {self.tolerance}; correct them"
            )
        if not self.rates or not all(math.isfinite(rate) and rate > 0 for rate in self.rates.values()):
            raise InputError(f"expected finite step sizes above 0, got {dict(self.rates)}; correct them")


class Descent(NamedTuple):
    """Where rows ended.

    Attributes:
        parameters: Of every row.
        steps: That each row took.
    """

    parameters: FaceParameters
    steps: Int64[Tensor, " rows"]


@dataclass
class _Batch:
    """The rows at work; every tensor has one entry for each of them."""

    rows: Int64[Tensor, " batch"]
    vector: Float[Tensor, "batch total"]
    first: Float[Tensor, "batch total"]
    second: Float[Tensor, "batch total"]
    loss_sum: Float[Tensor, " batch"]
    previous: Float[Tensor, " batch"]
    # On the CPU, so that looking at it does not wait for a GPU.
    age: Int64[Tensor, " batch"]

    @classmethod
    def starting(cls, rows: Int64[Tensor, " batch"], packed: Float[Tensor, "rows total"]) -> "_Batch":
        vector = packed[rows]
        blank = vector.new_zeros(len(rows))
        age = torch.zeros(len(rows), dtype=torch.int64)
        return cls(rows, vector, torch.zeros_like(vector), torch.zeros_like(vector), blank, blank + torch.inf, age)

    def select(self, keep: Tensor) -> "_Batch":
        there = keep.to(self.vector.device)
        values = {name: value[keep if name == "age" else there] for name, value in vars(self).items()}
        return _Batch(**values)

    def join(self, other: "_Batch") -> "_Batch":
        return _Batch(**{name: torch.cat([value, getattr(other, name)]) for name, value in vars(self).items()})


def descend_rows(loss: RowLoss, start: FaceParameters, schedule: DescentSchedule) -> Descent:
    """Minimise the loss of every row of `start` on its own.

    Gradients that are not finite count as zero. Under a tolerance, rows whose loss is not finite end at the first window.

    Args:
        loss: Of some rows; its gradient is taken with respect to their parameters.
        start: Where the rows begin, on the device of the computation.
        schedule: See there.
    """
    packed, sizes = start.detach().pack().clone(), start.sizes
    taken = torch.zeros(len(packed), dtype=torch.int64)
    rates = torch.zeros(sizes.total, device=packed.device, dtype=packed.dtype)
    for name, rate in schedule.rates.items():
        rates[sizes.slice(name)] = rate
    everyone = torch.arange(len(packed), device=packed.device)
    batch, waiting = _Batch.starting(everyone[: schedule.batch_size], packed), everyone[schedule.batch_size :]
    while len(batch.rows):
        _step(loss, batch, rates, schedule, sizes_of=start)
        ended = _ended(batch, schedule)
        if ended is None:
            continue
        packed[batch.rows[ended.to(packed.device)]] = batch.vector[ended.to(packed.device)]
        taken[batch.rows.cpu()[ended]] = batch.age[ended]
        newcomers, waiting = waiting.split(
            [min(len(waiting), int(ended.sum())), max(len(waiting) - int(ended.sum()), 0)]
        )
        batch = batch.select(~ended).join(_Batch.starting(newcomers, packed))
    return Descent(FaceParameters.unpack(packed, sizes), taken.to(packed.device))


def _step(loss: RowLoss, batch: _Batch, rates: Tensor, schedule: DescentSchedule, sizes_of: FaceParameters) -> None:
    """One step of Adam for every row of the batch."""
    with torch.enable_grad():
        vector = batch.vector.requires_grad_()
        losses = loss(batch.rows, FaceParameters.unpack(vector, sizes_of.sizes))
        (gradient,) = torch.autograd.grad(losses.sum(), vector)
    gradient = gradient.nan_to_num(0.0, 0.0, 0.0)
    batch.loss_sum = batch.loss_sum + losses.detach()
    age = (batch.age + 1).double()[:, None]
    scale = (
        0.5 * (1 + torch.cos(math.pi * batch.age.double() / schedule.steps))[:, None]
        if schedule.decay
        else torch.ones_like(age)
    )
    corrections = torch.cat([scale / (1 - _FIRST**age), 1 / (1 - _SECOND**age)], dim=1).to(vector)
    batch.first = batch.first.lerp(gradient, 1 - _FIRST)
    batch.second = _SECOND * batch.second + (1 - _SECOND) * gradient.square()
    spread = (batch.second * corrections[:, 1:]).sqrt() + _EPSILON
    batch.vector = vector.detach() - rates * corrections[:, :1] * batch.first / spread
    batch.age = batch.age + 1


def _ended(batch: _Batch, schedule: DescentSchedule) -> Tensor | None:
    """Which rows are done, on the CPU; None where none is."""
    ended = batch.age >= schedule.steps
    whole = batch.age % schedule.window == 0
    if schedule.tolerance > 0 and bool(whole.any()):
        # Rows within a window have fewer terms in their sum: what is computed of them here is not used.
        mean = batch.loss_sum / schedule.window
        # No decrease of the infinite first mean is too small, and of none that is not finite is it large enough.
        falling = mean < batch.previous * (1 - schedule.tolerance)
        ended = ended | (whole & ~falling.cpu())
        there = whole.to(mean.device)
        batch.previous = torch.where(there, mean, batch.previous)
        batch.loss_sum = torch.where(there, 0.0, batch.loss_sum)
    return ended if bool(ended.any()) else None
