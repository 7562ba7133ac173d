"""The head's vertices with what each of them is, and the builder that joins skin and patches into one mesh."""

from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from models.morphable.procedural.head import Points
from models.morphable.procedural.patches import Patch

Indices = NDArray[np.int64]

# Landmark at the mirrored place, for the eyes: the side patches carry those at x > 0.
_MIRROR_LANDMARK = {45: 36, 44: 37, 43: 38, 42: 39, 47: 40, 46: 41}


@dataclass(frozen=True)
class Template:
    """The mean head with what each vertex is.

    Attributes:
        position: (V, 3), mm.
        faces: (F, 3), counter-clockwise seen from outside.
        part: (V) name of the part: skin, eyelids, lips, nostril, ear or neck.
        depth: (V) depth within the part (see patches); 0 for skin.
        turn: (V) angle about the part's opening as its columns count it; 0 for skin.
        landmarks: (68) vertices.
        mirror: (V) vertex at the mirrored place.
    """

    position: Points
    faces: Indices
    part: np.ndarray
    depth: NDArray[np.float64]
    turn: NDArray[np.float64]
    landmarks: Indices
    mirror: Indices


class MeshBuilder:
    """Collects vertices and patch faces, then joins them with the skin."""

    def __init__(self) -> None:
        self._positions: list[Points] = []
        self._parts: list[str] = []
        self._depth: list[float] = []
        self._turn: list[float] = []
        self._faces: list[Indices] = []
        self._mirror: dict[int, int] = {}
        self._landmarks = np.full(68, -1, dtype=np.int64)
        self._count = 0

    def add(self, points: Points, part: str, depth: float = 0.0, turn: NDArray[np.float64] | None = None) -> Indices:
        ids = np.arange(self._count, self._count + len(points))
        self._positions.append(points)
        self._parts += [part] * len(points)
        self._depth += [depth] * len(points)
        self._turn += list(np.zeros(len(points)) if turn is None else turn)
        self._count += len(points)
        return ids

    def pair(self, first: Indices, second: Indices) -> None:
        self._mirror.update(zip(first.tolist(), second.tolist(), strict=True))
        self._mirror.update(zip(second.tolist(), first.tolist(), strict=True))

    def mark(self, number: int, point: Points) -> None:
        distance = np.linalg.norm(self.positions() - point, axis=1)
        if distance.min() > 1e-6:
            raise AssertionError(f"landmark {number} is not a vertex")
        self._landmarks[number] = int(distance.argmin())

    def positions(self) -> Points:
        return np.concatenate(self._positions)

    def skin_and(self, rings: list[Indices]) -> Indices:
        skin = np.flatnonzero(np.array(self._parts) == "skin")
        return np.concatenate([skin, *rings])

    def add_patch(self, patch: Patch, flip: bool, mirror_start: int | None = None) -> tuple[Indices, Indices]:
        """Add vertices and faces; gives the grid (rows, columns) of vertices and all of them, the cap's tip last.

        `mirror_start` pairs column j with column mirror_start - j of a patch on the midline.
        """
        rows, columns = patch.rows.shape[:2]
        turn = 2 * np.pi * np.arange(columns) / columns
        sign = np.array([-1.0 if flip else 1.0, 1.0, 1.0])
        levels = zip(patch.rows, patch.depth, strict=True)
        grid = np.stack([self.add(row * sign, patch.name, depth, turn) for row, depth in levels])
        ids = grid.ravel()
        here, beside = np.arange(columns), (np.arange(columns) + 1) % columns
        faces = []
        for upper, lower in pairwise(grid):
            falling = (
                np.stack([upper[here], upper[beside], lower[beside]], 1),
                np.stack([upper[here], lower[beside], lower[here]], 1),
            )
            rising = (
                np.stack([upper[here], upper[beside], lower[here]], 1),
                np.stack([upper[beside], lower[beside], lower[here]], 1),
            )
            first_half = np.ones(columns, dtype=bool)
            if mirror_start is not None:
                first_half = here < (mirror_start - 1 - here) % columns
            for a, b in zip(falling, rising, strict=True):
                faces.append(np.where(first_half[:, None], a, b))
        if patch.cap is not None:
            centre = grid[-1]
            tip = self.add(patch.rows[-1].mean(axis=0, keepdims=True) * sign, patch.name, patch.cap)
            faces.append(np.stack([centre[here], centre[beside], np.full(columns, tip[0])], 1))
            ids = np.concatenate([ids, tip])
        stacked = np.concatenate(faces)
        self._faces.append(stacked[:, ::-1] if flip else stacked)
        if mirror_start is not None:
            self.pair(grid.ravel(), grid[:, (mirror_start - here) % columns].ravel())
            if patch.cap is not None:
                self.pair(tip, tip)
        for number, row, column in patch.landmarks:
            self._landmarks[_MIRROR_LANDMARK[number] if flip else number] = grid[row, column]
        return grid, ids

    def finish(self, half: Indices) -> Template:
        """Join the skin triangles at x > 0, their mirror images and the patches."""
        mirror = np.array([self._mirror[k] for k in range(self._count)])
        return Template(
            position=self.positions(),
            faces=np.concatenate([half, mirror[half][:, ::-1], *self._faces]),
            part=np.array(self._parts),
            depth=np.array(self._depth),
            turn=np.array(self._turn),
            landmarks=self._landmarks,
            mirror=mirror,
        )
