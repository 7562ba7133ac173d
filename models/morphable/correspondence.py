"""Which place of the shipped face a vertex of another face model is, so that skin, regions and landmarks can be carried over."""

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from numpy.typing import NDArray
from scipy.interpolate import RBFInterpolator
from scipy.spatial import cKDTree
from torch import Tensor

from models.morphable.model import MorphableModel
from models.morphable.procedural import procedural_model
from renderers.errors import InputError

Array = NDArray[np.float64]

# Vertices of the shipped face between which a value is interpolated, by inverse distance.
_NEIGHBOURS = 4
# Further than this (decimetres) after warping, two surfaces are different parts, such as an eyeball and a lid.
_SAME_PART = 0.12
_ITERATIONS = 60
# Share of the correspondences that counts: the rest may be holes or borders of the other mesh.
_KEPT = 0.9
# Prior of the identity coefficients against squared distances in square decimetres, summed over about 2,000 vertices.
_PRIOR = 0.05


@dataclass(frozen=True)
class Correspondence:
    """Vertices of another model as weighted vertices of the shipped one.

    Attributes:
        source: The shipped model.
        nearest: (V, k) vertices of the skin and lips of `source` around the place of each vertex.
        weights: (V, k) their shares, which add up to one.
        distance: (V) from that place to the nearest of them, decimetres.
    """

    source: MorphableModel
    nearest: Int[Tensor, "vertices neighbours"]
    weights: Float[Tensor, "vertices neighbours"]
    distance: Float[Tensor, " vertices"]

    @classmethod
    def between(cls, mean_shape: Float[Tensor, "vertices 3"], landmarks: Int[Tensor, " landmarks"]) -> "Correspondence":
        """Warp a mean face onto the shipped one by a thin-plate spline through the landmarks, and look up what is nearest.

        Args:
            mean_shape: Of the other model, decimetres, x right, y up, z out of the face.
            landmarks: Its 68 landmark vertices.

        Raises:
            InputError: for landmarks that span no volume.
        """
        source = procedural_model("medium")
        skin = (source.regions["skin"] | source.regions["lips"]).nonzero().squeeze(1)
        points = mean_shape.double().numpy()
        own, first = np.unique(landmarks.numpy(), return_index=True)
        targets = source.mean_shape[source.landmark_indices].double().numpy()[first]
        if len(own) < 4 or np.linalg.matrix_rank(points[own] - points[own].mean(axis=0), tol=1e-3) < 3:
            raise InputError(
                f"expected landmarks that span a face, got {len(own)} distinct ones in a plane or line; check their list"
            )
        # A slight smoothing keeps nearly coincident landmarks of coarse meshes from folding space between them.
        warp = RBFInterpolator(points[own], targets, kernel="thin_plate_spline", smoothing=1e-4)
        distance, index = cKDTree(source.mean_shape[skin].double().numpy()).query(warp(points), k=_NEIGHBOURS)
        weights = 1 / np.maximum(distance, 1e-6)
        weights /= weights.sum(axis=1, keepdims=True)
        return cls(
            source,
            skin[torch.from_numpy(index.astype(np.int64))],
            torch.from_numpy(weights.astype(np.float32)),
            torch.from_numpy(distance[:, 0].astype(np.float32)),
        )

    def region(self, name: str) -> Bool[Tensor, " vertices"]:
        """Vertices of the other model at places that belong to a region of the shipped one."""
        inside = (self.source.regions[name][self.nearest] * self.weights).sum(dim=1)
        return (inside > 0.5) & (self.distance < _SAME_PART)

    def mean_albedo(self) -> Float[Tensor, "vertices 3"]:
        """The shipped model's mean albedo at each vertex."""
        return torch.einsum("vk,vkc->vc", self.weights, self.source.mean_albedo[self.nearest])

    def reflectance_basis(self) -> Float[Tensor, "vertices 3 components"]:
        """The shipped model's reflectance components at each vertex."""
        basis = self.source.reflectance_basis
        carried = torch.zeros(len(self.nearest), *basis.shape[1:])
        for neighbour in range(self.nearest.shape[1]):
            carried += self.weights[:, neighbour, None, None] * basis[self.nearest[:, neighbour]]
        return carried


def find_landmarks(mean_shape: Float[Tensor, "vertices 3"]) -> Int[Tensor, "68"]:
    """The vertices nearest to the shipped face's landmarks, after that face is fitted to a mean shape.

    Iterated closest points: similarity and identity coefficients of the shipped model in turn. The face must look along +z and
    be in decimetres; where it lies does not matter. On ICT-FaceKit's mean face the 68 points land on its own, to which the
    shipped face was proportioned; on random faces of its identity basis they are off by 2 to 3 mm on average, most at the jaw.

    Args:
        mean_shape: Of the other model; the tip of the nose is the vertex with the largest z.

    Returns:
        (68) vertex indices; some may be equal on a coarse mesh.
    """
    model = procedural_model("coarse")
    face = model.regions["face"]
    shape, basis = model.mean_shape.double().numpy(), model.identity_basis.double().numpy()
    face_shape, face_basis = shape[face], basis[face]
    target = mean_shape.double().numpy()
    tree = cKDTree(target)
    scale, rotation = 1.0, np.eye(3)
    translation = target[target[:, 2].argmax()] - face_shape[face_shape[:, 2].argmax()]
    identity = np.zeros(basis.shape[2])
    for iteration in range(_ITERATIONS):
        fitted = face_shape + face_basis @ identity
        distance, index = tree.query(scale * fitted @ rotation.T + translation)
        kept = distance <= np.quantile(distance, _KEPT)
        found = target[index[kept]]
        scale, rotation, translation = _similarity(fitted[kept], found)
        # The rigid fit comes first: coefficients fitted to a misplaced face would hold it there.
        if iteration >= _ITERATIONS // 3:
            wanted = ((found - translation) @ rotation / scale - face_shape[kept]).ravel()
            matrix = face_basis[kept].reshape(len(wanted), -1)
            normal = matrix.T @ matrix + _PRIOR * np.eye(matrix.shape[1])
            identity = np.linalg.solve(normal, matrix.T @ wanted)
    landmarks = model.landmark_indices.numpy()
    fitted = shape[landmarks] + basis[landmarks] @ identity
    _, index = tree.query(scale * fitted @ rotation.T + translation)
    return torch.from_numpy(index.astype(np.int64))


def _similarity(source: Array, target: Array) -> tuple[float, Array, Array]:
    """Scale, rotation and translation that take `source` to `target` with the least squares (Umeyama 1991, eqs. 40 to 42)."""
    source_mean, target_mean = source.mean(axis=0), target.mean(axis=0)
    centred = source - source_mean
    left, values, right = np.linalg.svd((target - target_mean).T @ centred)
    signs = np.array([1.0, 1.0, np.sign(np.linalg.det(left) * np.linalg.det(right))])
    rotation = (left * signs) @ right
    scale = float((values * signs).sum() / np.square(centred).sum())
    return scale, rotation, target_mean - scale * rotation @ source_mean
