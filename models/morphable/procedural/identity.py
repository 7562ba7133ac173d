"""Identity: named anatomical controls and smooth random fields, as displacements of the mean head in millimetres.

Every control is a continuous function of the place on the mean head, so that it means the same at every density.
"""

import numpy as np
from numpy.typing import NDArray

from models.morphable.procedural.head import Points
from models.morphable.procedural.mesh import Template
from models.morphable.procedural.patches import smoothstep

Array = NDArray[np.float64]
Number = float | int
Triple = tuple[Number, Number, Number]

SMOOTH_FIELDS_PER_SCALE = 20
# Correlation lengths of the random fields, mm, with the size of one standard deviation, mm.
_SMOOTH_SCALES = ((60.0, 1.1), (38.0, 0.8), (24.0, 0.45))


def bump(points: Points, centre: Triple, radii: Triple) -> Array:
    """Gaussian weight (V) about `centre` and, by symmetry, about its mirror image; radii in mm."""
    offset = (points * (0, 1, 1) + np.abs(points) * (1, 0, 0) - np.array(centre)) / np.array(radii)
    return np.exp(-(offset**2).sum(axis=1))


def side_of(points: Points, softness: float = 6.0) -> Array:
    """-1 on the left of the image to 1 on its right, soft about the midline."""
    return np.tanh(points[:, 0] / softness)


def _along(x: Array | Number, y: Array | Number, z: Array | Number, weight: Array) -> Points:
    return np.stack([x * weight, y * weight, z * weight], axis=1)


