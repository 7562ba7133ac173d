"""How portraits are embedded: the weights of PIE's energy terms, and the schedule by which the energy is minimised."""

from dataclasses import dataclass, field
from typing import Literal

from renderers.errors import InputError


@dataclass(frozen=True)
class EnergyWeights:
    """Weights of the terms of E(w) (equation 6). A weight of 0 leaves the term out: baselines are made so.

    The published weights (section 5) are 1e-6, 1e-6, 1, 10, 10, 0.001, 0.2, 0.1, 0.1 in the order below, for sums over pictures of 0..255
    at 1024 px (our reading: the paper does not say). Normalised terms mean the same at any resolution and for any generator, and need
    weights of their own; those here are ours, chosen on the demo's portraits.

    Attributes:
        pixels: lambda_l2 of E_syn (7), || I - I(w) ||^2.
        perceptual: lambda_p of E_syn, of feature maps.
        identity: lambda_id of E_id (8), || w - rignet(w, theta^tau(w)) ||^2.
        edit: lambda_e of E_edit (11).
        invariance: lambda_inv of E_inv (13).
        photometric: lambda_ph of l (10), in E_edit and E_inv.
        landmark: lambda_lm of l.
        recognition: lambda_rw of E_recog (15), of I(w).
        edited_recognition: lambda_rv of E_recog, of the edited picture.
        normalised: Per pixel of colours in [0, 1], per feature, and per code entry in units of the variance of W; false for the
            published sums, over colours in 0..255.
    """

    pixels: float = 50.0
    perceptual: float = 1.0
    identity: float = 1.0
    edit: float = 0.5
    invariance: float = 0.1
    photometric: float = 1.0
    landmark: float = 17.5
    recognition: float = 0.1
    edited_recognition: float = 0.2
    normalised: bool = True

    def __post_init__(self) -> None:
        values = [value for name, value in vars(self).items() if name != "normalised"]
        if min(values) < 0 or not self.pixels + self.perceptual > 0:
            raise InputError(
                f"expected weights of 0 or more, of pixels or perceptual features above 0, got {self}; nothing else ties a code to a photo"
            )

    @property
    def uses_rig(self) -> bool:
        """Whether any term edits the code."""
        return max(self.identity, self.edit, self.invariance, self.edited_recognition) > 0

    @property
    def samples_edits(self) -> bool:
        """Whether any term edits the code towards sampled parameters theta_v."""
        return max(self.edit, self.invariance, self.edited_recognition) > 0


@dataclass(frozen=True)
class Schedule:
    """The hierarchical optimisation (section 4.4): W first, then W+ from there.

    Attributes:
        w_iterations: In W; 2000 in the paper. 0 optimises W+ directly.
        w_plus_iterations: In W+; 1000 in the paper.
        optimiser: "adadelta" is the paper's; "adam" needs several times fewer iterations.
        w_step: Step size at the start of W: 50 in the paper, for AdaDelta; for Adam in standard deviations of W.
        w_plus_step: Likewise at the start of W+; 10 in the paper.
        decay: Factor of the step size after every `decay_iterations`, exponentially; 0.1 in the paper. Each stage starts anew (our
            reading).
        decay_iterations: 2000 in the paper.
        start: "mean" code of the generator (the paper is silent), or the code that an "encoder" reads from the photo.
    """

    w_iterations: int = 2000
    w_plus_iterations: int = 1000
    optimiser: Literal["adadelta", "adam"] = "adadelta"
    w_step: float = 50.0
    w_plus_step: float = 10.0
    decay: float = 0.1
    decay_iterations: int = 2000
    start: Literal["mean", "encoder"] = "mean"

    def __post_init__(self) -> None:
        if min(self.w_iterations, self.w_plus_iterations) < 0 or self.iterations < 1 or self.decay_iterations < 1:
            raise InputError(f"expected iterations of 0 or more, at least one in all, got {self}; correct the schedule")
        if min(self.w_step, self.w_plus_step) <= 0 or not 0 < self.decay <= 1:
            raise InputError(
                f"expected step sizes above 0 and a decay above 0, at most 1, got {self}; correct the schedule"
            )

    @property
    def iterations(self) -> int:
        """Of both stages."""
        return self.w_iterations + self.w_plus_iterations

    def in_w(self, iteration: int) -> bool:
        """Whether an iteration, counted from 0, is of the first stage."""
        return iteration < self.w_iterations

    def step_size(self, iteration: int) -> float:
        """The step size of an iteration, counted from 0."""
        first, within = (
            (self.w_step, iteration) if self.in_w(iteration) else (self.w_plus_step, iteration - self.w_iterations)
        )
        return first * self.decay ** (within / self.decay_iterations)


@dataclass(frozen=True)
class PieSettings:
    """How portraits are embedded.

    Attributes:
        weights: Of the energy terms.
        schedule: Of the optimisation.
        robust_landmarks: See `RenderLossWeights`; null in the paper.
        save_every: Iterations between the states from which a run that was killed goes on.
    """

    weights: EnergyWeights = field(default_factory=EnergyWeights)
    schedule: Schedule = field(default_factory=Schedule)
    robust_landmarks: float | None = None
    save_every: int = 50

    def __post_init__(self) -> None:
        if self.save_every < 1:
            raise InputError(f"expected save_every of at least 1, got {self.save_every}; raise it")
