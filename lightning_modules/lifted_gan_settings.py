"""How LiftedGAN is trained: losses, perturbations and optimiser, with the choices of its paper and of the authors' release."""

import math
from dataclasses import dataclass
from typing import Literal

from renderers.errors import InputError


@dataclass(frozen=True)
class LiftedTraining:
    """Weights, views and optimiser (Shi et al. 2021, sections 3.2 and 4, appendix B).

    The defaults are those of the authors' release; `paper` gives the paper's. Weights are the same in both, what they multiply is not.

    Attributes:
        reconstruction: lambda_rec, of L_rec.
        perceptual: lambda_perc, of the perceptual term of every comparison of pictures; 0 leaves it out.
        perceptual_scales: Factors that pictures are reduced by before the features.
        flip: lambda_flip, of L_flip; 0 leaves the mirrored render out.
        flip_within: Whether lambda_rec multiplies L_flip, too (release); in equation 8 it stands beside.
        perturbation: lambda_perturb; 0 leaves both parts of equation 4 out.
        prior: beta, of the distance of M's codes from the mean of W.
        prior_within: Whether lambda_perturb multiplies it, too (equation 4); in the release it weighs beta outright.
        cycle: lambda_LVcyc, of the view and light that are read of M's codes.
        cycle_translation: Whether the view's translation counts in it (equation 5); rotation alone in the release.
        squares: How the squared errors of prior and cycle are taken over the elements of a sample: their "mean" (release), or their
            "sum" as the paper writes.
        estimate_trains_manipulation: Whether part b's gradient reaches M through the view and light that are read of its codes
            (release); in the paper part a alone trains M.
        identity: lambda_idt; 0 leaves the term out.
        identity_render: Which render is compared with the texture: "estimated", under the view and light that are read of M's code
            (release), or "perturbed", under those drawn (equation 6).
        identity_limit_deg: Largest drawn yaw of a sample that counts in it, in degrees.
        albedo: lambda_regA, of the nuclear norm of the batch's high-passed albedo maps; 0 leaves it out.
        high_pass: "blur" takes from an albedo map its blur, foreground alone, pooled (release), "laplacian" filters it (section 3.2.3).
        albedo_pooling: Side of the blocks of pixels that the former is averaged over (4 in the release).
        largest_yaw_deg, largest_pitch_deg: Perturbed views are uniform to these, to either side; the pitch is 10 in the paper.
        turn_shift: Their translation along x is this times the sine of their yaw, in the networks' units (release; 0 in the paper).
        convex_steps: In so many first steps depth is also drawn to an ellipsoid that bulges towards the viewer, as in GAN2Shape (Pan et
            al. 2021): a hollow face, lit and turned the other way, gives the same pictures, and small networks that learn fast may run
            into one. 0, as in paper and release, leaves it to the seed. Give 0 where a run starts from trained weights, whose relief
            these steps would undo.
        convex: Weight of that term.
        learning_rate: Of Adam.
        weight_decay: Of Adam, added to the gradient (5e-4 in the release; the paper names none).
        parts_in_turn: Whether part a has a forward and backward pass of its own before the optimiser's step (release): the same
            gradient in less memory, for a picture more of the generator.
        average_half_life: Half-life of the averaged networks, in pictures; neither paper nor release average.
        average_rampup: Bound on it, as a part of the pictures seen; null for none.
        seed: Of the perturbations.
    """

    reconstruction: float = 5.0
    perceptual: float = 1.0
    perceptual_scales: tuple[int, ...] = (1, 2, 4)
    flip: float = 0.8
    flip_within: bool = True
    perturbation: float = 2.0
    prior: float = 0.5
    prior_within: bool = False
    cycle: float = 2.0
    cycle_translation: bool = False
    squares: Literal["mean", "sum"] = "mean"
    estimate_trains_manipulation: bool = True
    identity: float = 1.0
    identity_render: Literal["estimated", "perturbed"] = "estimated"
    identity_limit_deg: float = 25.0
    albedo: float = 0.01
    high_pass: Literal["blur", "laplacian"] = "blur"
    albedo_pooling: int = 4
    largest_yaw_deg: float = 45.0
    largest_pitch_deg: float = 15.0
    turn_shift: float = 0.2
    convex_steps: int = 0
    convex: float = 10.0
    learning_rate: float = 1e-4
    weight_decay: float = 5e-4
    parts_in_turn: bool = True
    average_half_life: float = 10_000.0
    average_rampup: float | None = 0.05
    seed: int = 0

    def __post_init__(self) -> None:
        weights = {
            name: getattr(self, name)
            for name in ("reconstruction", "perceptual", "flip", "perturbation", "prior", "cycle", "identity", "albedo")
        }
        weights |= {"weight_decay": self.weight_decay, "convex": self.convex, "convex_steps": float(self.convex_steps)}
        for name, value in weights.items():
            if not (math.isfinite(value) and value >= 0):
                raise InputError(f"expected a {name} of 0 or more, got {value}; correct it")
        choices = {
            "squares": (self.squares, ("mean", "sum")),
            "identity_render": (self.identity_render, ("estimated", "perturbed")),
            "high_pass": (self.high_pass, ("blur", "laplacian")),
        }
        for name, (choice, known) in choices.items():
            if choice not in known:
                raise InputError(f"expected {name} {' or '.join(known)}, got {choice!r}; choose one of the two")
        if self.reconstruction == 0:
            raise InputError("expected a reconstruction above 0, got 0; nothing else ties the faces to their pictures")
        positive = {
            "learning_rate": self.learning_rate,
            "average_half_life": self.average_half_life,
            "average_rampup": self.average_rampup,
        }
        for name, number in positive.items():
            if number is not None and not 0 < number < math.inf:
                raise InputError(f"expected a positive {name}, got {number}; correct it")
        angles = {
            "largest_yaw_deg": self.largest_yaw_deg,
            "largest_pitch_deg": self.largest_pitch_deg,
            "identity_limit_deg": self.identity_limit_deg,
        }
        for name, angle in angles.items():
            if not 0 <= angle < 90:
                raise InputError(f"expected a {name} from 0 to below 90 degrees, got {angle}; correct it")
        if not math.isfinite(self.turn_shift):
            raise InputError(f"expected a finite turn_shift, got {self.turn_shift}; 0.2 is the release's")
        if not self.perceptual_scales or min(self.perceptual_scales) < 1:
            raise InputError(
                f"expected perceptual_scales of 1 and more, got {list(self.perceptual_scales)}; [1, 2, 4] is the paper's"
            )
        if self.albedo_pooling < 1:
            raise InputError(f"expected an albedo_pooling of at least 1, got {self.albedo_pooling}; 4 is the release's")

    @classmethod
    def paper(cls) -> "LiftedTraining":
        """Where paper and release differ, the paper's choices."""
        return cls(
            flip_within=False,
            prior_within=True,
            cycle_translation=True,
            squares="sum",
            estimate_trains_manipulation=False,
            identity_render="perturbed",
            high_pass="laplacian",
            largest_pitch_deg=10.0,
            turn_shift=0.0,
            weight_decay=0.0,
            parts_in_turn=False,
        )

    @property
    def perturbs(self) -> bool:
        """Whether any loss looks at faces under another view and light."""
        return self.perturbation > 0 or self.identity > 0
