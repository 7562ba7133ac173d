"""Measurement of a face reconstruction: landmarks of the reconstructed faces against those observed in the pictures."""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor, nn

from lightning_modules.render_loss import landmarks_66
from models.stylegan2 import Generator
from models.stylerig import ParameterReader
from renderers.face_renderer import FaceRenderer


@dataclass(frozen=True)
class ReconstructionMeasurement:
    """Landmark errors of a face reconstruction over unseen codes; an error is a mean distance over StyleRig's 66 landmarks.

    Attributes:
        codes: Number of codes.
        mean_px: Mean over codes, pixels of the generator's pictures.
        median_px, worst_tenth_px: Median, and the error that a tenth of the codes exceed.
        mean_px_at_64: The mean, scaled to pictures of 64 pixels.
        constant_px: Mean error of the mean of all observed landmarks, which is the best that a constant can do.
    """

    codes: int
    mean_px: float
    median_px: float
    worst_tenth_px: float
    mean_px_at_64: float
    constant_px: float


@torch.no_grad()
def measure_reconstruction(
    generator: Generator,
    landmarker: nn.Module,
    network: ParameterReader,
    renderer: FaceRenderer,
    codes: Float[Tensor, "codes layers width"],
    batch_size: int = 50,
) -> ReconstructionMeasurement:
    """Compare reconstructed with observed landmarks.

    Args:
        generator: Makes the pictures.
        landmarker: Observes landmarks in them.
        network: Reconstructs faces from the codes.
        renderer: Projects the faces' landmarks; its image size may be smaller than the pictures'.
        codes: Codes that the network was not trained on.
        batch_size: Pictures at a time.
    """
    scale = generator.resolution / renderer.image_size[1]
    observed, projected = [], []
    for part in codes.split(batch_size):
        observed.append(landmarks_66(landmarker(generator.synthesis(part).clamp(-1, 1))))
        projected.append(landmarks_66(renderer.project_landmarks(network.parameters_of(part))) * scale)
    seen, found = torch.cat(observed), torch.cat(projected)
    errors = (seen - found).norm(dim=2).mean(dim=1)
    constant = (seen - seen.mean(dim=0)).norm(dim=2).mean()
    return ReconstructionMeasurement(
        codes=len(codes),
        mean_px=float(errors.mean()),
        median_px=float(errors.median()),
        worst_tenth_px=float(errors.quantile(0.9)),
        mean_px_at_64=float(errors.mean()) * 64 / generator.resolution,
        constant_px=float(constant),
    )
