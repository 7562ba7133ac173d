"""The 68-landmark network of the face-alignment package, read differentiably.

Source: Bulat and Tzimiropoulos 2017, "How far are we from solving the 2D & 3D face alignment problem?"; the network and
its weights are those of the package, crops and heat maps are handled here as there, without rounding to whole pixels.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional

from models.observers.interfaces import CropLandmarkDetector
from models.safe_pickle import read_pickle
from models.weights import fill, locate
from renderers.errors import InputError

# face-alignment, utils.py: CROP_RESOLUTION.
INPUT_SIZE = 256
# face-alignment, utils.py: a crop is SCALE_FACTOR / REFERENCE_SCALE times width plus height of the face box wide, and its
# centre lies CENTER_Y_OFFSET of the height above that of the box.
CROP_SCALE = 200.0 / 195.0
CENTRE_RISE = 0.12
# face-alignment, api.py: networks of four hourglasses; no other size is published.
NUM_HOURGLASSES = 4
NUM_LANDMARKS = 68
# Measured by us: the crop that `frame` gives for the extent of landmarks (0.22, 0.37, 0.78, 0.91) on FFHQ-aligned portraits.
DEFAULT_CROP = (-0.064, 0.011, 1.064, 1.139)
# Chosen by us: a landmark is the centroid of its heat map over the peak's cell and this many cells to each side. The maps
# are learnt from Gaussians of one cell's standard deviation, so that three hold all of a peak but 0.3 %.
WINDOW_RADIUS = 3
FACE_ALIGNMENT = "face-alignment"
INSTALL = "pip install 'latentrig[face-alignment]'"


class FanLandmarks(CropLandmarkDetector):
    """A network of heat maps as a landmark detector, on aligned portraits and, with face boxes, on photos; differentiable.

    One look is one pass; the package's own default adds a mirrored pass and averages.

    Args:
        network: crops (B, 3, 256, 256) in [0, 1] to a list of heat maps (B, 68, rows, columns), of which the last counts.
        crop, refinements: as in `CropLandmarkDetector`.
    """

    differentiable = True
    input_size = INPUT_SIZE

    def __init__(self, network: nn.Module, crop: Sequence[float] = DEFAULT_CROP, refinements: int = 1) -> None:
        super().__init__(crop, refinements)
        self.network = network

    def frame(self, boxes: Float[Tensor, "batch 4"]) -> Float[Tensor, "batch 4"]:
        width, height = boxes[:, 2] - boxes[:, 0], boxes[:, 3] - boxes[:, 1]
        rise = torch.stack([torch.zeros_like(height), CENTRE_RISE * height], dim=-1)
        centre = (boxes[:, :2] + boxes[:, 2:]) / 2 - rise
        half = ((width + height) * CROP_SCALE / 2).clamp(min=1.0)[:, None]
        return torch.cat([centre - half, centre + half], dim=-1)

    def read(self, crops: Float[Tensor, "batch 3 height width"]) -> Float[Tensor, "batch 68 2"]:
        return peak_centroids(self.network((crops + 1) / 2)[-1])


def peak_centroids(maps: Float[Tensor, "batch points rows columns"]) -> Float[Tensor, "batch points 2"]:
    """Where heat maps peak, as fractions (x right, y down) of the map: the centroid of what is above zero near the peak.

    Differentiable in the maps; which cell is the peak counts as given. Computed in float32 at least.
    """
    maps = maps.to(torch.promote_types(maps.dtype, torch.float32))
    rows, columns = maps.shape[-2:]
    peaks = maps.detach().flatten(2).argmax(dim=-1)
    steps = torch.arange(-WINDOW_RADIUS, WINDOW_RADIUS + 1, device=maps.device)
    y = (peaks // columns)[..., None] + steps
    x = (peaks % columns)[..., None] + steps
    padded = functional.pad(maps, [WINDOW_RADIUS] * 4)
    cells = (y + WINDOW_RADIUS)[..., :, None] * padded.shape[-1] + (x + WINDOW_RADIUS)[..., None, :]
    heat = padded.flatten(2).gather(2, cells.flatten(2)).unflatten(2, (steps.numel(), steps.numel())).relu()
    # A map without heat anywhere peaks in its first cell.
    heat = heat + torch.finfo(heat.dtype).tiny
    total = heat.sum(dim=(-2, -1))
    centre_x = (heat * (x + 0.5)[..., None, :]).sum(dim=(-2, -1)) / total / columns
    centre_y = (heat * (y + 0.5)[..., :, None]).sum(dim=(-2, -1)) / total / rows
    return torch.stack([centre_x, centre_y], dim=-1)


def load_fan(source: str | Path, crop: Sequence[float] = DEFAULT_CROP, refinements: int = 1) -> FanLandmarks:
    """The 2D network of the face-alignment package (an extra); frozen, in evaluation mode.

    Args:
        source: its weights file (`2DFAN4-*.pth.tar`), or `face-alignment` for what the package fetches once and keeps.
        crop, refinements: as in `CropLandmarkDetector`.
    Raises: `InputError` if the package is not installed, the file is missing or of another network, or the download fails.
    """
    try:
        # Imported here: an extra, whose import takes seconds.
        from face_alignment.api import models_urls
        from face_alignment.models import FAN
        from face_alignment.utils import load_file_from_url
    except ImportError as error:
        raise InputError(
            f"expected the face-alignment package for {source}, cannot import it ({error}); install it with {INSTALL}"
        ) from error
    if source == FACE_ALIGNMENT:
        try:
            source = load_file_from_url(models_urls[f"2DFAN-{NUM_HOURGLASSES}"])
        except OSError as error:
            raise InputError(
                f"expected the face-alignment package to download its weights, it could not ({error}); "
                "fetch 2DFAN4-*.pth.tar on another machine and give its path"
            ) from error
    path = locate(source)
    state = read_pickle(path)
    if not isinstance(state, Mapping) or not all(isinstance(value, Tensor) for value in state.values()):
        raise InputError(
            f"expected a state dict of the face-alignment package in {path}, got another object; give its 2DFAN4-*.pth.tar"
        )
    network = FAN(NUM_HOURGLASSES)
    fill(network, dict(state), path)
    return FanLandmarks(network, crop, refinements).eval().requires_grad_(False)
