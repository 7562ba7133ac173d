"""Skin surface of the head: a radius over directions, interpolated through the measured points and a modelled skull."""

import numpy as np
from numpy.typing import NDArray
from scipy.interpolate import RBFInterpolator

from models.morphable.procedural.proportions import front_depths, landmark_means

Points = NDArray[np.float64]

# Every part of the skin except nostrils and ears is seen from here without occlusion, so a radius describes it.
CENTRE = np.array([0.0, -20.0, -75.0])

# Half width at z = SKULL_AXIS and rearmost z of horizontal sections (y, half width, z), mm; an average adult skull.
SKULL_AXIS = -88.0
_SECTIONS = np.array(
    [
        (106, 28, -112),
        (98, 44, -130),
        (85, 59, -148),
        (70, 68, -162),
        (50, 74, -175),
        (30, 76.5, -182),
        (10, 77, -184),
        (-10, 75.5, -181),
        (-30, 73, -174),
        (-50, 69, -165),
        (-70, 64, -157),
        (-88, 59, -151),
    ],
    dtype=float,
)

# Points that a 10 mm grid cannot resolve: nose (tip, wings, columella), chin, jaw underside, temples.
_DETAILS = np.array(
    [
        (5.5, -30.5, 36.8),
        (9.0, -33.0, 32.0),
        (0.0, -36.5, 37.0),
        (4.0, -38.5, 34.5),
        (0.0, -42.0, 30.0),
        (10.0, -38.0, 29.0),
        (14.0, -38.5, 22.5),
        (16.5, -40.0, 16.5),
        (18.5, -40.5, 11.5),
        (15.0, -44.0, 15.5),
        (17.0, -35.0, 14.5),
        (13.0, -33.0, 22.5),
        (20.0, -36.0, 10.0),
        (4.5, -10.0, 21.0),
        (4.8, -18.0, 28.5),
        (5.0, -25.0, 33.5),
        (9.5, -18.0, 20.5),
        (11.5, -26.0, 22.5),
        (4.5, 0.0, 14.5),
        (0.0, -52.0, 24.5),
        (4.0, -54.0, 25.8),
        (0.0, -56.0, 24.8),
        (0.0, -83.5, 18.0),
        (10.0, -83.5, 16.5),
        (0.0, -95.0, 18.5),
        (0.0, -116.0, -8.0),
        (64.0, -62.0, -62.0),
        (58.0, -84.0, -55.0),
        (52.0, -98.0, -52.0),
        (67.5, -48.0, -70.0),
        (74.5, 10.0, -68.0),
        (74.0, 30.0, -66.0),
    ]
)


def neck_ring(angle: NDArray[np.float64]) -> Points:
    """Where head and neck meet: a tilted section (N, 3), low at the throat, high at the nape.

    `angle` is counted about the vertical from the image's right (0) over the front (pi / 2).
    """
    x, z = 57.0 * np.cos(angle), 55.0 * np.sin(angle)
    return np.stack([x, -116.0 - 18.0 * z / 55.0, z - 95.0], axis=1)


def mirrored(points: Points) -> Points:
    """Points with x > 0 repeated on the other side; midline points once."""
    side = points[points[:, 0] > 1e-6]
    return np.concatenate([points, side * (-1, 1, 1)])