def anatomical_controls(template: Template) -> dict[str, Points]:
    """Displacements (V, 3) in mm per unit of each named control."""
    p = template.position
    x, y, z = p.T
    side = side_of(p)
    one = np.ones(len(p))
    is_ear = (template.part == "ear") * smoothstep(template.depth, 0.0, 1.0)
    neck = smoothstep(-y, 90.0, 165.0)
    eye = bump(p, (31, 0, -2), (23, 15, 40))
    eye_wide = bump(p, (31, 2, -4), (30, 22, 45))
    mouth = bump(p, (0, -69, 15), (34, 17, 40))
    upper_lip = bump(p, (0, -61, 24), (20, 6, 25)) * (1 - _lower_lip(template))
    lower_lip = bump(p, (0, -75, 22), (20, 7, 25)) * _not_upper(template)
    nose = bump(p, (0, -34, 30), (20, 18, 28))
    lower_face = smoothstep(-y, 5.0, 100.0) * (1 - 0.6 * neck)
    ear_x, ear_y = np.clip(np.abs(x) - 76, -5, 30), y + 11
    front = smoothstep(z, -110.0, 0.0)
    return {
        "head_size": 0.022 * p,
        "head_width": _along(0.04 * x, 0, 0, one),
        "face_length": _along(0, -5.0, 0, lower_face),
        "face_depth": _along(0, 0, 0.05 * (z + 20), one),
        "upper_face_length": _along(0, 3.5, 0, smoothstep(y, 10.0, 90.0)),
        "jaw_width": _along(0.07 * x, 0, 0, smoothstep(-y, 30.0, 90.0) * (1 - 0.7 * neck)),
        "jaw_angle": _along(2.0 * side, -3.5, -2.0, bump(p, (58, -78, -50), (28, 24, 35))),
        "chin_length": _along(0, -3.5, 0, bump(p, (0, -112, 5), (34, 24, 45))),
        "chin_protrusion": _along(0, 0, 3.5, bump(p, (0, -102, 12), (30, 22, 45))),
        "chin_width": _along(0.10 * x, 0, 0, bump(p, (0, -103, 10), (40, 20, 45))),
        "chin_cleft": _along(0, 0, -0.6, bump(p, (0, -103, 18), (3.5, 9, 20))),
        "nose_length": _along(0, -2.0, 0, bump(p, (0, -38, 26), (22, 18, 35))),
        "nose_width": _along(1.3 * side, 0, 0, bump(p, (14, -41, 17), (10, 12, 20))),
        "nose_projection": _along(0, 0, 2.4, nose),
        "nose_tip_tilt": _along(0, 1.5, 0.4, bump(p, (0, -34, 36), (11, 11, 15))),
        "nose_tip_width": _along(0.16 * x, 0, 0, bump(p, (0, -33, 32), (14, 11, 14))),
        "nose_bridge_height": _along(0, 0, 2.0, bump(p, (0, -6, 20), (11, 17, 25))),
        "nose_bridge_width": _along(0.16 * x, 0, 0, bump(p, (0, -12, 18), (14, 18, 22))),
        "nose_hump": _along(0, 0, 1.2, bump(p, (0, -14, 26), (8, 8, 20))),
        "nostril_height": _along(0, 1.0, 0, bump(p, (13, -42, 20), (7, 7, 14))),
        "columella": _along(0, -0.9, 0, bump(p, (0, -43, 28), (6, 7, 14))),
        "eye_size": _along(0.05 * (x - side * 31), 0.07 * y, 0, eye),
        "eye_opening": _along(0, 0.09 * y, 0, bump(p, (31, 0, 0), (17, 8, 25))),
        "eye_spacing": _along(1.5 * side, 0, 0, eye_wide),
        "eye_height": _along(0, 1.0, 0, eye_wide),
        "eye_tilt": _along(0, 0.06 * (np.abs(x) - 31), 0, eye),
        "eye_depth": _along(0, 0, 1.2, eye_wide),
        "lid_fold": _along(0, -0.9, 0.5, bump(p, (32, 9, 2), (17, 4.5, 20))),
        "eye_bags": _along(0, -0.3, 0.8, bump(p, (32, -10, 0), (13, 5, 20))),
        "brow_ridge": _along(0, 0, 1.9, bump(p, (26, 20, 8), (30, 10, 30))),
        "glabella": _along(0, 0, 1.2, bump(p, (0, 20, 15), (14, 14, 25))),
        "brow_height": _along(0, 1.5, 0, bump(p, (34, 25, 3), (36, 12, 40))),
        "brow_tilt": _along(0, 0.06 * (np.abs(x) - 34), 0, bump(p, (34, 25, 3), (36, 12, 40))),
        "mouth_width": _along(0.07 * x, 0, 0, mouth),
        "mouth_height": _along(0, 1.9, 0, bump(p, (0, -69, 15), (40, 20, 45))),
        "mouth_protrusion": _along(0, 0, 2.0, bump(p, (0, -69, 18), (30, 20, 40))),
        "mouth_corner_height": _along(0, 1.0, 0, bump(p, (25, -70, 10), (12, 12, 20))),
        "upper_lip_fullness": _along(0, 0.9, 1.0, upper_lip),
        "lower_lip_fullness": _along(0, -1.0, 1.1, lower_lip),
        "cupids_bow": _along(0, 0.7, 0, bump(p, (8, -59, 25), (6, 4, 14)) - bump(p, (0, -59, 26), (4, 4, 14))),
        "philtrum": _along(0, 0, -0.7, bump(p, (0, -53, 25), (3, 7, 12))),
        "mentolabial_fold": _along(0, 0, -1.2, bump(p, (0, -85, 18), (18, 6, 20))),
        "cheekbone_width": _along(2.0 * side, 0, 0.6, bump(p, (62, -12, -25), (26, 22, 40))),
        "cheekbone_front": _along(0, 0, 1.8, bump(p, (42, -22, 2), (22, 18, 35))),
        "cheek_fullness": _along(2.8 * side, 0, 1.6, bump(p, (54, -52, -15), (26, 28, 45))),
        "cheek_hollow": _along(-1.4 * side, 0, -1.4, bump(p, (48, -55, -5), (16, 18, 35))),
        "nasolabial_fold": _along(0, 0, -1.0, _fold(p)) + _along(0, 0, 1.2, bump(p, (33, -46, 7), (10, 14, 20))),
        "jowl": _along(1.2 * side, -2.2, 0.4, bump(p, (40, -92, -12), (20, 18, 35))),
        "double_chin": _along(0, -3.0, 1.2, bump(p, (0, -122, -22), (45, 18, 32))),
        "midface_protrusion": _along(0, 0, 2.0, bump(p, (0, -40, 10), (55, 45, 60))),
        "forehead_slope": _along(0, 0, -0.055 * (y - 30), smoothstep(y, 20.0, 50.0) * front),
        "forehead_bulge": _along(0, 0, 2.2, bump(p, (0, 55, 5), (50, 26, 50))),
        "forehead_width": _along(2.0 * side, 0, 0, bump(p, (66, 40, -40), (35, 38, 50))),
        "temple_hollow": _along(-1.6 * side, 0, -1.0, bump(p, (66, 18, -35), (16, 22, 30))),
        "skull_height": _along(0, 4.0, 0, smoothstep(y, 40.0, 115.0)),
        "skull_length": _along(0, 0, -5.0, smoothstep(-z, 80.0, 180.0)),
        "ear_size": _along(0.12 * ear_x * side, 0.09 * ear_y, -0.06 * (-z - 88), is_ear),
        "ear_protrusion": _along(0.32 * ear_x * side, 0, 0.18 * ear_x, is_ear),
        "ear_height": _along(0, 2.5, 0, bump(p, (80, -10, -92), (40, 45, 35)) * (template.part == "ear")),
        "ear_lobe": _along(0, -2.5, 0, is_ear * smoothstep(-y, 25.0, 45.0)),
        "neck_width": _along(0.09 * x, 0, 0.07 * (z + 95), neck),
        "throat": _along(0, 0, 1.8, bump(p, (0, -158, -42), (13, 14, 25))),
        "asymmetric_nose": _along(1.0, 0, 0, nose),
        "asymmetric_mouth": _along(0.9, 0, 0, mouth),
        "asymmetric_mouth_tilt": _along(0, 0.03 * x, 0, mouth),
        "asymmetric_chin": _along(1.2, 0, 0, bump(p, (0, -104, 8), (36, 24, 45))),
        "asymmetric_jaw": _along(1.5, 0.6 * side, 0, bump(p, (55, -75, -30), (25, 28, 45))),
        "asymmetric_eyes": _along(0, 0.6 * side, 0, eye_wide),
        "asymmetric_brows": _along(0, 0.8 * side, 0, bump(p, (34, 25, 3), (36, 12, 40))),
        "asymmetric_lids": _along(0, 0.04 * y * side, 0, bump(p, (31, 0, 0), (17, 8, 25))),
        "asymmetric_cheeks": _along(1.0, 0, 0.8 * side, bump(p, (52, -40, -10), (26, 30, 45))),
    }


