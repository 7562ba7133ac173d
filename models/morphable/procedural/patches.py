"""Structured parts of the head: lids, lips, mouth, nostrils, ears and neck as rings of rows and columns.

Each patch starts at a ring that the skin triangulation leaves open and gives rows of points (rows, columns, 3) in
millimetres, counter-clockwise seen from outside, running into the opening. Rows are sampled from continuous surfaces,
so every density shows the same shape. Side patches are those at x > 0.
"""

from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray
from scipy.interpolate import CubicSpline

from models.morphable.procedural.head import CENTRE, HeadSurface, Points, neck_ring
from models.morphable.procedural.proportions import EYEBALL_CENTRE, landmark_means

Values = NDArray[np.float64] | float | int

NECK_BOTTOM = -212.0


@dataclass(frozen=True)
class Patch:
    """Rows of a ring patch.

    Attributes:
        rows: (rows, columns, 3), mm; row 0 is the ring shared with the skin.
        depth: (rows) how far into the patch, 0 at the ring; named stages are multiples of 1 (see each maker).
        landmarks: (landmark number, row, column) of those that the patch carries.
        cap: depth of the point that closes the last row; None where it stays open.
    """

    name: str
    rows: Points
    depth: NDArray[np.float64]
    landmarks: tuple[tuple[int, int, int], ...] = ()
    cap: float | None = None


def arc(points: Points, per_segment: int) -> Points:
    """Cubic curve through points (N, 3), `per_segment` steps between neighbours; the last point is left out."""
    steps = np.concatenate([[0.0], np.cumsum(np.linalg.norm(np.diff(points, axis=0), axis=1))])
    fine = np.concatenate([np.linspace(a, b, per_segment, endpoint=False) for a, b in pairwise(steps)])
    return CubicSpline(steps, points)(fine)


def smoothstep(value: Values, low: Values, high: Values) -> NDArray[np.float64]:
    """Cubic ramp from 0 at `low` to 1 at `high`."""
    t = np.clip((np.asarray(value) - low) / (high - low), 0.0, 1.0)
    return np.asarray(t * t * (3 - 2 * t))


def _unit(vectors: Points) -> Points:
    return vectors / np.linalg.norm(vectors, axis=-1, keepdims=True)


def eyelid_ring(surface: HeadSurface, per_segment: int) -> Points:
    """Ellipse on the skin about the eye, from the outer corner over the top."""
    angle = 2 * np.pi * np.arange(6 * per_segment) / (6 * per_segment)
    wide = np.where(np.cos(angle) > 0, 21.0, 18.0)
    high = np.where(np.sin(angle) > 0, 12.0, 11.5)
    return surface.lift(np.stack([31.5 + wide * np.cos(angle), 0.4 + high * np.sin(angle)], axis=1))


