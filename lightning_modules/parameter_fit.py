"""Face parameters of a picture by optimisation: the parameters whose rendering looks like it (analysis by synthesis)."""

import math
from collections.abc import Iterable
from dataclasses import dataclass, field, replace

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from lightning_modules.face_reconstruction import statistical_regulariser
from lightning_modules.render_loss import RenderLoss, RenderLossWeights, landmarks_66
from models.morphable import COMPONENTS, FaceParameters, ParameterSizes
from renderers.errors import InputError
from renderers.face_renderer import FaceRenderer

_RIGID = ("rotation", "translation")
# Step of Adam at the start, about a tenth of how far each component spreads over portraits (radians, harmonics, decimetres). Our choice.
_RATES = {
    "identity": 0.1,
    "expression": 0.03,
    "reflectance": 0.1,
    "rotation": 0.02,
    "illumination": 0.03,
    "translation": 0.03,
}


@dataclass(frozen=True)
class ParameterFitSettings:
    """How parameters are fitted to pictures. The papers leave all of it open; weights are by default those that the demo's F was trained
    with, so that a picture and its code are read alike: priors shrink what is read, and edits are asked in F's terms.

    Attributes:
        rigid_steps: First steps, which move the mean face alone until its landmarks lie on the picture's.
        steps: Steps after them, of all components.
        loss: Weights of the rerendering loss of the latter.
        regulariser: Weight of MoFA's statistical regulariser.
        expression_deviation: Standard deviation of the expression coefficients: 1 for models such as Basel's, whose coefficients are
            in standard deviations; blendshape coefficients of portraits spread by 0.2 to 0.4.
        reflectance_ratio, illumination_ratio: Of skin and light in the regulariser: see `FaceReconstructionSettings`.
        largest_landmark_error: Of a fit that is relied on: mean distance of the landmarks as a share of the picture's side.
        largest_colour_error: Of a fit that is relied on: root mean square length of the RGB difference (colours in 0..1) over the face.
        batch_size: Pictures fitted together; the result does not depend on it beyond rounding.
    """

    rigid_steps: int = 100
    steps: int = 200
    loss: RenderLossWeights = field(
        default_factory=lambda: RenderLossWeights(landmark=17.5, photometric=50.0, robust=0.3, robust_landmarks=0.1)
    )
    regulariser: float = 0.004
    expression_deviation: float = 0.4
    reflectance_ratio: float = 1.0
    illumination_ratio: float = 2.0
    largest_landmark_error: float = 0.015
    largest_colour_error: float = 0.4
    batch_size: int = 16

    def __post_init__(self) -> None:
        weights = (self.regulariser, self.reflectance_ratio, self.illumination_ratio)
        positive = (self.expression_deviation, self.largest_landmark_error, self.largest_colour_error)
        if min(self.rigid_steps, self.steps, self.batch_size) < 1 or min(weights) < 0 or min(positive) <= 0:
            raise InputError(f"expected steps, a batch and deviations above 0 and weights of 0 or more, got {self}; correct them")


@dataclass(frozen=True)
class ParameterFit:
    """Parameters of a batch of pictures, without gradient.

    Attributes:
        parameters: What was found.
        loss: The rerendering loss of each picture at the end, without the regulariser.
        landmark_error: Mean distance of the 66 landmarks, as a share of the picture's side.
        colour_error: Root mean square length of the RGB difference over the rendered face, colours in 0..1.
        reliable: False where an error is above the bound of the settings or not finite: no face in it, not aligned, hidden, or the
            landmarks were read wrongly.
    """

    parameters: FaceParameters
    loss: Float[Tensor, " batch"]
    landmark_error: Float[Tensor, " batch"]
    colour_error: Float[Tensor, " batch"]
    reliable: Bool[Tensor, " batch"]

    def __len__(self) -> int:
        return len(self.parameters)


