"""What a fit minimises (StyleFaceUV, section 3.1; the weights of its labels are those of the public fitter that its authors used)."""

from dataclasses import asdict, dataclass, field
from typing import Literal

import torch
from jaxtyping import Float, Int64
from torch import Tensor
from torch.nn import functional

from models.morphable import FaceParameters, MorphableModel
from renderers.errors import InputError
from renderers.face_renderer import FaceRenderer
from renderers.images import to_unit

# Landmarks that weigh more in the published fit, 0-based: the lower bridge of the nose, and the mouth.
_EMPHASISED = (28, 29, 30, *range(48, 68))
_LANDMARKS = 68
# Under the root of a colour distance, whose gradient at 0 is infinite: far below the step of an 8-bit colour.
_SMALLEST_SQUARE = 1e-8


@dataclass(frozen=True)
class FitWeights:
    """Weights of the terms, by default the published ones.

    Attributes:
        landmark: Of the weighted mean squared distance of the 68 landmarks, in image sizes.
        emphasis: Weight of nose and mouth in that mean, where the other landmarks weigh 1.
        photometric: Of the mean length of the RGB difference over the rendered face, colours in [0, 1].
        identity, expression, reflectance: Of the plain sums of squares of the coefficients.
        illumination: Likewise of the light; the published fit leaves it free.
        skin: Of the variance of the skin's albedo over its vertices, colours in [0, 1]: what is dark or bright is to be light, not skin.
    """

    landmark: float = 100.0
    emphasis: float = 10.0
    photometric: float = 1.6
    identity: float = 1e-3
    expression: float = 0.8e-3
    reflectance: float = 1.7e-6
    illumination: float = 0.0
    skin: float = 1.0

    def __post_init__(self) -> None:
        if min(asdict(self).values()) < 0 or self.landmark == 0:
            raise InputError(f"expected weights of 0 or more and landmarks that count, got {self}; correct them")


@dataclass(frozen=True)
class FitRates:
    """Step sizes of Adam; the published one is 0.01 for all."""

    identity: float = 0.01
    expression: float = 0.01
    reflectance: float = 0.01
    rotation: float = 0.01
    illumination: float = 0.01
    translation: float = 0.01


def _demo_weights() -> FitWeights:
    # Expressions of the shipped face spread by 0.4 where Basel's spread by 1. Without weights on skin and light, dark skin in bright light
    # and bright skin in dim light can be fitted alike. The papers leave these open: our choice, not tuned.
    return FitWeights(expression=5e-3, reflectance=1e-4, illumination=1e-2, skin=1.0)


def _demo_rates() -> FitRates:
    # About a tenth of how far each component spreads over portraits, as in `lightning_modules.parameter_fit`.
    return FitRates(0.1, 0.03, 0.1, 0.02, 0.03, 0.03)


@dataclass(frozen=True)
class FaceFitSettings:
    """How faces are fitted; by default as the demo's are. `published` has StyleFaceUV's weights and numbers of steps.

    Attributes:
        weights: Of the terms.
        rates: Step sizes.
        decay: Let step sizes fall to zero along a half cosine, for large steps that are few; the published ones stay.
        rigid_steps: At most so many first steps, of rotation and translation on the landmarks alone.
        steps: At most so many steps after them, of everything.
        tolerance: A face is done where its loss fell by less than this share over `window` steps; 0 takes all steps. Ours: the published
            fit takes all steps.
        window: See there.
        largest_landmark_error: Of a fit that is kept: mean distance of the landmarks as a share of the picture's side.
        largest_colour_error: Of a fit that is kept: root mean square length of the RGB difference (colours in 0..1) over the face.
    """

    weights: FitWeights = field(default_factory=_demo_weights)
    rates: FitRates = field(default_factory=_demo_rates)
    decay: bool = True
    rigid_steps: int = 150
    steps: int = 150
    tolerance: float = 0.01
    window: int = 15
    largest_landmark_error: float = 0.02
    largest_colour_error: float = 0.4

    def __post_init__(self) -> None:
        if min(self.rigid_steps, self.steps, self.window) < 1 or not 0 <= self.tolerance < 1:
            raise InputError(
                f"expected steps and a window of 1 or more and a tolerance from 0 to below 1, got {self}; correct them"
            )
        if min(self.largest_landmark_error, self.largest_colour_error, *asdict(self.rates).values()) <= 0:
            raise InputError(f"expected step sizes and largest errors above 0, got {self}; correct them")

    @classmethod
    def published(cls) -> "FaceFitSettings":
        """Weights, step size and numbers of steps of the fitter that StyleFaceUV's labels were made with; faces still end early, by our
        tolerance.
        """
        return cls(FitWeights(), FitRates(), decay=False, rigid_steps=1000, steps=500, tolerance=0.002, window=25)

    @classmethod
    def preset(cls, name: Literal["demo", "published"]) -> "FaceFitSettings":
        """The settings of a name."""
        return cls.published() if name == "published" else cls()


