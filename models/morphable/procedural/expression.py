"""Expression: named blendshapes as displacements of the mean head in millimetres at full strength.

Left and right are the subject's: left is x > 0, the image's right. Sizes at full strength follow scanned expressions:
an open jaw moves the chin 28 down and 29 back, a smile a mouth corner 7 out, 10 up and 9 back, a pucker brings the
lips 12 forward and the corners 5 inwards, inner brows rise 5, an upper lid closes 8 mm.
"""

import numpy as np
from numpy.typing import NDArray

from models.morphable.procedural.head import Points
from models.morphable.procedural.identity import Number, Triple
from models.morphable.procedural.mesh import Template
from models.morphable.procedural.patches import arc, smoothstep
from models.morphable.procedural.proportions import EYEBALL_CENTRE, landmark_means

Array = NDArray[np.float64]

# The jaw turns about an axis through the joints before the ears.
_HINGE = np.array([0.0, -35.0, -85.0])
_HALF = (("left", 1.0), ("right", -1.0))


class _Face:
    """Weights that the blendshapes of one template share."""

    def __init__(self, template: Template) -> None:
        self.p = template.position
        self.x, self.y, self.z = self.p.T
        self.template = template
        is_lips = template.part == "lips"
        height = np.where(is_lips, np.sin(template.turn), 0.0)
        upper, lower = np.clip(height, 0, 1), np.clip(-height, 0, 1)
        # 1 on the lower lip and -1 on the upper one, blending to 0 at the corners.
        self.lower_lip, self.upper_lip = 1 - (1 - lower) ** 2, 1 - (1 - upper) ** 2
        self.is_lips = is_lips
        # Full at the red of the lips, fading through the back of the mouth.
        self.lip_depth = np.where(is_lips, 1 - smoothstep(template.depth, 2.0, 2.9), 1.0)
        self.jaw = self._jaw_weight()

    def _jaw_weight(self) -> Array:
        """How far a point follows the lower jaw: below a line from joint to mouth corner, in front of the neck."""
        line = -20.0 - 50.0 * np.clip((self.z + 70.0) / 80.0, 0, 1)
        reach = 6.0 + 24.0 * smoothstep(np.abs(self.x), 15.0, 52.0)
        weight = smoothstep(line - self.y - 2.0, -reach, reach)
        corner = 0.35
        lips = np.where(self.upper_lip > 0, corner * (1 - self.upper_lip), corner + (1 - corner) * self.lower_lip)
        inside = np.where(self.template.depth > 2, 0.5 * smoothstep(self.template.depth, 2.3, 3.0), 0.0)
        lips = lips * (1 - inside) + 0.5 * inside
        weight = np.where(self.is_lips, lips, weight)
        throat = 1 - smoothstep(-self.y, 112.0, 165.0)
        return weight * throat * smoothstep(self.z, -84.0, -48.0) * (self.template.part != "ear")

    def bump(self, centre: Triple, radii: Triple) -> Array:
        return np.exp(-(((self.p - np.array(centre)) / np.array(radii)) ** 2).sum(axis=1))

    def side(self, sign: float, softness: float = 8.0) -> Array:
        """1 on the named side, 0 on the other."""
        return smoothstep(sign * self.x, -softness, softness)

    def move(self, weight: Array, x: Array | Number, y: Array | Number, z: Array | Number) -> Points:
        return np.stack([weight * x, weight * y, weight * z], axis=1)


def blendshapes(template: Template) -> dict[str, Points]:
    """Displacements (V, 3) in mm of the 64 named expressions at full strength."""
    face = _Face(template)
    return _brows(face) | _eyes(face) | _cheeks_and_nose(face) | _jaw(face) | _mouth_sides(face) | _mouth(face)