def eyelids(surface: HeadSurface, per_segment: int, lid_rows: int) -> Patch:
    """Lids: depth 0 skin ring, 1 lid margin (landmarks), 1.5 back of the margin, 2 behind the lid on the eyeball."""
    mean = landmark_means()
    upper = arc(mean[[45, 44, 43, 42]], per_segment)
    lower = arc(mean[[42, 47, 46, 45]], per_segment)
    margin = np.concatenate([upper, lower])
    ring = eyelid_ring(surface, per_segment)
    # The lid leaves the skin along the skin and reaches the margin along the eyeball.
    inward = margin - ring
    inside = surface.lift(ring[:, :2] + 0.1 * inward[:, :2])
    leave = (inside - ring) / 0.1
    outward = _unit(margin - EYEBALL_CENTRE)
    arrive = inward - outward * (inward * outward).sum(axis=1, keepdims=True)
    arrive *= np.linalg.norm(inward, axis=1, keepdims=True) / np.linalg.norm(arrive, axis=1, keepdims=True) * 0.8
    angle = 2 * np.pi * np.arange(len(margin)) / len(margin)
    over = np.clip(np.sin(angle), 0, 1) ** 0.6
    under = np.clip(-np.sin(angle), 0, 1) ** 0.6
    # Rows gather at the crease and the margin, where the lid bends.
    depth = np.linspace(0, 1, lid_rows + 1) ** 0.85
    rows = []
    for t in depth:
        lid = (
            (2 * t**3 - 3 * t**2 + 1) * ring
            + (t**3 - 2 * t**2 + t) * leave
            + (3 * t**2 - 2 * t**3) * margin
            + (t**3 - t**2) * arrive
        )
        crease = -1.7 * np.exp(-(((t - 0.60) / 0.11) ** 2)) + 0.9 * np.exp(-(((t - 0.40) / 0.14) ** 2))
        pouch = -0.7 * np.exp(-(((t - 0.45) / 0.16) ** 2)) + 0.4 * np.exp(-(((t - 0.78) / 0.12) ** 2))
        rows.append(lid + outward * (over * crease + under * pouch)[:, None])
    opening = margin[:, :2].mean(axis=0)
    narrowed = margin.copy()
    narrowed[:, :2] += 0.04 * (opening - margin[:, :2])
    rim = EYEBALL_CENTRE + 12.45 * _unit(narrowed - EYEBALL_CENTRE)
    behind = margin.copy()
    behind[:, :2] += 0.55 * (ring[:, :2] - margin[:, :2])
    behind = EYEBALL_CENTRE + 12.6 * _unit(behind - EYEBALL_CENTRE)
    rows += [(margin + rim) / 2 + 0.15 * outward, rim, behind]
    corners = [45, 44, 43, 42, 47, 46]
    marks = tuple((number, lid_rows, k * per_segment) for k, number in enumerate(corners))
    return Patch("eyelids", np.array(rows), np.concatenate([depth, [1.25, 1.5, 2.0]]), marks)


def lip_ring(per_segment: int) -> Points:
    """Outer contour of the lips, from the corner at the image's right over the top; 24 `per_segment` columns."""
    mean = landmark_means()
    upper = arc(mean[[54, 53, 52, 51, 50, 49, 48]], 2 * per_segment)
    lower = arc(mean[[48, 59, 58, 57, 56, 55, 54]], 2 * per_segment)
    return np.concatenate([upper, lower])


def lips(per_segment: int, lip_rows: int, bag_rows: int) -> Patch:
    """Lips and mouth: depth 0 outer contour, 1 inner contour (landmarks), 2 behind the lips, 3 back of the mouth."""
    mean = landmark_means()
    outer = lip_ring(per_segment)
    upper = arc(mean[[64, 63, 62, 61, 60]], 3 * per_segment)
    lower = arc(mean[[60, 67, 66, 65, 64]], 3 * per_segment)
    inner = np.concatenate([upper, lower])
    angle = 2 * np.pi * np.arange(len(outer)) / len(outer)
    over, under = np.clip(np.sin(angle), 0, 1) ** 0.7, np.clip(-np.sin(angle), 0, 1) ** 0.7
    tubercle = np.exp(-((outer[:, 0] / 5.0) ** 2))
    depth = np.linspace(0, 1, lip_rows + 1)
    rows = []
    for t in depth:
        row = (1 - t) * outer + t * inner
        # The red of the lips bulges and rolls in at the inner contour: about 3 mm below, 2 mm above.
        swell = np.sin(np.pi * t**1.25)
        row[:, 2] += swell * (over * (1.9 + 0.8 * tubercle) + under * 3.6)
        row[:, 1] += swell * (-0.9 * over - 0.3 * under)
        rows.append(row)
    behind = inner + np.stack([0 * angle, 2.0 * over - 2.0 * under, -4.0 + 0 * angle], axis=1)
    depths = [2.0]
    rows.append(behind)
    for k in range(1, bag_rows + 1):
        b = k / (bag_rows + 1)
        size = np.sqrt(1 - b**2)
        cavity = np.stack(
            [24 * np.cos(angle) * size, -69 + 13 * np.sin(angle) * size, behind[:, 2] - 3 - 46 * b], axis=1
        )
        early = smoothstep(b, 0.0, 0.35)
        rows.append((1 - early) * (behind + (cavity - behind) * (0, 0, 1)) + early * cavity)
        depths.append(2.0 + b)
    marks = [
        (number, 0, k * 2 * per_segment) for k, number in enumerate((54, 53, 52, 51, 50, 49, 48, 59, 58, 57, 56, 55))
    ]
    inner_numbers = (64, 63, 62, 61, 60, 67, 66, 65)
    marks += [(number, lip_rows, k * 3 * per_segment) for k, number in enumerate(inner_numbers)]
    return Patch("lips", np.array(rows), np.concatenate([depth, depths]), tuple(marks), cap=3.0)


