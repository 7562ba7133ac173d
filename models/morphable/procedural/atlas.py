"""Texture coordinates and regions of the procedural head."""

import numpy as np
from numpy.typing import NDArray

from models.morphable.procedural.head import CENTRE, Points
from models.morphable.procedural.mesh import Template

# Centre of the map: its opposite point lies inside the neck, so that the whole skin unfolds without a seam.
_MAP_AXIS = np.array([0.0, 0.9, 0.436]) / np.linalg.norm([0.0, 0.9, 0.436])


def texture_coordinates(template: Template) -> NDArray[np.float64]:
    """Coordinates (V, 2) in [0, 1], one to one over the whole head.

    The skin is mapped by the azimuthal equidistant projection about the crown, face at the bottom, upright. Each
    patch fills the hole that its ring leaves, row within row; the neck continues outwards.
    """
    plane = _project(template.position)
    result = plane.copy()
    for part in ("eyelids", "nostril", "ear", "lips", "neck"):
        for sign in (0.0,) if part in ("lips", "neck") else (1.0, -1.0):
            chosen = template.part == part
            if sign:
                chosen &= template.position[:, 0] * sign > 0
            members = np.flatnonzero(chosen)
            ring = members[template.depth[members] == 0]
            ring = ring[np.argsort(template.turn[ring])]
            turns = np.append(template.turn[ring], 2 * np.pi)
            closed = np.concatenate([plane[ring], plane[ring[:1]]])
            start = np.stack([np.interp(template.turn[members], turns, closed[:, k]) for k in range(2)], axis=1)
            depth = template.depth[members, None] / template.depth[members].max()
            if part == "neck":
                result[members] = start * (1 + 0.2 * depth)
            else:
                middle = plane[ring].mean(axis=0)
                tip = 1.0 if part != "eyelids" else 0.7
                result[members] = start + (middle - start) * depth * tip
    return 0.5 + 0.5 * result / (np.abs(result).max() * 1.001)


def _project(points: Points) -> NDArray[np.float64]:
    direction = points - CENTRE
    direction /= np.linalg.norm(direction, axis=1, keepdims=True)
    # The face lies below the crown: down in the map is towards the viewer.
    up = np.cross(_MAP_AXIS, [1.0, 0.0, 0.0])
    across, along = direction[:, 0], direction @ up
    polar = np.arccos(np.clip(direction @ _MAP_AXIS, -1, 1))
    length = np.maximum(np.hypot(across, along), 1e-12)
    return np.stack([polar * across / length, polar * along / length], axis=1)


def regions(template: Template) -> dict[str, NDArray[np.bool_]]:
    """Vertex masks (V).

    face: what image losses look at: skin of the face with lids, lips and nostrils, without scalp, ears, neck and the
    inside of the mouth. skin: everything but lips and mouth. left is the subject's left (x > 0).
    """
    x, y, z = np.abs(template.position[:, 0]), template.position[:, 1], template.position[:, 2]
    part, depth = template.part, template.depth
    on_skin = part == "skin"
    hairline = y > 73 - 0.012 * np.clip(x - 20, 0, None) ** 2
    scalp = on_skin & (hairline | ((z < -66) & (y > -8)) | ((z < -104) & (y > -72)))
    low = (y < -114) | ((z < -66) & (y < -62)) | ((z < -58) & (y < -92))
    neck = (part == "neck") | (on_skin & ~scalp & (low | (z < -100)))
    mouth = (part == "lips") & (depth > 1.0)
    lips = (part == "lips") & (depth <= 1.0)
    lids = part == "eyelids"
    skin_of_face = on_skin & ~scalp & ~neck & (z > -72)
    rim = lids & (depth == 1.5)
    return {
        "face": skin_of_face | lips | (lids & (depth <= 1.5)) | (part == "nostril"),
        "skin": on_skin | lids | (part == "nostril") | (part == "ear") | (part == "neck"),
        "scalp": scalp,
        "neck": neck,
        "ears": part == "ear",
        "lips": lips,
        "mouth_interior": mouth,
        "eyelids": lids,
        "eye_rim_left": rim & (template.position[:, 0] > 0),
        "eye_rim_right": rim & (template.position[:, 0] < 0),
    }