def _brows(face: _Face) -> dict[str, Points]:
    shapes = {}
    for name, s in _HALF:
        inner = face.bump((s * 15, 27, 12), (15, 15, 30)) + 0.35 * face.bump((s * 16, 48, 8), (20, 14, 30))
        outer = face.bump((s * 46, 27, -2), (19, 15, 30)) + 0.3 * face.bump((s * 42, 48, 0), (22, 14, 30))
        whole = face.bump((s * 28, 22, 6), (26, 11, 30))
        shapes[f"brow_inner_up_{name}"] = face.move(inner, 0, 5.0, 0.6)
        shapes[f"brow_outer_up_{name}"] = face.move(outer, 0, 5.5, 0.3)
        shapes[f"brow_down_{name}"] = face.move(whole, -s * 1.2, -5.0, 0.8)
    between = face.bump((0, 22, 14), (24, 12, 25))
    shapes["brow_squeeze"] = face.move(between, -3.2 * np.tanh(face.x / 9.0), -1.6, 1.0)
    return shapes


def _lid_margins(per_segment: int = 60) -> tuple[Points, Points]:
    """Upper and lower lid margin of the eye at x > 0, each ordered from the outer to the inner corner."""
    mean = landmark_means()
    last = mean[[42]]
    upper = np.concatenate([arc(mean[[45, 44, 43, 42]], per_segment), last])
    return upper, np.concatenate([arc(mean[[45, 46, 47, 42]], per_segment), last])


def _close_lids(face: _Face, sign: float) -> Points:
    """Both lids meet along the lower margin; the upper one unrolls over the eyeball."""
    t = face.template
    upper, lower = _lid_margins()
    chosen = (t.part == "eyelids") & (sign * face.x > 0)
    p = face.p * (sign, 1, 1)
    is_upper = chosen & (t.turn <= np.pi + 1e-9)
    column = np.where(is_upper, t.turn, 2 * np.pi - t.turn) / np.pi
    places = np.linspace(0, 1, len(upper))
    margin_upper = np.stack([np.interp(column, places, upper[:, k]) for k in range(3)], axis=1)
    np.stack([np.interp(column, places, lower[:, k]) for k in range(3)], axis=1)
    below = np.interp(margin_upper[:, 0], lower[::-1, 0], lower[::-1, 1])
    below_z = np.interp(margin_upper[:, 0], lower[::-1, 0], lower[::-1, 2])
    meet = 1.0 * np.sin(np.pi * column)
    drop = np.stack([0 * below, below + meet - 0.4 - margin_upper[:, 1], below_z + 0.5 - margin_upper[:, 2]], axis=1)
    lift = np.stack([0 * below, meet, 0.0 * meet], axis=1)
    share = smoothstep(t.depth, 0.12, 1.0) * np.where(t.depth > 1.6, 0.6, 1.0)
    moved = np.where(is_upper[:, None], drop, lift) * share[:, None]
    # On its way the lid stays in front of the eyeball.
    reached = p + moved
    offset = reached - EYEBALL_CENTRE
    flat = (offset[:, :2] ** 2).sum(axis=1)
    shell = EYEBALL_CENTRE[2] + np.sqrt(np.clip(14.6**2 - flat, 0.0, None))
    skin = chosen & (t.depth <= 1.0) & is_upper & (flat < 13.5**2)
    moved[:, 2] += np.where(skin, np.clip(shell - reached[:, 2], 0, None) * smoothstep(t.depth, 0.3, 0.75), 0)
    return np.where(chosen[:, None], moved, 0.0) * (sign, 1, 1)


def _eyes(face: _Face) -> dict[str, Points]:
    shapes = {}
    t = face.template
    for name, s in _HALF:
        close = _close_lids(face, s)
        upper = close * (np.sin(t.turn) > 0)[:, None]
        lower = close * (np.sin(t.turn) < 0)[:, None]
        around = face.bump((s * 31, 0, 0), (24, 16, 40))
        under = face.bump((s * 32, -9, 0), (17, 8, 30))
        shapes[f"eye_blink_{name}"] = close + face.move(under, 0, 0.6, 0)
        shapes[f"eye_wide_{name}"] = (
            -0.30 * upper - 0.8 * lower + face.move(face.bump((s * 31, 13, 3), (18, 9, 30)), 0, 1.2, 0)
        )
        shapes[f"eye_squint_{name}"] = 0.28 * upper + 2.2 * lower + face.move(under, 0, 1.6, 0.8)
        shapes[f"lower_lid_raise_{name}"] = 1.6 * lower + face.move(under, 0, 0.8, 0.3)
        shapes[f"look_up_{name}"] = -0.22 * upper + 0.5 * lower + face.move(around, 0, 0.5, 0)
        shapes[f"look_down_{name}"] = 0.42 * upper - 1.0 * lower - face.move(under, 0, 0.6, 0)
    return shapes