def nostril_ring(surface: HeadSurface, columns: int) -> Points:
    """Oval under the nose, tilted towards the tip."""
    angle = 2 * np.pi * np.arange(columns) / columns
    across, along = 3.4 * np.cos(angle), 2.3 * np.sin(angle)
    tilt = 0.35
    x = 7.3 + across * np.cos(tilt) - along * np.sin(tilt) * 0.5
    y = -42.6 - across * np.sin(tilt) * 0.55 + along * np.cos(tilt)
    return surface.lift(np.stack([x, y], axis=1))


def nostril(surface: HeadSurface, columns: int, inner_rows: int) -> Patch:
    """Nostril: depth 0 rim, 1 its end, 10 mm up inside the nose."""
    ring = nostril_ring(surface, columns)
    centre = ring.mean(axis=0)
    depth = np.linspace(0, 1, inner_rows + 2)[:-1]
    rows = []
    for t in depth:
        rows.append(centre + (ring - centre) * (1 - 0.55 * t) + np.array([-1.0, 10.0, -2.0]) * t)
    return Patch("nostril", np.array(rows), depth, cap=1.0)


def ear_ring(surface: HeadSurface, columns: int) -> Points:
    """Root of the ear on the side of the head, from its front edge downwards."""
    angle = 2 * np.pi * np.arange(columns) / columns
    back, up = -_EAR_ROOT[0] * np.cos(angle), -_EAR_ROOT[1] * np.sin(angle)
    z = _EAR_MIDDLE[2] - back - _EAR_LEAN * up
    direction = np.stack([np.full(columns, 76.0), _EAR_MIDDLE[1] + up, z], axis=1) - CENTRE * (0, 1, 1)
    return surface.point(direction)


# Middle of the ear's root and its half width and height, mm; how far the ear leans back per mm of height.
_EAR_MIDDLE = np.array([76.0, -11.0, -88.0])
_EAR_ROOT = (8.0, 24.0)
_EAR_LEAN = 0.20


