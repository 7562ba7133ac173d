"""Where turned faces lie: at the point that portraits are aligned by, whichever way a head turns."""

import torch
from jaxtyping import Float
from torch import Tensor

from models.morphable import FaceParameters, MorphableModel
from renderers.rotation import euler_to_matrix

# The point that FFHQ's alignment centres: a tenth of the way from the eyes to the mouth's corners (Karras et al. 2019).
_EYES, _MOUTH_CORNERS, _TO_MOUTH = slice(36, 48), [48, 54], 0.1


def aligned_as(face_model: MorphableModel, asked: FaceParameters, shown: FaceParameters) -> FaceParameters:
    """The same faces moved so that the point that portraits are aligned by is where others have it.

    Heads turn about a point inside them. Without this, a face turned by 60 degrees would lie a quarter of the picture beside those that
    an aligned generator paints, and beside the part that identity networks look at.

    Args:
        face_model: With all its landmarks.
        asked: In any pose.
        shown: Where the point is to be.
    """
    turn, place = euler_to_matrix(asked.rotation), euler_to_matrix(shown.rotation)
    there = torch.einsum("bij,bj->bi", place, _aligned_by(face_model, shown)) + shown.translation
    return asked.replace(translation=there - torch.einsum("bij,bj->bi", turn, _aligned_by(face_model, asked)))


def turned_parameters(
    face_model: MorphableModel, own: FaceParameters, shown: FaceParameters, yaw: Float[Tensor, " batch"]
) -> FaceParameters:
    """The same faces at a yaw, with pitch and roll of others and where those are (`aligned_as`).

    Args:
        face_model: With all its landmarks.
        own: As codes are read: shape, light and colours.
        shown: What is read of the pictures that the faces are put into; `own` for none.
        yaw: Asked, radians.
    """
    rotation = torch.stack([shown.rotation[:, 0], yaw, shown.rotation[:, 2]], dim=1)
    return aligned_as(face_model, own.replace(rotation=rotation), shown)


def _aligned_by(face_model: MorphableModel, parameters: FaceParameters) -> Float[Tensor, "batch 3"]:
    index = face_model.landmark_indices
    offsets = torch.einsum("lcn,bn->blc", face_model.identity_basis[index], parameters.identity)
    marks = face_model.mean_shape[index] + offsets
    return marks[:, _EYES].mean(dim=1).lerp(marks[:, _MOUTH_CORNERS].mean(dim=1), _TO_MOUTH)