def _cheeks_and_nose(face: _Face) -> dict[str, Points]:
    shapes = {}
    for name, s in _HALF:
        shapes[f"cheek_raise_{name}"] = face.move(face.bump((s * 42, -22, 2), (20, 16, 35)), s * 0.8, 4.0, 2.4)
        cheek = face.bump((s * 47, -62, -2), (22, 22, 40))
        shapes[f"cheek_puff_{name}"] = face.move(cheek, s * 7.0, 0, 6.0)
        shapes[f"cheek_suck_{name}"] = face.move(cheek, -s * 4.5, 0, -4.0)
        wing = face.bump((s * 13, -40, 18), (8, 10, 18))
        crease = face.bump((s * 18, -34, 12), (11, 16, 25))
        shapes[f"nose_sneer_{name}"] = face.move(crease, s * 0.6, 4.2, 0.8) + face.move(
            face.bump((s * 12, -59, 22), (12, 7, 25)) * (1 - face.lower_lip), 0, 2.2, 0
        )
        shapes[f"nostril_flare_{name}"] = face.move(wing, s * 2.2, 0.5, -0.4)
    return shapes


def _turn_jaw(face: _Face, degrees: float) -> Points:
    angle = np.deg2rad(degrees)
    offset = face.p - _HINGE
    y = offset[:, 1] * np.cos(angle) - offset[:, 2] * np.sin(angle)
    z = offset[:, 1] * np.sin(angle) + offset[:, 2] * np.cos(angle)
    return np.stack([0 * y, y - offset[:, 1], z - offset[:, 2]], axis=1) * face.jaw[:, None]


def _jaw(face: _Face) -> dict[str, Points]:
    narrow = face.bump((0, -70, 10), (36, 20, 30)) * face.lip_depth
    opened = _turn_jaw(face, 19.5) + face.move(narrow, -0.09 * face.x, 0, 0)
    # Lips that stay closed while the jaw drops: the lower lip is carried up and the upper one down, to meet.
    rise = face.bump((0, -74, 20), (34, 15, 35)) * (1 - face.upper_lip) * face.lip_depth
    sink = face.bump((0, -63, 24), (26, 10, 30)) * (1 - face.lower_lip) * face.lip_depth
    closed = -opened * (0.80 * rise)[:, None] + face.move(sink, 0, -9.5, -4.0)
    shapes = {"jaw_open": opened, "mouth_close": closed, "jaw_forward": face.move(face.jaw, 0, 0, 6.0)}
    for name, s in _HALF:
        shapes[f"jaw_{name}"] = face.move(face.jaw, s * 8.0, 0, -1.0)
    return shapes


