"""Assembles the procedural morphable model and keeps it on disk."""

import hashlib
import os
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from models.morphable.model import MorphableModel
from models.morphable.procedural.atlas import regions, texture_coordinates
from models.morphable.procedural.basis import calibrated_deviations, principal_mix
from models.morphable.procedural.densities import Density, resolution_of
from models.morphable.procedural.expression import blendshapes
from models.morphable.procedural.head import HeadSurface
from models.morphable.procedural.identity import identity_controls
from models.morphable.procedural.layout import build_template
from models.morphable.procedural.mesh import Template
from models.morphable.procedural.proportions import MILLIMETRES_PER_UNIT, ORIGIN, landmark_deviations
from models.morphable.procedural.skin import Pigments, SkinPainter, random_pigments
from models.weights import load_weights, save_weights
from renderers.errors import InputError

Array = NDArray[np.float64]

KIND = "procedural-morphable-model"
COMPONENTS = 80
SHAPE_SCANS = 400
SKIN_SCANS = 300


@dataclass(frozen=True)
class Statistics:
    """What every density shares: how controls and paintings mix into mean and components.

    Attributes:
        identity_mix: (80, K) components in units of the identity controls.
        paintings: the random skins.
        skin_mean: (N) weights of the paintings in the mean albedo.
        skin_mix: (80, N) weights of the paintings in the reflectance components.
    """

    identity_mix: Array
    paintings: tuple[Pigments, ...]
    skin_mean: Array
    skin_mix: Array


@cache
def head_surface() -> HeadSurface:
    return HeadSurface()


@cache
def statistics() -> Statistics:
    """Principal components of the random scans, taken on the coarse mesh weighted by area."""
    template = build_template(head_surface(), resolution_of("coarse"))
    weight = _vertex_areas(template) * _attention(template)
    controls = identity_controls(template)
    deviations = calibrated_deviations(controls[:, template.landmarks], landmark_deviations())
    generator = np.random.default_rng(1)
    amounts = generator.normal(size=(SHAPE_SCANS, len(controls))) * deviations
    amounts -= amounts.mean(axis=0)
    scans = np.einsum("nk,kvc->nvc", amounts, controls, optimize=True)
    _, mix = principal_mix(scans, weight, COMPONENTS)
    paintings = tuple(random_pigments(np.random.default_rng((2, n))) for n in range(SKIN_SCANS))
    painter = SkinPainter(template)
    skins = np.stack([painter.paint(painting) for painting in paintings])
    skin_mean, skin_mix = principal_mix(skins, weight, COMPONENTS)
    return Statistics(mix @ amounts, paintings, skin_mean, skin_mix)


def build_model(density: Density) -> MorphableModel:
    """Compute the model of one density from nothing."""
    shared = statistics()
    template = build_template(head_surface(), resolution_of(density))
    identity = np.einsum("ik,kvc->vci", shared.identity_mix, identity_controls(template), optimize=True)
    shapes = blendshapes(template)
    painter = SkinPainter(template)
    mean_albedo = np.zeros_like(template.position)
    reflectance = np.zeros((len(shared.skin_mix), template.position.size))
    for painting, mean_share, mix in zip(shared.paintings, shared.skin_mean, shared.skin_mix.T, strict=True):
        skin = painter.paint(painting)
        mean_albedo += mean_share * skin
        reflectance += mix[:, None] * skin.ravel()
    return MorphableModel(
        mean_shape=_tensor((template.position - ORIGIN) / MILLIMETRES_PER_UNIT),
        identity_basis=_tensor(identity / MILLIMETRES_PER_UNIT),
        expression_basis=_tensor(np.stack(list(shapes.values()), axis=-1) / MILLIMETRES_PER_UNIT),
        mean_albedo=_tensor(mean_albedo),
        reflectance_basis=_tensor(reflectance.T.reshape(len(template.position), 3, -1)),
        faces=torch.from_numpy(template.faces.copy()),
        uv=_tensor(texture_coordinates(template)),
        landmark_indices=torch.from_numpy(template.landmarks),
        regions={name: torch.from_numpy(mask) for name, mask in regions(template).items()},
        expression_names=tuple(shapes),
    )


def procedural_model(density: Density = "coarse") -> MorphableModel:
    """The licence-free head model that ships with the software.

    Args:
        density: about 3, 8, 20 or 53 thousand vertices. Coefficients mean the same shape and skin at each.

    Returns:
        A model of 80 identity and 80 reflectance components, in standard deviations, and 64 named expressions, whose
        coefficient 1 is the expression at full strength (0 to 1 is the natural range; not a standard deviation).

    Built on first use and kept under `$LATENTRIG_CACHE` (else ~/.cache/latentrig); a damaged file there is rebuilt.
    """
    path = cache_path(density)
    if path.exists():
        try:
            tensors, config = load_weights(path, KIND)
            return MorphableModel.from_tensors(tensors, config["expression_names"])
        except InputError:
            # Half-written or foreign: the cache holds nothing that cannot be made again.
            path.unlink()
    model = build_model(density)
    save_weights(path, model.tensors(), KIND, {"density": density, "expression_names": list(model.expression_names)})
    return model


def cache_path(density: Density) -> Path:
    """Where the model of a density is kept; the name changes with the code that builds it."""
    root = Path(os.environ.get("LATENTRIG_CACHE") or Path.home() / ".cache" / "latentrig")
    digest = hashlib.sha256()
    for source in sorted(Path(__file__).parent.glob("*.py")):
        digest.update(source.read_bytes())
    return root / f"head-{density}-{digest.hexdigest()[:12]}.safetensors"


def _attention(template: Template) -> Array:
    """Share of each vertex in the analysis: the face counts fully, what is seldom seen less."""
    masks = regions(template)
    return np.where(masks["face"], 1.0, np.where(masks["mouth_interior"] | masks["scalp"], 0.05, 0.2))


def _vertex_areas(template: Template) -> Array:
    a, b, c = (template.position[template.faces[:, k]] for k in range(3))
    area = np.linalg.norm(np.cross(b - a, c - a), axis=1) / 6
    return np.asarray(np.bincount(template.faces.ravel(), np.repeat(area, 3), len(template.position)), dtype=float)


def _tensor(values: Array) -> torch.Tensor:
    return torch.from_numpy(np.ascontiguousarray(values, dtype=np.float32))
