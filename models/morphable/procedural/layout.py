"""The head mesh: quasi-regular skin points, spherical Delaunay triangles, and structured patches in its openings."""

from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray
from scipy.interpolate import CubicSpline
from scipy.spatial import ConvexHull, cKDTree

from models.morphable.procedural.head import CENTRE, HeadSurface, Points
from models.morphable.procedural.mesh import Indices, MeshBuilder, Template
from models.morphable.procedural.patches import (
    Patch,
    ear,
    eyelids,
    lips,
    neck,
    nostril,
    smoothstep,
)
from models.morphable.procedural.proportions import landmark_means


@dataclass(frozen=True)
class Resolution:
    """How finely each part is sampled; `spacing` is the distance of skin points on the face, mm."""

    spacing: float
    candidates: int
    eye_segment: int
    lid_rows: int
    lip_segment: int
    lip_rows: int
    bag_rows: int
    nostril_columns: int
    nostril_rows: int
    ear_columns: int
    ear_back_rows: int
    ear_front_rows: int
    neck_columns: int
    neck_rows: int


def spacing_factor(points: Points) -> NDArray[np.float64]:
    """Relative distance of skin points: fine at nose, mouth and brows, coarse on the scalp and under the jaw."""
    x, y, z = np.abs(points[:, 0]), points[:, 1], points[:, 2]
    centre = np.exp(-((x / 26) ** 2) - ((y + 45) / 38) ** 2) + 0.9 * np.exp(
        -(((x - 35) / 26) ** 2) - ((y - 23) / 9) ** 2
    )
    away = smoothstep(-z, 35.0, 95.0)
    high = smoothstep(y, 50.0, 95.0)
    low = smoothstep(-y, 108.0, 125.0)
    return (1.0 - 0.35 * centre) * (1.0 + 1.5 * away + 0.7 * high * (1 - away) + 0.6 * low * (1 - away))


