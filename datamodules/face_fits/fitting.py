"""Face parameters of many pictures at once by optimisation: rigid, then everything (StyleFaceUV, section 3.1)."""

from collections.abc import Iterable
from dataclasses import asdict, dataclass

import torch
from jaxtyping import Float, Int64
from torch import Tensor

from datamodules.face_fits.descent import DescentSchedule, descend_rows
from datamodules.face_fits.objective import FaceFitSettings, FitObjective
from models.morphable import COMPONENTS, FaceParameters, MorphableModel
from renderers.errors import InputError
from renderers.face_renderer import FaceRender, FaceRenderer

_RIGID = ("rotation", "translation")
# Why a fit is left out, by its number; 0 is kept. The first that applies counts.
FAILURES = ("kept", "landmarks not read", "not finite", "landmarks missed", "colours missed")


@dataclass(frozen=True)
class FaceFits:
    """Fits of some pictures, without gradient.

    Attributes:
        parameters: What was found.
        loss: At the end.
        landmark_error: Mean distance of the 68 landmarks, as a share of the picture's side.
        colour_error: Root mean square length of the RGB difference over the rendered face, colours in 0..1.
        rigid_steps, steps: That each fit took.
        failure: Index into `FAILURES`, 0 for a fit that is relied on.
    """

    parameters: FaceParameters
    loss: Float[Tensor, " faces"]
    landmark_error: Float[Tensor, " faces"]
    colour_error: Float[Tensor, " faces"]
    rigid_steps: Int64[Tensor, " faces"]
    steps: Int64[Tensor, " faces"]
    failure: Int64[Tensor, " faces"]

    def __len__(self) -> int:
        return len(self.parameters)


def fit_faces(
    images: Float[Tensor, "faces 3 size size"],
    landmarks: Float[Tensor, "faces points 2"],
    renderer: FaceRenderer,
    face_model: MorphableModel,
    settings: FaceFitSettings = FaceFitSettings(),
    batch_size: int = 64,
) -> FaceFits:
    """Fit face parameters to pictures, each on its own, however many are fitted together.

    Rotation and translation of the mean face first, to the landmarks alone; then all components, to landmarks and colours. A face that
    has converged makes room for the next.

    Args:
        images: Aligned portraits in [-1, 1], on the renderer's device.
        landmarks: 68 of each, in pixels of `images`; those that could not be read are not finite.
        renderer: Draws the face region; pictures are reduced to its size.
        face_model: What it draws.
        settings: Steps and weights.
        batch_size: Faces that are fitted together; the result does not depend on it beyond rounding.

    Raises:
        InputError: for pictures that are not finite or smaller than the renderer's, other landmarks, or an impossible batch.
    """
    if not bool(torch.isfinite(images).all()):
        raise InputError(
            "expected finite pictures, got some that are not; look at the generator or the files that they come from"
        )
    objective = FitObjective(renderer, face_model, settings.weights, images, landmarks)
    rates = asdict(settings.rates)

    def schedule(steps: int, components: Iterable[str]) -> DescentSchedule:
        moved = {name: rates[name] for name in components}
        return DescentSchedule(steps, moved, settings.decay, settings.tolerance, settings.window, batch_size)

    start = FaceParameters.zeros(len(images), face_model.sizes, images.device)
    rigid = descend_rows(objective.rigid, start, schedule(settings.rigid_steps, _RIGID))
    full = descend_rows(objective.full, rigid.parameters, schedule(settings.steps, COMPONENTS))
    measured = [
        _measure(objective, rows, full.parameters[rows])
        for rows in torch.arange(len(images), device=images.device).split(batch_size)
    ]
    loss, landmark_error, colour_error = (
        (torch.cat(parts) for parts in zip(*measured, strict=True)) if measured else torch.zeros(3, 0)
    )
    # The last that is written is the one that is told.
    failure = torch.zeros(len(images), dtype=torch.int64, device=images.device)
    failure[~(colour_error <= settings.largest_colour_error)] = FAILURES.index("colours missed")
    failure[~(landmark_error <= settings.largest_landmark_error)] = FAILURES.index("landmarks missed")
    failure[~(torch.isfinite(full.parameters.pack()).all(dim=1) & torch.isfinite(loss))] = FAILURES.index("not finite")
    failure[~torch.isfinite(landmarks).all(dim=2).all(dim=1)] = FAILURES.index("landmarks not read")
    return FaceFits(full.parameters, loss, landmark_error, colour_error, rigid.steps, full.steps, failure)


def fit_errors(
    render: FaceRender,
    predicted: Float[Tensor, "batch points 2"],
    pixels: Float[Tensor, "batch 3 height width"],
    landmarks: Float[Tensor, "batch points 2"],
) -> tuple[Float[Tensor, " batch"], Float[Tensor, " batch"]]:
    """How far renderings lie from pictures.

    Args:
        render: Of the parameters.
        predicted: Its landmarks that are compared, in pixels.
        pixels: The pictures in [0, 1].
        landmarks: Of the pictures.

    Returns:
        Mean distance of the landmarks as a share of the picture's height, and `colour_errors`.
    """
    return (predicted - landmarks).norm(dim=2).mean(dim=1) / pixels.shape[2], colour_errors(render, pixels)


def colour_errors(render: FaceRender, pixels: Float[Tensor, "batch 3 height width"]) -> Float[Tensor, " batch"]:
    """Root mean square length of the RGB difference over rendered faces, infinite for one that has left the picture.

    Args:
        render: Of the faces.
        pixels: The pictures in [0, 1].
    """
    squared = (render.mask[:, 0] * (pixels - render.image).square().sum(dim=1)).sum(dim=(1, 2))
    covered = render.mask.sum(dim=(1, 2, 3))
    # A face that has left the picture agrees with nothing in it.
    return torch.where(covered > 0, (squared / covered.clamp_min(1)).sqrt(), torch.inf)


@torch.no_grad()
def _measure(objective: FitObjective, rows: Tensor, parameters: FaceParameters) -> tuple[Tensor, Tensor, Tensor]:
    render = objective.renderer(parameters)
    errors = fit_errors(render, render.landmarks, objective.images[rows], objective.landmarks[rows])
    return objective.full(rows, parameters), *errors
