"""How the UV generator of StyleFaceUV is trained."""

import math
from dataclasses import dataclass
from typing import Literal

from models.stylefaceuv.texel_masks import TextureSampling
from models.stylerig.storage import Bits
from renderers.errors import InputError


@dataclass(frozen=True)
class UVSettings:
    """Views, losses and optimisers (StyleFaceUV sections 3.3 and 3.4; values of section 4.1 unless said otherwise).

    Attributes:
        views: "two" compares the symmetric view as well; "one" is training without multi-view consistency.
        symmetric_maps: Which maps the symmetric view shows: "shared" those of the code itself as in the authors' release, which ties
            the views together; "own" those of the moved code, as the paper writes.
        texture_sampling: "pixel" looks the diffuse map up at every pixel, "vertex" at every vertex as in the release.
        closed: Whether eyes and mouth of the region are closed by patches that the maps paint; nothing for face models that have them
            as part of their skin, as the papers' has.
        reconstruction: lambda_rec.
        perceptual: lambda_percept; 0 leaves the perceptual loss out.
        symmetric: lambda_mv, weight of the symmetric view.
        displacement: Weight of the mean square of the displacement map, in parts of its bound; 0 in the paper. Without it a constant
            error of the coefficients drives the map to its bound early, where it no longer learns.
        adversarial: Weight of the non-saturating loss, 1 in the paper; 0 leaves the discriminator out.
        r1_gamma: Weight of R1, gamma; 0 leaves it out.
        r1_interval: Discriminator steps between two R1 penalties, 16 in the release; each weighs so much more.
        generator_steps: Steps of the generator for one of the discriminator.
        learning_rate: Of Adam for the generator. Its betas are those of StyleGAN2, which the paper leaves open.
        discriminator_learning_rate: Of the discriminator; null for that of the generator.
        displacement_bound: Largest displacement along an axis, in the face model's unit; null for that of the release, a thousandth of
            the camera's distance.
        average_half_life: Half-life of the averaged generator, in images (10 thousand in StyleGAN2; the paper leaves it open).
        average_rampup: Bound on the half-life as a part of the images seen (0.05 in StyleGAN2-ADA); null for none.
        stored_bits: Of the numbers of the weights that are written: 16, or 8 for half the size, at which diffuse maps of the demo change
            by a thousandth.
        parts: A batch is worked through in so many parts whose gradients add up, for devices that cannot hold it whole.
    """

    views: Literal["one", "two"] = "two"
    symmetric_maps: Literal["shared", "own"] = "shared"
    texture_sampling: TextureSampling = "pixel"
    closed: bool = True
    reconstruction: float = 10.0
    perceptual: float = 0.2
    symmetric: float = 0.75
    displacement: float = 0.0
    adversarial: float = 1.0
    r1_gamma: float = 10.0
    r1_interval: int = 16
    generator_steps: int = 5
    learning_rate: float = 1e-3
    discriminator_learning_rate: float | None = None
    displacement_bound: float | None = None
    average_half_life: float = 10_000.0
    average_rampup: float | None = 0.05
    stored_bits: Bits = 16
    parts: int = 1

    def __post_init__(self) -> None:
        weights = (
            self.reconstruction,
            self.perceptual,
            self.symmetric,
            self.displacement,
            self.adversarial,
            self.r1_gamma,
        )
        if (
            not all(math.isfinite(weight) and weight >= 0 for weight in weights)
            or self.reconstruction + self.adversarial == 0
        ):
            raise InputError(
                "expected weights of losses of 0 or more, and one of reconstruction and adversarial above 0, got "
                f"reconstruction, perceptual, symmetric, displacement, adversarial, r1_gamma = {weights}; correct them"
            )
        counts = {"r1_interval": self.r1_interval, "generator_steps": self.generator_steps, "parts": self.parts}
        for name, count in counts.items():
            if count < 1:
                raise InputError(f"expected {name} of at least 1, got {count}; raise it")
        positive = {
            "learning_rate": self.learning_rate,
            "discriminator_learning_rate": self.discriminator_learning_rate,
            "displacement_bound": self.displacement_bound,
            "average_half_life": self.average_half_life,
            "average_rampup": self.average_rampup,
        }
        for name, value in positive.items():
            if value is not None and not value > 0:
                raise InputError(f"expected a positive {name}, got {value}; correct it")

    @property
    def discriminator_rate(self) -> float:
        """Learning rate of the discriminator."""
        return self.learning_rate if self.discriminator_learning_rate is None else self.discriminator_learning_rate