def build_template(surface: HeadSurface, resolution: Resolution) -> Template:
    """Lay out points and triangles of one density; deterministic and mirror-symmetric."""
    r = resolution
    side_patches = [
        eyelids(surface, r.eye_segment, r.lid_rows),
        nostril(surface, r.nostril_columns, r.nostril_rows),
        ear(surface, r.ear_columns, r.ear_back_rows, r.ear_front_rows),
    ]
    middle_patches = [lips(r.lip_segment, r.lip_rows, r.bag_rows), neck(r.neck_columns, r.neck_rows)]
    skin_landmarks = landmark_means()[:36]
    midline = _midline(surface, r.spacing, skin_landmarks, middle_patches)
    side_fixed = skin_landmarks[skin_landmarks[:, 0] > 1e-6]
    side_fixed = np.concatenate([side_fixed, _brow_points(surface, r.spacing, side_fixed)])
    fill = _fill(surface, r, np.concatenate([midline, side_fixed]), side_patches, middle_patches)
    side = np.concatenate([side_fixed, fill])
    builder = MeshBuilder()
    middle_ids = builder.add(midline, "skin")
    right_ids = builder.add(side, "skin")
    left_ids = builder.add(side * (-1, 1, 1), "skin")
    builder.pair(middle_ids, middle_ids)
    builder.pair(right_ids, left_ids)
    rings = []
    for patch in side_patches:
        right, right_all = builder.add_patch(patch, flip=False)
        left, left_all = builder.add_patch(patch, flip=True)
        builder.pair(right_all, left_all)
        rings += [right[0], left[0]]
    for patch, start in zip(middle_patches, (len(middle_patches[0].rows[0]) // 2, 0), strict=True):
        grid, _ = builder.add_patch(patch, flip=False, mirror_start=start)
        rings.append(grid[0])
    for number, point in enumerate(skin_landmarks):
        builder.mark(number, point)
    return builder.finish(_skin_faces(builder.positions(), builder.skin_and(rings), rings))


def _brow_points(surface: HeadSurface, spacing: float, landmarks: Points) -> Points:
    """Rows of points along the brow at x > 0, so that its edges run along edges of the mesh at every density."""
    upper_edge = landmark_means()[22:27, :2]
    per_segment = int(np.ceil(13 / (0.8 * spacing)))
    curve = CubicSpline(np.arange(5) * per_segment, upper_edge)
    along = np.arange(4 * per_segment + 1)
    tangent = curve(along, 1)
    normal = np.stack([-tangent[:, 1], tangent[:, 0]], axis=1) / np.linalg.norm(tangent, axis=1, keepdims=True)
    below = np.linspace(-6.6, 0, max(2, int(np.round(6.6 / (0.7 * spacing)))) + 1)
    above = np.linspace(0, 2.8, max(1, int(np.round(2.8 / (0.7 * spacing)))) + 1)[1:]
    points = surface.lift(np.concatenate([curve(along) + offset * normal for offset in (*below, *above)]))
    distance = np.linalg.norm(points[:, None] - landmarks[None], axis=2).min(axis=1)
    return points[distance > 0.3 * spacing]


def _midline(surface: HeadSurface, spacing: float, landmarks: Points, patches: list[Patch]) -> Points:
    """Points with x = 0 from the throat over face and skull to the nape, through the midline landmarks."""
    angle = np.linspace(np.deg2rad(-73), np.deg2rad(225), 6000)
    curve = surface.point(np.stack([0 * angle, np.sin(angle), np.cos(angle)], axis=1))
    curve[:, 0] = 0.0
    lip, neck_patch = patches
    count = len(lip.rows[0])
    anchors = [
        neck_patch.rows[0][0],
        landmarks[8],
        lip.rows[0][3 * count // 4],
        lip.rows[0][count // 4],
        landmarks[33],
        landmarks[30],
        landmarks[29],
        landmarks[28],
        landmarks[27],
        neck_patch.rows[0][len(neck_patch.rows[0]) // 2],
    ]
    tree = cKDTree(curve)
    stops = [int(tree.query(anchor)[1]) for anchor in anchors]
    points = [landmarks[k] for k in (8, 33, 30, 29, 28, 27)]
    for k, (start, stop) in enumerate(pairwise(stops)):
        if k == 2:
            continue
        part = curve[start : stop + 1]
        length = np.concatenate(
            [[0.0], np.cumsum(np.linalg.norm(np.diff(part, axis=0), axis=1) / spacing_factor(part)[1:])]
        )
        # Closer than the fill, so that no triangle reaches across the midline.
        steps = max(1, int(np.ceil(length[-1] / (0.8 * spacing))))
        inner = np.interp(np.linspace(0, length[-1], steps + 1)[1:-1], length, np.arange(len(part)))
        points += [part[int(round(i))] for i in inner]
    return np.array(points)


def _fill(
    surface: HeadSurface, r: Resolution, fixed: Points, side_patches: list[Patch], middle_patches: list[Patch]
) -> Points:
    """Free skin points at x > 0: a centroidal Voronoi tessellation (Lloyd's iteration) about the fixed points."""
    n = 2 * r.candidates
    i = np.arange(n) + 0.5
    polar, azimuth = np.arccos(1 - 2 * i / n), np.pi * (1 + 5**0.5) * i
    direction = np.stack([np.cos(azimuth) * np.sin(polar), np.cos(polar), np.sin(azimuth) * np.sin(polar)], axis=1)
    direction = direction[direction[:, 0] > 0]
    rings = [patch.rows[0] for patch in side_patches + middle_patches]
    outside = ~np.any([inside_ring(direction, ring) for ring in rings], axis=0)
    direction = direction[outside]
    points = surface.point(direction)
    offset = points - CENTRE
    radius = np.linalg.norm(offset, axis=1)
    # Area that a candidate stands for: its solid angle over the cosine at which the surface meets the ray.
    neighbours = points[cKDTree(points).query(points, k=7)[1]]
    spread = neighbours - neighbours.mean(axis=1, keepdims=True)
    normal = np.linalg.svd(spread, full_matrices=False)[2][:, -1]
    cosine = np.clip(np.abs((normal * offset).sum(axis=1)) / radius, 0.15, 1.0)
    factor = spacing_factor(points)
    share = radius**2 / cosine * (4 * np.pi / n) / (r.spacing * factor) ** 2 / 0.866
    ring_points = np.concatenate([ring[ring[:, 0] > -1e-6] for ring in rings])
    still = np.concatenate([fixed, ring_points])
    # The cells of fixed points are taken off the share before the free points are dealt out.
    taken = cKDTree(still).query(points)[0] / (r.spacing * factor)
    free = np.flatnonzero(taken > 0.7)
    order = free[np.random.default_rng(20).permutation(len(free))]
    total = np.cumsum(share[order])
    chosen = order[np.unique(np.searchsorted(total, np.arange(0.5, total[-1])))]
    centres = points[chosen]
    weight = share / factor**2
    for _ in range(25):
        owner = cKDTree(np.concatenate([centres, still])).query(points)[1]
        own = owner < len(centres)
        mass = np.bincount(owner[own], weight[own], len(centres))
        moved = np.stack(
            [np.bincount(owner[own], weight[own] * points[own, k], len(centres)) for k in range(3)], axis=1
        )
        alive = mass > 0
        centres = moved[alive] / mass[alive, None]
    return surface.point(centres - CENTRE)


def inside_ring(direction: Points, ring: Points) -> NDArray[np.bool_]:
    """Whether rays from the head's centre pass through a closed ring: even-odd rule in the ring's gnomonic plane."""
    middle = (ring - CENTRE).mean(axis=0)
    middle /= np.linalg.norm(middle)
    first = np.cross(middle, [0.0, 0.3, 1.0] if abs(middle[1]) > 0.7 else [0.0, 1.0, 0.0])
    first /= np.linalg.norm(first)
    frame = np.stack([first, np.cross(middle, first), middle])
    ray, loop = direction @ frame.T, (ring - CENTRE) @ frame.T
    ahead = np.flatnonzero(ray[:, 2] > 1e-3)
    p, q = ray[ahead, :2] / ray[ahead, 2:], loop[:, :2] / loop[:, 2:]
    inside = np.zeros(len(p), dtype=bool)
    for (ax, ay), (bx, by) in zip(q, np.roll(q, -1, axis=0), strict=True):
        if ay != by:
            inside ^= ((ay > p[:, 1]) != (by > p[:, 1])) & (p[:, 0] < (bx - ax) * (p[:, 1] - ay) / (by - ay) + ax)
    result = np.zeros(len(direction), dtype=bool)
    result[ahead] = inside
    return result


def _skin_faces(position: Points, skin: Indices, rings: list[Indices]) -> Indices:
    """Delaunay triangles on the sphere of directions (its convex hull), without those inside the rings."""
    direction = position[skin] - CENTRE
    direction /= np.linalg.norm(direction, axis=1, keepdims=True)
    faces = ConvexHull(direction).simplices.astype(np.int64)
    corner = direction[faces]
    flipped = np.linalg.det(corner) < 0
    faces[flipped] = faces[flipped][:, ::-1]
    middle = corner.sum(axis=1)
    faces = skin[faces]
    drop = np.zeros(len(faces), dtype=bool)
    for ring in rings:
        drop |= np.isin(faces, ring).all(axis=1) & inside_ring(middle, position[ring])
    faces = faces[~drop]
    # One half is mirrored, so that ties in the triangulation cannot break the symmetry.
    return faces[position[faces][:, :, 0].mean(axis=1) > 0]
