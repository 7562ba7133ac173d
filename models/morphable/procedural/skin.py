"""Albedo of the head: layered skin paintings, from which the reflectance basis is computed.

Skin colour follows the two absorbers of human skin, melanin and haemoglobin: each layer multiplies the albedo by a
transmission exp(-amount * absorption), red least (after Tsumura et al. 2003, "Image-based skin color and texture
analysis/synthesis by extracting hemoglobin and melanin information"; the absorption vectors here are rounded
approximations chosen to span light to dark skin, not measured ones).
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from models.morphable.procedural.head import Points
from models.morphable.procedural.identity import bump
from models.morphable.procedural.mesh import Template
from models.morphable.procedural.patches import smoothstep

Array = NDArray[np.float64]

# Albedo of skin without pigment, and absorption of the pigments for red, green, blue.
_PALE = np.array([0.98, 0.86, 0.78])
_MELANIN = np.array([0.56, 0.80, 1.00])
_BLOOD = np.array([0.10, 0.85, 0.62])
_HAIR_DARK = np.array([0.055, 0.040, 0.032])
_HAIR_FAIR = np.array([0.50, 0.36, 0.20])
_MOUTH = np.array([0.20, 0.065, 0.06])
_SPOTS = 60


@dataclass(frozen=True)
class Pigments:
    """One random painting; amounts are dimensionless, 1 is a strong effect."""

    melanin: float
    blood: float
    lip_red: float
    lip_dark: float
    cheek_red: float
    nose_red: float
    eye_dark: float
    lid_tint: float
    brow_strength: float
    brow_thickness: float
    brow_raise: float
    hair_dark: float
    stubble: float
    moustache: float
    freckles: float
    spots: float
    wrinkles: float
    forehead_lines: float
    shine: float
    blotches: Array
    freckle_field: Array


def random_pigments(generator: np.random.Generator) -> Pigments:
    """Draw one painting. Skin spans very light to very dark; beards and freckles are the exception."""
    # Reflectance, not pigment, is drawn from a normal law: that is what linear coefficients reproduce.
    transmission = float(np.clip(0.71 + 0.17 * generator.normal(), 0.22, 1.05))
    melanin = -np.log(transmission) / _MELANIN[1]
    fair = 1 - smoothstep(melanin, 0.15, 0.5)
    tone = min(melanin, 1.5) / 1.5
    bearded = generator.random() < 0.3
    old = generator.beta(1.2, 2.5)
    return Pigments(
        melanin=float(melanin),
        blood=float(np.clip(0.14 + 0.05 * generator.normal(), 0.02, 0.4)),
        lip_red=float(np.clip(0.34 + 0.15 * generator.normal(), 0.05, 0.9)),
        lip_dark=float(np.clip(0.12 + 0.10 * generator.normal() + 0.1 * tone, 0.0, 0.5)),
        cheek_red=float(np.clip(0.09 + 0.055 * generator.normal(), -0.03, 0.3)),
        nose_red=float(np.clip(0.07 + 0.07 * generator.normal(), -0.05, 0.4)),
        eye_dark=float(np.clip(0.16 + 0.14 * generator.normal() + 0.1 * old, 0.0, 0.6)),
        lid_tint=float(0.08 * generator.normal()),
        brow_strength=float(np.clip(0.72 + 0.20 * generator.normal(), 0.1, 1.0)),
        brow_thickness=float(np.clip(1.0 + 0.28 * generator.normal(), 0.45, 1.8)),
        brow_raise=float(0.9 * generator.normal()),
        hair_dark=float(np.clip(1 - fair * generator.beta(1.5, 1.5), 0.0, 1.0)),
        stubble=float(generator.beta(1.5, 2.0) * bearded),
        moustache=float(generator.beta(1.5, 2.0) * bearded),
        freckles=float(fair * (generator.random() < 0.3) * generator.random()),
        spots=float(old * generator.random()),
        wrinkles=float(old * generator.random()),
        forehead_lines=float(old * generator.random()),
        shine=float(0.04 * generator.normal()),
        blotches=generator.normal(size=(2, 24)),
        freckle_field=generator.normal(size=_SPOTS),
    )


class SkinPainter:
    """Paints the mean head of one template; fields that all paintings share are computed once."""

    def __init__(self, template: Template) -> None:
        p = template.position
        self.p, self.part, self.depth = p, template.part, template.depth
        x, y, z = np.abs(p[:, 0]), p[:, 1], p[:, 2]
        self.brow_along, self.brow_across = _brow_coordinates(p)
        lips = template.part == "lips"
        # The vermilion has a soft border, so that it does not alias at low densities.
        self.lips = np.where(
            lips, smoothstep(template.depth, -0.05, 0.12) * (1 - smoothstep(template.depth, 1.6, 2.0)), 0.0
        )
        self.mouth = np.where(lips, smoothstep(template.depth, 1.0, 2.2), 0.0)
        self.nostril = np.where(template.part == "nostril", smoothstep(template.depth, 0.0, 0.4), 0.0)
        self.lid_edge = np.where(template.part == "eyelids", smoothstep(template.depth, 0.93, 1.2), 0.0)
        self.lash = np.where(
            template.part == "eyelids",
            np.exp(-(((template.depth - 1.02) / 0.07) ** 2)) * (0.35 + 0.65 * (np.sin(template.turn) > 0)),
            0.0,
        )
        self.cheeks = bump(p, (44, -32, 2), (20, 18, 40)) + 0.6 * bump(p, (82, -12, -95), (14, 40, 30))
        self.nose = bump(p, (0, -36, 34), (15, 11, 18))
        self.sockets = bump(p, (28, -8, 0), (16, 7, 25)) + 0.7 * bump(p, (19, 3, 3), (8, 10, 20))
        self.lids = bump(p, (31, 8, 2), (18, 6, 25))
        jaw = smoothstep(-y, 48.0, 72.0) * smoothstep(z, -62.0, -30.0) * (1 - smoothstep(-y, 118.0, 140.0))
        cheek_line = smoothstep(-y - 0.55 * (38 - x), 46.0, 66.0)
        self.beard = jaw * cheek_line * (1 - self._near_lips(p)) * (template.part != "neck")
        self.moustache = bump(p, (9, -54, 24), (17, 5.5, 20)) * (1 - self.lips) * (z > 5)
        self.sideburn = bump(p, (70, -22, -50), (14, 34, 16)) * (template.part == "skin")
        self.folds = np.exp(-((_fold_distance(p) / 1.6) ** 2)) * smoothstep(-y, 36, 46) * smoothstep(y, -80, -66)
        lines = np.cos((y + 0.004 * p[:, 0] ** 2) * 2 * np.pi / 9.0) ** 8
        self.forehead = lines * bump(p, (0, 54, 5), (38, 16, 40))
        self.crow = np.cos(np.arctan2(y, x - 40) * 14) ** 6 * bump(p, (54, 0, -12), (9, 11, 25))
        self.front = smoothstep(z, -70.0, 0.0)
        generator = np.random.default_rng(7)
        waves = generator.normal(size=(24, 3)) / np.repeat([30.0, 12.0], 12)[:, None]
        self.mottled = np.cos(p @ waves.T + generator.uniform(0, 2 * np.pi, 24))
        centres = np.stack(
            [generator.uniform(-55, 55, _SPOTS), generator.uniform(-60, 70, _SPOTS), np.zeros(_SPOTS)], axis=1
        )
        offset = p[:, None, :2] - centres[None, :, :2]
        self.spot_fields = (
            np.exp(-((offset**2).sum(axis=2) / generator.uniform(1.2, 2.6, _SPOTS) ** 2)) * (z > -40)[:, None]
        )

    @staticmethod
    def _near_lips(p: Points) -> Array:
        return bump(p, (0, -69, 20), (25, 10, 40))

    def paint(self, k: Pigments) -> Points:
        """Albedo (V, 3), RGB in [0, 1]."""
        melanin = k.melanin * (1 + 0.035 * self.mottled @ k.blotches[0] / 3) + 0.05 * (1 - self.front)
        blood = k.blood * (1 + 0.10 * self.mottled @ k.blotches[1] / 3)
        blood = blood + k.cheek_red * self.cheeks + k.nose_red * self.nose + 0.25 * k.cheek_red * self.lids
        melanin = melanin + (0.2 + 0.25 * k.melanin) * k.eye_dark * 1.8 * self.sockets + k.lid_tint * self.lids
        freckled = np.clip(self.spot_fields @ np.abs(k.freckle_field), 0, 1.5) * (self.front > 0.3)
        melanin = melanin + 0.30 * k.freckles * freckled
        aged = np.clip(self.spot_fields[:, ::4] @ np.abs(k.freckle_field[::4]), 0, 1.2)
        melanin = melanin + 0.22 * k.spots * aged
        creases = k.wrinkles * (self.folds + 0.7 * self.crow) + k.forehead_lines * self.forehead
        melanin = melanin + 0.20 * creases
        melanin = melanin + k.lip_dark * self.lips
        blood = blood + k.lip_red * self.lips * 1.25 + 0.5 * self.lid_edge
        colour = _PALE * np.exp(-melanin[:, None] * _MELANIN - blood[:, None] * _BLOOD) * (1 + k.shine)
        hair = k.hair_dark * _HAIR_DARK + (1 - k.hair_dark) * _HAIR_FAIR * np.exp(-0.4 * k.melanin)
        # Stubble lets the skin through, so it greys the colour instead of covering it.
        shadow = 0.62 * (k.stubble * np.clip(self.beard + 0.5 * self.sideburn, 0, 1))
        shadow = np.maximum(shadow, 0.62 * k.moustache * np.clip(self.moustache * 1.3, 0, 1))
        colour = _over(colour, hair * 1.6 + 0.03, shadow)
        colour = _over(colour, hair, self._brows(k))
        colour = _over(colour, hair, 0.75 * self.lash)
        colour = _over(colour, _MOUTH, self.mouth)
        colour = colour * (1 - 0.8 * self.nostril)[:, None]
        return np.clip(colour, 0.01, 0.99)

    def _brows(self, k: Pigments) -> Array:
        along, across = self.brow_along, self.brow_across - k.brow_raise
        half = k.brow_thickness * 3.1 * (1.05 - 0.75 * np.clip(along, 0, 1) ** 1.6)
        cover = smoothstep(half + 0.9 - np.abs(across), 0.0, 1.8)
        ends = smoothstep(along, -0.04, 0.10) * (1 - smoothstep(along, 0.90, 1.03))
        return 0.93 * k.brow_strength * cover * ends


def _over(colour: Points, layer: Array, cover: Array) -> Points:
    return colour * (1 - cover[:, None]) + layer * cover[:, None]


def _brow_coordinates(p: Points) -> tuple[Array, Array]:
    """Along the brow from its head (0) to its tail (1), and mm above its middle line."""
    x = np.abs(p[:, 0])
    knots_x = np.array([10.0, 24.0, 38.0, 49.5, 59.0])
    # About 2 mm under the landmarks, which mark the upper edge.
    knots_y = np.array([22.5, 25.2, 25.8, 23.2, 16.5])
    middle = np.interp(x, knots_x, knots_y)
    slope = np.gradient(np.interp(np.linspace(8, 62, 109), knots_x, knots_y), 0.5)
    tilt = np.interp(x, np.linspace(8, 62, 109), slope)
    across = (p[:, 1] - middle) / np.sqrt(1 + tilt**2)
    front = p[:, 2] > -40
    return np.where(front, (x - knots_x[0]) / (knots_x[-1] - knots_x[0]), -1.0), across


def _fold_distance(p: Points) -> Array:
    """Horizontal distance, mm, from the line between nose wing and mouth corner."""
    along = np.clip((-38 - p[:, 1]) / 34.0, 0, 1)
    return np.abs(p[:, 0]) - (19.5 + 12.5 * along)