class FitObjective:
    """The loss of each of some pictures, whose targets it holds.

    Args:
        renderer: Draws the face.
        face_model: What it draws; the region `skin` of it, or all of it where it names none, is held to one colour.
        weights: Of the terms.
        images: (N, 3, S, S) in [-1, 1], at least of the renderer's size; reduced to it.
        landmarks: (N, 68, 2) of them, in their pixels.

    Raises:
        InputError: for pictures that are smaller than the renderer's, or other landmarks.
    """

    def __init__(
        self,
        renderer: FaceRenderer,
        face_model: MorphableModel,
        weights: FitWeights,
        images: Float[Tensor, "faces 3 size size"],
        landmarks: Float[Tensor, "faces points 2"],
    ) -> None:
        height, width = renderer.image_size
        if images.shape[2] < height or images.shape[3] < width:
            raise InputError(
                f"expected pictures of at least {height} x {width} pixels, got {tuple(images.shape[2:])}; give larger ones, or a renderer "
                "of smaller ones"
            )
        if landmarks.shape[1] != _LANDMARKS:
            raise InputError(
                f"expected {_LANDMARKS} landmarks, got {landmarks.shape[1]}; use a landmark network of the usual points"
            )
        self.renderer, self.weights = renderer, weights
        scale = landmarks.new_tensor([width / images.shape[3], height / images.shape[2]])
        self.landmarks = landmarks * scale
        reduced = (
            images
            if images.shape[2:] == renderer.image_size
            else functional.interpolate(images, size=renderer.image_size, mode="area")
        )
        self.images = to_unit(reduced)
        shares = landmarks.new_ones(_LANDMARKS)
        shares[list(_EMPHASISED)] = weights.emphasis
        self._shares = shares / shares.sum()
        self._flatness = _skin_variance(face_model)

    def landmark(self, rows: Int64[Tensor, " rows"], predicted: Float[Tensor, "rows 68 2"]) -> Float[Tensor, " rows"]:
        """Weighted mean squared distance of landmarks, in image heights."""
        squared = (predicted - self.landmarks[rows]).square().sum(dim=2) / self.renderer.image_size[0] ** 2
        return squared @ self._shares

    def rigid(self, rows: Int64[Tensor, " rows"], parameters: FaceParameters) -> Float[Tensor, " rows"]:
        """The landmark term alone; nothing is drawn."""
        return self.weights.landmark * self.landmark(rows, self.renderer.project_landmarks(parameters))

    def full(self, rows: Int64[Tensor, " rows"], parameters: FaceParameters) -> Float[Tensor, " rows"]:
        """All terms."""
        weights, render = self.weights, self.renderer(parameters)
        squared = (render.image - self.images[rows]).square().sum(dim=1)
        mask = render.mask[:, 0]
        # A face that has left the picture covers no pixel.
        photometric = (mask * (squared + _SMALLEST_SQUARE).sqrt()).sum(dim=(1, 2)) / mask.sum(dim=(1, 2)).clamp_min(1)
        matrix, vector, constant = self._flatness
        skin = parameters.reflectance
        flatness = ((skin @ matrix + 2 * vector) * skin).sum(dim=1) + constant
        priors = {
            name: getattr(parameters, name).square().sum(dim=1)
            for name in ("identity", "expression", "reflectance", "illumination")
        }
        return (
            weights.landmark * self.landmark(rows, render.landmarks)
            + weights.photometric * photometric
            + weights.skin * flatness
            + sum(getattr(weights, name) * prior for name, prior in priors.items())
        )


def _skin_variance(model: MorphableModel) -> tuple[Tensor, Tensor, Tensor]:
    """The variance of the skin's albedo as a quadratic form of the reflectance r: r A r + 2 b r + c."""
    chosen = model.regions.get("skin", torch.ones_like(model.mean_albedo[:, 0], dtype=torch.bool))
    basis, mean = model.reflectance_basis[chosen], model.mean_albedo[chosen]
    basis, mean = basis - basis.mean(dim=0), mean - mean.mean(dim=0)
    count = max(len(mean), 1)
    matrix = torch.einsum("vcr,vcs->rs", basis, basis) / count
    return matrix, torch.einsum("vcr,vc->r", basis, mean) / count, mean.square().sum() / count