def smooth_controls(template: Template) -> Points:
    """Random smooth displacements (3 scales x fields, V, 3), mostly symmetric, quiet about the eyeballs."""
    generator = np.random.default_rng(80)
    p = template.position
    mirrored = p * (-1, 1, 1)
    calm = 1 - 0.75 * bump(p, (31, 0, -6), (17, 13, 25))
    fields = []
    for length, size in _SMOOTH_SCALES:
        for number in range(SMOOTH_FIELDS_PER_SCALE):
            wave = generator.normal(size=(12, 3)) / length
            phase = generator.uniform(0, 2 * np.pi, 12)
            mix = generator.normal(size=(12, 3)) / np.sqrt(6.0)
            here = np.cos(p @ wave.T + phase) @ mix
            there = (np.cos(mirrored @ wave.T + phase) @ mix) * (-1, 1, 1)
            # One field in five may be lopsided.
            part = 0.5 * (here - 0.6 * there) if number % 5 == 4 else (here + there) / np.sqrt(2)
            fields.append(size * part * (calm[:, None] if length < 50 else 1.0))
    return np.stack(fields)


def identity_controls(template: Template) -> Points:
    """All identity controls (K, V, 3), mm per unit."""
    return np.concatenate([np.stack(list(anatomical_controls(template).values())), smooth_controls(template)])


def _fold(p: Points) -> Array:
    """Weight along the line from the nose wing to beside the mouth corner."""
    along = np.clip((-38 - p[:, 1]) / 34.0, 0, 1)
    line_x = 19 + 13 * along
    return (
        np.exp(-(((np.abs(p[:, 0]) - line_x) / 3.5) ** 2))
        * smoothstep(-p[:, 1], 34, 44)
        * smoothstep(p[:, 1], -80, -66)
    )


def _lower_lip(template: Template) -> Array:
    return (template.part == "lips") * (np.sin(template.turn) < -1e-9) * 1.0


def _not_upper(template: Template) -> Array:
    return 1.0 - (template.part == "lips") * (np.sin(template.turn) > 1e-9)