def fit_parameters(
    images: Float[Tensor, "batch 3 size size"],
    landmarker: nn.Module,
    renderer: FaceRenderer,
    sizes: ParameterSizes,
    settings: ParameterFitSettings = ParameterFitSettings(),
) -> ParameterFit:
    """Fit face parameters to pictures: L_render (StyleRig, equation 1) plus MoFA's regulariser, minimised by Adam for each picture.

    Rotation and translation of the mean face are fitted to the landmarks first, then all components to landmarks and colours, with
    steps that fall to zero along a half cosine.

    Args:
        images: Aligned portraits in [-1, 1], framed as those that the landmark network and the camera are meant for.
        landmarker: 68-landmark network, frozen.
        renderer: Draws the face region; pictures are reduced to its size.
        sizes: Of the renderer's face model.
        settings: Steps and weights.

    Raises:
        InputError: for pictures that are not finite or smaller than the renderer's.
    """
    if images.shape[-1] < renderer.image_size[1] or not bool(torch.isfinite(images).all()):
        raise InputError(
            f"expected finite pictures of at least {renderer.image_size[1]} pixels, got {tuple(images.shape)}; give larger ones, or a "
            "renderer of smaller ones"
        )
    parts = [_fit_batch(batch, landmarker, renderer, sizes, settings) for batch in images.split(settings.batch_size)]
    joined = (
        torch.cat([getattr(part, name) for part in parts])
        for name in ("loss", "landmark_error", "colour_error", "reliable")
    )
    return ParameterFit(FaceParameters.cat([part.parameters for part in parts]), *joined)


def _fit_batch(
    images: Tensor, landmarker: nn.Module, renderer: FaceRenderer, sizes: ParameterSizes, settings: ParameterFitSettings
) -> ParameterFit:
    loss = RenderLoss(renderer, settings.loss)
    landmarks_alone = RenderLoss(renderer, replace(settings.loss, photometric=0.0))
    with torch.no_grad():
        pixels, landmarks = loss.targets(images, landmarker(images))
    start = FaceParameters.zeros(len(images), sizes, images.device)
    values = {name: getattr(start, name).requires_grad_() for name in COMPONENTS}

    def current() -> FaceParameters:
        return FaceParameters(**values)

    with torch.enable_grad():
        for _ in _descend(values, _RIGID, settings.rigid_steps):
            # Losses are means over the batch: times its size, no picture's gradient depends on the others.
            (len(images) * landmarks_alone(pixels, landmarks, current()).total).backward()
        for _ in _descend(values, COMPONENTS, settings.steps):
            parameters = current()
            regulariser = statistical_regulariser(
                parameters, settings.expression_deviation, settings.reflectance_ratio, settings.illumination_ratio
            )
            total = loss(pixels, landmarks, parameters).total + settings.regulariser * regulariser
            (len(images) * total).backward()
    return _judged(current().detach(), pixels, landmarks, loss, settings)


def _descend(values: dict[str, Tensor], components: Iterable[str], steps: int) -> Iterable[None]:
    """Steps of Adam over components of `values`; between two of them the caller puts gradients there."""
    groups = [{"params": [values[name]], "lr": _RATES[name]} for name in components]
    optimiser = torch.optim.Adam(groups)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimiser, lambda step: 0.5 * (1 + math.cos(math.pi * step / steps)))
    for _ in range(steps):
        for value in values.values():
            value.grad = None
        yield
        for value in values.values():
            if value.grad is not None:
                # A picture whose gradient overflows stays where it is and is flagged in the end.
                value.grad.nan_to_num_(0.0, 0.0, 0.0)
        optimiser.step()
        schedule.step()


@torch.no_grad()
def _judged(
    parameters: FaceParameters,
    pixels: Tensor,
    landmarks: Tensor,
    loss: RenderLoss,
    settings: ParameterFitSettings,
) -> ParameterFit:
    render = loss.renderer(parameters)
    squared = (render.mask[:, 0] * (pixels - render.image).square().sum(dim=1)).sum(dim=(1, 2))
    covered = render.mask.sum(dim=(1, 2, 3))
    # A face that has left the picture agrees with nothing in it.
    colour_error = torch.where(covered > 0, (squared / covered.clamp_min(1)).sqrt(), torch.inf)
    distances = (landmarks_66(render.landmarks) - landmarks).norm(dim=2).mean(dim=1) / loss.renderer.image_size[0]
    losses = torch.stack(
        [loss(pixels[i : i + 1], landmarks[i : i + 1], parameters[i]).total for i in range(len(parameters))]
    )
    reliable = (
        torch.isfinite(losses)
        & (distances <= settings.largest_landmark_error)
        & (colour_error <= settings.largest_colour_error)
    )
    return ParameterFit(parameters, losses, distances, colour_error, reliable)