class HeadSurface:
    """Maps directions from `CENTRE` to points of the mean head, mm."""

    def __init__(self) -> None:
        landmarks = landmark_means()
        exact = np.concatenate([landmarks[:60], neck_ring(np.linspace(0, 2 * np.pi, 24, endpoint=False))])
        guides = np.concatenate([mirrored(_measured(landmarks)), mirrored(_DETAILS), mirrored(_skull())])
        points = np.concatenate([exact, guides])
        # Landmarks are met exactly; the guides carry rounding errors of about 0.3 mm, which smoothing absorbs.
        smoothing = np.concatenate([np.full(len(exact), 1e-9), np.full(len(guides), 1.0e-4)])
        offset = points - CENTRE
        radius = np.linalg.norm(offset, axis=1)
        self._radius = RBFInterpolator(
            offset / radius[:, None], radius, smoothing=smoothing, kernel="thin_plate_spline"
        )

    def point(self, direction: Points) -> Points:
        """Surface points (N, 3) along directions (N, 3) of any length."""
        unit = direction / np.linalg.norm(direction, axis=1, keepdims=True)
        radius = self._radius(unit)
        return CENTRE + unit * (radius + _relief(CENTRE + unit * radius[:, None]))[:, None]

    def lift(self, xy: NDArray[np.float64]) -> Points:
        """Front surface points (N, 3) over (x, y)."""
        points = np.concatenate([xy, np.zeros((len(xy), 1))], axis=1)
        for _ in range(12):
            # Sliding the foot point along z converges because the front surface faces the viewer.
            reached = np.linalg.norm(self.point(points - CENTRE) - CENTRE, axis=1)
            points[:, 2] = CENTRE[2] + (points[:, 2] - CENTRE[2]) * reached / np.linalg.norm(points - CENTRE, axis=1)
        return points


def _measured(landmarks: Points) -> Points:
    """The depth grid without the ears, the steep flanks, and points that a landmark or detail stands beside."""
    grid = front_depths()
    keep = (grid[:, 0] < 75) & ~((grid[:, 0] > 65) & ((grid[:, 1] < -45) | (grid[:, 1] > 65)))
    # Below the jaw the frontmost surface is the neck, which the ring where it begins already fixes.
    keep &= ~((grid[:, 1] < -95) & (grid[:, 0] > 25) & (grid[:, 2] < -20)) & (grid[:, 1] > -125)
    beside = np.concatenate([landmarks, _DETAILS])
    distance = np.linalg.norm(grid[:, None, :2] - beside[None, :, :2], axis=2).min(axis=1)
    return grid[keep & (distance > 4.0)]


def _skull() -> Points:
    """Side and back of the skull: superelliptic sections, x >= 0."""
    angles = np.linspace(0.0, np.pi / 2, 7)
    power = 2 / 2.25
    points = [(0.0, 111.5, -86.0)]
    for y, half_width, back in _SECTIONS:
        for angle in angles:
            points.append(
                (half_width * np.cos(angle) ** power, y, SKULL_AXIS + (back - SKULL_AXIS) * np.sin(angle) ** power)
            )
    return np.array(points)


# Creases and swellings finer than the measurements: centre, radii and height outwards, mm.
_RELIEF = (
    ((18.8, -37.5, 10.0), (2.6, 6.5, 12.0), -1.5),  # groove behind the nose wing
    ((13.8, -40.0, 20.0), (4.5, 4.5, 9.0), 1.3),  # nose wing
    ((9.5, -33.5, 31.0), (2.5, 4.0, 8.0), -0.5),  # between wing and tip
    ((0.0, -52.5, 25.0), (2.2, 4.5, 12.0), -0.8),  # philtrum
    ((3.9, -53.0, 25.0), (1.7, 5.0, 12.0), 0.5),  # its ridges
    ((25.0, -50.0, 10.0), (3.0, 9.0, 14.0), -0.7),  # fold between cheek and mouth
    ((28.5, -71.0, 6.5), (3.0, 4.5, 12.0), -0.9),  # beside the mouth's corner
    ((0.0, -84.5, 17.5), (14.0, 4.0, 15.0), -0.3),  # above the chin
    ((22.0, -10.5, 3.0), (7.0, 3.5, 14.0), -0.6),  # tear trough
)


def _relief(points: Points) -> NDArray[np.float64]:
    height = np.zeros(len(points))
    mirrored_x = points * (0, 1, 1) + np.abs(points) * (1, 0, 0)
    for centre, radii, size in _RELIEF:
        height += size * np.exp(-(((mirrored_x - np.array(centre)) / np.array(radii)) ** 2).sum(axis=1))
    return height