def ear(surface: HeadSurface, columns: int, back_rows: int, front_rows: int) -> Patch:
    """Ear: depth 0 root on the head, 1 outermost edge of the helix, 2 middle of the concha."""
    ring = ear_ring(surface, columns)
    angle = 2 * np.pi * np.arange(columns) / columns
    backward, upward = -np.cos(angle), -np.sin(angle)
    # 0 where the ear is joined to the cheek, 1 where it is a free flap.
    flap = smoothstep(backward, -0.92, 0.0)
    reach = 22.0 + 4.0 * np.clip(upward, 0, 1) - 3.0 * np.clip(-upward, 0, 1)
    outline_back = (1 - flap) * 0.92 * _EAR_ROOT[0] * backward + flap * np.sign(backward) * np.abs(
        backward
    ) ** 0.85 * reach
    outline_up = upward * ((1 - flap) * 0.92 * _EAR_ROOT[1] + flap * 31.0) * np.maximum(np.abs(upward), 0.2) ** -0.12
    lobe = smoothstep(-upward, 0.45, 0.95)

    def place(back: NDArray[np.float64], up: NDArray[np.float64], out: NDArray[np.float64]) -> Points:
        """Ear frame to head: the flap stands off by about 30 degrees."""
        stand_off = 0.55 * np.clip(back, 0, None) + 0.25 * np.clip(back, None, 0)
        return np.stack(
            [
                ring[:, 0].mean() + 0.8 + out + stand_off,
                _EAR_MIDDLE[1] + up,
                _EAR_MIDDLE[2] - back - _EAR_LEAN * up,
            ],
            axis=1,
        )

    place(outline_back, outline_up, 2.2 * flap)
    tuck = place(0.93 * outline_back, 0.94 * outline_up, -0.3 * flap)
    rows, depth = [ring], [0.0]
    for k in range(1, back_rows + 1):
        t = k / back_rows
        # Behind the ear the skin dips into a groove before it runs out to the helix.
        groove = -1.5 * np.sin(np.pi * t) * flap
        rows.append((1 - t) * ring + t * tuck + groove[:, None] * np.array([1.0, 0, 0]))
        depth.append(0.9 * t)
    free = flap * (1 - lobe)
    for k in range(front_rows + 1):
        # Rows gather at the rim, which is the most sharply bent.
        t = (k / (front_rows + 1)) ** 1.2
        s = 1 - t
        helix = 1.4 * np.exp(-(((s - 0.92) / 0.07) ** 2)) + 1.6 * smoothstep(s, 0.80, 0.92)
        scapha = -1.6 * np.exp(-(((s - 0.80) / 0.08) ** 2))
        antihelix = 2.6 * np.exp(-(((s - 0.64) / 0.09) ** 2))
        concha = -5.2 * smoothstep(t, 0.40, 0.62)
        soft_lobe = lobe * flap * 2.4 * np.sin(np.pi * min(1.0, 1.6 * t))
        tragus = (1 - flap) * np.exp(-(((s - 0.70) / 0.2) ** 2) - ((upward + 0.15) / 0.4) ** 2)
        relief = free * (helix + scapha + antihelix) + soft_lobe + 3.6 * tragus + concha + 0.6 * flap
        rows.append(place(outline_back * s - 2.5 * t + 3.0 * tragus, outline_up * s - 2.0 * t, relief))
        depth.append(1.0 + t)
    return Patch("ear", np.array(rows), np.array(depth), cap=2.0)


def neck_angles(columns: int) -> NDArray[np.float64]:
    """Angles of the neck's columns: from the front, counter-clockwise seen from below."""
    return np.pi / 2 + 2 * np.pi * np.arange(columns) / columns


def neck(columns: int, rows_down: int) -> Patch:
    """Neck: depth 0 ring under the jaw, 1 base where the shoulders begin."""
    angle = neck_angles(columns)
    ring = neck_ring(angle)
    depth = np.linspace(0, 1, rows_down + 1)
    rows = []
    for t in depth:
        flare = smoothstep(t, 0.45, 1.15) * 30.0
        waist = -2.5 * np.sin(np.pi * min(1.0, 1.3 * t))
        side = np.abs(np.cos(angle))
        x = np.cos(angle) * (57.0 + waist + flare * (0.3 + side))
        z = np.sin(angle) * (55.0 + waist + 0.35 * flare) - 95.0 - 14.0 * t
        throat = (
            3.0 * np.exp(-(((t - 0.35) / 0.16) ** 2)) * np.exp(-((np.cos(angle) / 0.16) ** 2)) * (np.sin(angle) > 0)
        )
        y = (1 - t) * ring[:, 1] + t * (NECK_BOTTOM + 22.0 * side**2 - 10.0 * np.sin(angle))
        rows.append(np.stack([x, y, z + throat], axis=1))
    return Patch("neck", np.array(rows), depth)
