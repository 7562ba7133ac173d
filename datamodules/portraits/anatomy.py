"""Where things are on a head: the measurements of a face model that eyes, teeth, hair and glasses are fitted to."""

from dataclasses import dataclass

import torch
from jaxtyping import Float, Int64
from torch import Tensor, nn

from models.morphable.model import MorphableModel
from renderers.errors import InputError

_LANDMARKS = 68
# Centre of the cranium, decimetres from the midpoint of the eyes (anthropometric mean: 3 cm above, 8 cm behind).
_CRANIUM = (0.0, 0.30, -0.80)
# From the centre of the eye's contour to the eyeball's centre: spec of the face proportions, radius 12 mm.
EYE_RADIUS = 0.12
_AZIMUTHS, _ELEVATIONS = 48, 28
_LOWEST, _HIGHEST = -65.0, 90.0


@dataclass(frozen=True)
class HeadPose:
    """One batch of heads in the object frame, with the points that other parts hang on (decimetres)."""

    vertices: Float[Tensor, "batch vertices 3"]
    neutral_landmarks: Float[Tensor, "batch 68 3"]
    expression_landmarks: Float[Tensor, "batch 68 3"]
    radius: Float[Tensor, "batch azimuths elevations"]


class HeadAnatomy(nn.Module):
    """Measures a face model once, and any of its identities quickly.

    Canonical coordinates are those of the mean head, relative to the midpoint of its eye contours (`origin`).

    Raises:
        InputError: the model lacks landmarks or a region that portraits need.
    """

    origin: Tensor
    canonical: Tensor
    landmarks: Tensor
    cranium: Tensor
    azimuths: Tensor
    elevations: Tensor
    _neighbours: Tensor
    _weights: Tensor

    def __init__(self, model: MorphableModel) -> None:
        super().__init__()
        if model.landmark_indices.numel() != _LANDMARKS or bool((model.landmark_indices < 0).any()):
            raise InputError("portraits need a face model with all 68 landmarks: use the whole head model")
        for region in ("face", "ears"):
            if region not in model.region_names:
                raise InputError(f"portraits need a face model with a region '{region}': use the procedural head")
        # A plain attribute in a tuple: the face model's own buffers must not enter this module's state.
        self._model: tuple[MorphableModel] = (model,)
        landmarks = model.mean_shape[model.landmark_indices]
        origin = landmarks[36:48].mean(0)
        self.register_buffer("origin", origin, persistent=False)
        self.register_buffer("canonical", model.mean_shape - origin, persistent=False)
        self.register_buffer("landmarks", landmarks - origin, persistent=False)
        self.register_buffer("cranium", torch.tensor(_CRANIUM), persistent=False)
        self.register_buffer("azimuths", (torch.arange(_AZIMUTHS) / _AZIMUTHS * 2 - 1) * torch.pi, persistent=False)
        self.register_buffer(
            "elevations", torch.deg2rad(torch.linspace(_LOWEST, _HIGHEST, _ELEVATIONS)), persistent=False
        )
        neighbours, weights = self._radial_neighbours(model)
        self.register_buffer("_neighbours", neighbours, persistent=False)
        self.register_buffer("_weights", weights, persistent=False)

    @property
    def model(self) -> MorphableModel:
        (model,) = self._model
        return model

    def directions(
        self, azimuth: Float[Tensor, "*shape"], elevation: Float[Tensor, "*shape"]
    ) -> Float[Tensor, "*shape 3"]:
        """Unit vectors: azimuth 0 to the front and positive to x, elevation from the horizontal plane."""
        return torch.stack([elevation.cos() * azimuth.sin(), elevation.sin(), elevation.cos() * azimuth.cos()], dim=-1)

    def _radial_neighbours(self, model: MorphableModel) -> tuple[Int64[Tensor, "rays k"], Float[Tensor, "rays k"]]:
        """For a grid of directions from the cranium, head vertices and weights whose mean radius is the surface's."""
        relative = self.canonical - self.cranium
        radius = relative.norm(dim=1)
        unit = relative / radius[:, None]
        usable = ~model.regions["ears"]
        for inner in ("mouth_interior", "eye_sockets"):
            if inner in model.region_names:
                usable = usable & ~model.regions[inner]
        grid = self.directions(self.azimuths[:, None].expand(-1, _ELEVATIONS), self.elevations.expand(_AZIMUTHS, -1))
        cosine = grid.reshape(-1, 3) @ unit.T
        cosine = torch.where(usable, cosine, torch.full_like(cosine, -2))
        closest, index = cosine.topk(24, dim=1)
        angle = torch.arccos(closest.clamp(-1, 1))
        weights = torch.exp(-((angle / (angle[:, :4].mean(1, keepdim=True) + 0.02)) ** 2))
        # Of several layers in one direction (nostrils, lips) the outermost counts.
        outermost = radius[index].amax(1, keepdim=True)
        weights = weights * torch.exp(-(((outermost - radius[index]) / 0.15) ** 2))
        return index, weights / weights.sum(1, keepdim=True)

    def pose(
        self, identity: Float[Tensor, "batch identity"], expression: Float[Tensor, "batch expression"]
    ) -> HeadPose:
        """Vertices and measurements of the given heads."""
        model = self.model
        vertices = model.vertices(identity, expression)
        index = model.landmark_indices
        landmarks = vertices[:, index]
        moved = torch.einsum("lce,be->blc", model.expression_basis[index], expression)
        rays = self._neighbours.flatten()
        points = model.mean_shape[rays] + torch.einsum("vci,bi->bvc", model.identity_basis[rays], identity)
        distance = (points - self.origin - self.cranium).norm(dim=-1).unflatten(1, self._neighbours.shape)
        radius = (distance * self._weights).sum(-1).unflatten(1, (_AZIMUTHS, _ELEVATIONS))
        return HeadPose(vertices, landmarks - moved, landmarks, radius)

    def surface_radius(
        self, head: HeadPose, columns: Int64[Tensor, "columns"], elevation: Float[Tensor, "batch columns rows"]
    ) -> Float[Tensor, "batch columns rows"]:
        """Distance from the cranium's centre to the skin along grid columns at the given elevations (radians)."""
        position = (torch.rad2deg(elevation) - _LOWEST) / (_HIGHEST - _LOWEST) * (_ELEVATIONS - 1)
        position = position.clamp(0, _ELEVATIONS - 1.001)
        low = position.floor()
        weight = position - low
        table = head.radius[:, columns]
        first = table.gather(2, low.long())
        second = table.gather(2, low.long() + 1)
        return first * (1 - weight) + second * weight