def _mouth_sides(face: _Face) -> dict[str, Points]:
    shapes = {}
    for name, s in _HALF:
        side = face.side(s) * face.lip_depth
        corner = face.bump((s * 27, -69, 8), (17, 15, 30)) * side
        corner_tight = face.bump((s * 26, -69, 9), (10, 10, 25)) * side
        cheek = face.bump((s * 43, -42, 2), (18, 18, 35))
        lateral = face.bump((s * 44, -66, -4), (20, 24, 40))
        upper = face.bump((s * 10, -62, 23), (13, 8, 25)) * (1 - face.lower_lip) * side
        below = face.bump((s * 11, -77, 21), (13, 8, 25)) * (1 - face.upper_lip) * side
        shapes[f"mouth_smile_{name}"] = (
            face.move(corner, s * 6.4, 9.7, -9.2)
            + face.move(cheek, s * 1.8, 4.0, 2.6)
            + face.move(lateral, s * 2.4, 1.5, 0.0)
            + face.move(face.bump((s * 33, -9, 0), (16, 7, 30)), 0, 1.2, 0.5)
        )
        shapes[f"mouth_frown_{name}"] = face.move(corner, s * 0.8, -7.0, -2.0) + face.move(
            face.bump((s * 26, -88, 6), (15, 10, 30)), 0, -1.6, 0.8
        )
        shapes[f"mouth_dimple_{name}"] = face.move(corner_tight, s * 5.0, 0.8, -6.0)
        shapes[f"mouth_stretch_{name}"] = face.move(corner, s * 8.0, -3.5, -7.0) + face.move(lateral, s * 2.5, -2.0, 0)
        shapes[f"mouth_tighten_{name}"] = face.move(corner_tight, -s * 3.0, 0, -1.0)
        shapes[f"mouth_upper_up_{name}"] = face.move(upper, 0, 6.5, 0.6) + face.move(
            face.bump((s * 20, -46, 14), (13, 12, 25)) * side, 0, 2.4, 0.8
        )
        shapes[f"mouth_lower_down_{name}"] = face.move(below, 0, -7.0, -0.5)
        shapes[f"mouth_press_{name}"] = (
            face.move(upper, 0, -1.6, -1.0)
            + face.move(below, 0, 2.0, -1.0)
            + face.move(corner_tight, s * 1.0, 0.8, -2.0)
        )
        shapes[f"mouth_{name}"] = face.move(
            face.bump((0, -70, 18), (36, 20, 40)) * face.lip_depth, s * 8.0, 0, -0.02 * s * face.x * 6
        )
        band = face.bump((s * 38, -125, -45), (22, 40, 45))
        shapes[f"neck_tense_{name}"] = face.move(band, s * 2.5, -2.5, 2.5)
    return shapes


def _mouth(face: _Face) -> dict[str, Points]:
    lips = face.bump((0, -69, 20), (25, 14, 30)) * face.lip_depth
    around = face.bump((0, -69, 18), (30, 22, 35)) * face.lip_depth
    upper = face.bump((0, -62, 24), (20, 8, 25)) * (1 - face.lower_lip) * face.lip_depth
    below = face.bump((0, -75, 22), (20, 9, 25)) * (1 - face.upper_lip) * face.lip_depth
    inner = np.where(face.is_lips, smoothstep(face.template.depth, 0.1, 1.0), 0.0) * face.lip_depth
    height = face.y + 69.0
    return {
        "mouth_pucker": face.move(around, -0.40 * face.x, -0.10 * height, 0) + face.move(lips, 0, 0, 12.5),
        "mouth_funnel": face.move(around, -0.22 * face.x, 0, 0)
        + face.move(lips, 0, 0, 8.0)
        + face.move(inner * face.upper_lip, 0, 4.5, 1.0)
        + face.move(inner * face.lower_lip, 0, -5.5, 1.0)
        + face.move(upper, 0, 2.0, 0)
        + face.move(below, 0, -2.5, 0),
        "lips_apart": face.move(upper, 0, 1.2, 0.2) + face.move(below, 0, -4.0, -0.6),
        "lip_roll_upper": face.move(upper, 0, -2.6, -3.0) + face.move(inner * face.upper_lip, 0, 0.6, -2.0),
        "lip_roll_lower": face.move(below, 0, 2.8, -3.0) + face.move(inner * face.lower_lip, 0, -0.6, -2.0),
        "lip_shrug_upper": face.move(upper, 0, 3.2, 1.6),
        "lip_shrug_lower": face.move(below + face.bump((0, -88, 18), (20, 8, 25)), 0, 3.4, 1.6),
        "lip_puff": face.move(face.bump((0, -69, 20), (24, 16, 30)) * face.lip_depth, 0, 0, 4.5),
        "chin_raise": face.move(face.bump((0, -96, 16), (26, 16, 35)), 0, 5.0, 1.4) + face.move(below, 0, 2.0, 0.6),
        "throat_lower": face.move(face.bump((0, -140, -40), (30, 26, 35)), 0, -4.0, 2.0),
    }
