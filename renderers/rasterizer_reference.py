"""The rasterizer's contract as loops over faces and pixels: slow, readable, without gradients.

`rasterizer.rasterize` is tested against it. It shares no code with that but the two thresholds.
"""

import math

import torch
from jaxtyping import Float, Int64
from torch import Tensor

from renderers.rasterizer import Fragments
from renderers.rasterizer_coverage import MINIMUM_AREA, MINIMUM_DEPTH

# A later face must be nearer by more than this relative difference, else the depths agree to rounding.
_SAME_DEPTH = 1e-9

Point = tuple[float, float]


def rasterize_reference(
    vertices: Float[Tensor, "batch vertices 3"],
    faces: Int64[Tensor, "faces 3"],
    image_size: tuple[int, int],
    *,
    perspective_correct: bool = False,
) -> Fragments:
    """Same contract as `rasterizer.rasterize`, worked out in float64; no gradients, no checks of its input."""
    batch = vertices.shape[0]
    height, width = image_size
    face_index = torch.full((batch, height, width), -1, dtype=torch.int64)
    barycentric = torch.zeros(batch, height, width, 3, dtype=torch.float64)
    depth = torch.full((batch, height, width), torch.inf, dtype=torch.float64)
    for image, points in enumerate(vertices.detach().to("cpu", torch.float64).tolist()):
        for face, (a, b, c) in enumerate(faces.tolist()):
            (ax, ay, az), (bx, by, bz), (cx, cy, cz) = points[a], points[b], points[c]
            if min(az, bz, cz) <= MINIMUM_DEPTH:
                continue
            corners = ((ax, ay), (bx, by), (cx, cy))
            if abs(twice_area(*corners)) <= MINIMUM_AREA:
                continue
            for row in covered(1 - max(ay, by, cy), 1 - min(ay, by, cy), height):
                for column in covered(1 + min(ax, bx, cx), 1 + max(ax, bx, cx), width):
                    center = ((2 * column + 1) / width - 1, 1 - (2 * row + 1) / height)
                    weights = screen_barycentric(center, *corners)
                    if min(weights) < 0:
                        continue
                    if perspective_correct:
                        weights = in_space(weights, (az, bz, cz))
                    distance = weights[0] * az + weights[1] * bz + weights[2] * cz
                    if distance < float(depth[image, row, column]) * (1 - _SAME_DEPTH):
                        face_index[image, row, column] = face
                        barycentric[image, row, column] = torch.tensor(weights, dtype=torch.float64)
                        depth[image, row, column] = distance
    return Fragments(face_index.to(vertices.device), barycentric.to(vertices), depth.to(vertices))


def covered(least: float, most: float, pixels: int) -> range:
    """Pixels along an axis of length 2 whose centres may lie from `least` to `most`; one more on either side."""
    first = math.floor(max(least, 0.0) * pixels / 2) - 1
    last = math.ceil(min(most, 2.0) * pixels / 2) + 1
    return range(max(first, 0), min(last, pixels))


def twice_area(a: Point, b: Point, c: Point) -> float:
    """Twice the area of the triangle, positive if its corners go around counter-clockwise."""
    return (b[0] - a[0]) * (c[1] - a[1]) - (c[0] - a[0]) * (b[1] - a[1])


def screen_barycentric(p: Point, a: Point, b: Point, c: Point) -> tuple[float, float, float]:
    """Weights with which the corners average to p: the areas of the triangles opposite to them over the whole."""
    whole = twice_area(a, b, c)
    return twice_area(p, b, c) / whole, twice_area(a, p, c) / whole, twice_area(a, b, p) / whole


def in_space(weights: tuple[float, float, float], z: tuple[float, float, float]) -> tuple[float, float, float]:
    """Weights of the point in space seen at the point on the screen: attribute / z is what is linear on the screen."""
    a, b, c = weights[0] / z[0], weights[1] / z[1], weights[2] / z[2]
    return a / (a + b + c), b / (a + b + c), c / (a + b + c)
