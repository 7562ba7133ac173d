"""Face parameters of a picture by optimisation: the parameters whose rendering looks like it (analysis by synthesis)."""

from collections.abc import Iterable
from dataclasses import dataclass, field, replace

import torch
from jaxtyping import Bool, Float, Int64
from torch import Tensor, nn

from datamodules.face_fits.descent import DescentSchedule, descend_rows
from datamodules.face_fits.fitting import fit_errors
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
            raise InputError(
                f"expected steps, a batch and deviations above 0 and weights of 0 or more, got {self}; correct them"
            )


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
    loss = RenderLoss(renderer, settings.loss)
    with torch.no_grad():
        read = [loss.targets(batch, landmarker(batch)) for batch in images.split(settings.batch_size)]
    pixels, landmarks = (torch.cat(parts) for parts in zip(*read, strict=True))
    found = _descended(loss, pixels, landmarks, sizes, settings)
    rows = torch.arange(len(images), device=images.device).split(settings.batch_size)
    return ParameterFit(found, *_judged(found, pixels, landmarks, rows, loss, settings))


def _descended(
    loss: RenderLoss,
    pixels: Float[Tensor, "faces 3 rows columns"],
    landmarks: Float[Tensor, "faces 66 2"],
    sizes: ParameterSizes,
    settings: ParameterFitSettings,
) -> FaceParameters:
    """Rotation and translation, then everything, of each picture on its own."""
    landmarks_alone = RenderLoss(loss.renderer, replace(settings.loss, photometric=0.0))

    def rigid(rows: Tensor, parameters: FaceParameters) -> Tensor:
        return landmarks_alone.of_each(pixels[rows], landmarks[rows], parameters).total

    def full(rows: Tensor, parameters: FaceParameters) -> Tensor:
        # A mean over the batch, in the loss of each: times the batch, no picture's gradient depends on the others.
        regulariser = statistical_regulariser(
            parameters, settings.expression_deviation, settings.reflectance_ratio, settings.illumination_ratio
        )
        return loss.of_each(pixels[rows], landmarks[rows], parameters).total + settings.regulariser * regulariser

    def schedule(steps: int, components: Iterable[str]) -> DescentSchedule:
        moved = {name: _RATES[name] for name in components}
        return DescentSchedule(steps, moved, decay=True, batch_size=settings.batch_size)

    start = FaceParameters.zeros(len(pixels), sizes, pixels.device)
    placed = descend_rows(rigid, start, schedule(settings.rigid_steps, _RIGID)).parameters
    return descend_rows(full, placed, schedule(settings.steps, COMPONENTS)).parameters


@torch.no_grad()
def _judged(
    parameters: FaceParameters,
    pixels: Float[Tensor, "faces 3 rows columns"],
    landmarks: Float[Tensor, "faces 66 2"],
    batches: Iterable[Int64[Tensor, " batch"]],
    loss: RenderLoss,
    settings: ParameterFitSettings,
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Loss, landmark error, colour error and whether it is relied on, of each picture; see `ParameterFit`."""
    measured = []
    for rows in batches:
        chosen = parameters[rows]
        render = loss.renderer(chosen)
        errors = fit_errors(render, landmarks_66(render.landmarks), pixels[rows], landmarks[rows])
        measured.append((loss.of_each(pixels[rows], landmarks[rows], chosen).total, *errors))
    losses, distances, colour_error = (torch.cat(parts) for parts in zip(*measured, strict=True))
    reliable = (
        torch.isfinite(losses)
        & (distances <= settings.largest_landmark_error)
        & (colour_error <= settings.largest_colour_error)
    )
    return losses, distances, colour_error, reliable
