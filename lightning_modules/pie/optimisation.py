"""The codes of portraits that are optimised together: which space they are in, where they stand, and which of them were given up."""

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.optim import Optimizer

from datamodules.portrait_sources import PreparedPortrait
from lightning_modules.pie.energies import PieTarget
from lightning_modules.pie.settings import Schedule
from lightning_modules.pie.states import PortraitState, optimiser_rows, restore_rows


class CodeOptimisation:
    """W first, then W+ (section 4.4), for portraits that share nothing but a tensor.

    Args:
        portraits: What is embedded.
        target: What was read of them.
        codes: (at least as many, layers, width) whose first rows are theirs; in W the first layer of each alone is used.
        optimiser: Of `codes` alone; works element by element.
        schedule: Of both stages.

    Attributes:
        in_w: Whether they are in the first stage.
        w: (portraits, width) the end of the first stage, once it is past.
        failed: Why a portrait was given up, by its place.
    """

    def __init__(
        self,
        portraits: Sequence[PreparedPortrait],
        target: PieTarget,
        codes: nn.Parameter,
        optimiser: Optimizer,
        schedule: Schedule,
    ) -> None:
        self.portraits, self.target, self.schedule = portraits, target, schedule
        self.in_w = schedule.in_w(0)
        self.w: Tensor | None = None
        self.failed: dict[int, str] = {}
        self._codes, self._optimiser = codes, optimiser

    @property
    def w_plus(self) -> Float[Tensor, "portraits layers width"]:
        """The codes as W+ codes, with gradients."""
        codes = self._codes[: len(self.portraits)]
        return codes[:, :1].expand(-1, codes.shape[1], -1) if self.in_w else codes

    def start(self, codes: Float[Tensor, "portraits width"]) -> None:
        """Start from codes of W, with an optimiser that knows nothing."""
        self._set(codes[:, None].expand(-1, self._codes.shape[1], -1))

    def go_on(self, states: Sequence[PortraitState]) -> None:
        """Go on where states of one iteration stand."""
        iteration, device = states[0].iteration, self._codes.device
        self.in_w = self.schedule.in_w(iteration - 1)
        self._set(torch.stack([state.codes for state in states]).to(device))
        if not self.in_w and self.schedule.w_iterations:
            self.w = torch.stack([state.w for state in states if state.w is not None]).to(device)
        steps = iteration if self.in_w else iteration - self.schedule.w_iterations
        restore_rows(self._optimiser, self._codes, [state.optimiser for state in states], steps)

    def enter(self, iteration: int) -> None:
        """Where an iteration is the first in W+, start there from the end of W."""
        if self.in_w and not self.schedule.in_w(iteration):
            self.w = self._codes.detach()[: len(self.portraits), 0].clone()
            self.in_w = False
            self.start(self.w)

    def give_up(self, total: Float[Tensor, " portraits"], iteration: int) -> None:
        """Give up portraits whose energy or gradient is not finite: their gradients are 0 from then on, and the others go on."""
        assert self._codes.grad is not None
        finite = torch.isfinite(total.detach()) & torch.isfinite(self._codes.grad[: len(total)]).flatten(1).all(dim=1)
        for row in (~finite).nonzero()[:, 0].tolist():
            self.failed.setdefault(row, f"its energy was not finite at iteration {iteration}; lower the step sizes")
        if self.failed:
            self._codes.grad[list(self.failed)] = 0.0

    def state(self, row: int, iteration: int, digest: str) -> PortraitState:
        """Where a portrait stands before an iteration."""
        return PortraitState(
            iteration,
            digest,
            self._codes.detach()[row].cpu().clone(),
            None if self.w is None else self.w[row].cpu().clone(),
            optimiser_rows(self._optimiser, self._codes, row),
        )

    @torch.no_grad()
    def _set(self, codes: Float[Tensor, "portraits layers width"]) -> None:
        self._codes.zero_()
        self._codes[: len(codes)] = codes
        self._optimiser.state.clear()
