"""Polygons in the plane, convex or not: are they simple, and their triangles."""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from jaxtyping import Float


def plane_axes(normal: Float[np.ndarray, "3"]) -> Float[np.ndarray, "2 3"]:
    """Two unit vectors at right angles to a unit normal; seen from its tip the second is on the
    left of the first."""
    # By hand: many times faster than np.cross on single vectors.
    x, y, z = normal.tolist()
    across = min((abs(x), 0), (abs(y), 1), (abs(z), 2))[1]
    a, b, c = ((0.0, -z, y), (z, 0.0, -x), (-y, x, 0.0))[across]
    length = math.hypot(a, b, c)
    a, b, c = a / length, b / length, c / length
    return np.array([[a, b, c], [y * c - z * b, z * a - x * c, x * b - y * a]])


def signed_area(points: Float[np.ndarray, "n 2"]) -> float:
    """Area of a polygon, positive if it runs counter-clockwise."""
    x, y = (points - points[0]).T
    return float(x @ np.roll(y, -1) - y @ np.roll(x, -1)) / 2


def contains(polygon: Float[np.ndarray, "n 2"], point: Float[np.ndarray, "2"]) -> bool:
    """Whether a point lies in a simple polygon: a ray from it crosses the border oddly often."""
    one, two = polygon - point, np.roll(polygon, -1, axis=0) - point
    crosses = (one[:, 1] < 0) != (two[:, 1] < 0)
    right = (_cross(one, two) > 0) == (two[:, 1] > one[:, 1])
    return bool((crosses & right).sum() % 2)


def is_simple(points: Float[np.ndarray, "n 2"]) -> bool:
    """Whether a polygon runs counter-clockwise and no two of its sides cross or touch."""
    n = len(points)
    if n < 3 or signed_area(points) <= 0:
        return False
    if n == 3:
        return True
    start, end = points, np.roll(points, -1, axis=0)
    one, two = np.triu_indices(n, 2)
    apart = ~((one == 0) & (two == n - 1))  # the last side meets the first in a corner
    a, b, c, d = start[one[apart]], end[one[apart]], start[two[apart]], end[two[apart]]
    # Two sides touch if each one's ends are not strictly on one side of the other and, which
    # matters when all four are in a line, their boxes overlap.
    crosses = (_turn(a, b, c) * _turn(a, b, d) <= 0) & (_turn(c, d, a) * _turn(c, d, b) <= 0)
    overlaps = (np.maximum(a, b) >= np.minimum(c, d)) & (np.maximum(c, d) >= np.minimum(a, b))
    if (crosses & overlaps.all(axis=1)).any():
        return False
    # Two sides that meet in a corner overlap if the boundary turns back there.
    into, out = start - np.roll(start, 1, axis=0), end - start
    return not bool(((_cross(into, out) == 0) & ((into * out).sum(axis=1) <= 0)).any())


def triangulate(points: Float[np.ndarray, "n 2"]) -> list[tuple[int, int, int]]:
    """Cuts a simple counter-clockwise polygon into n - 2 triangles of its corners.

    Ear clipping (Meisters, *Polygons have ears*, 1975), each time the ear with the largest
    smallest angle, so that corners on a straight side leave no triangle without area where there
    is a way round it. Where rounding hides all ears, the least bad corner is cut off.
    """
    ring = list(range(len(points)))
    triangles = []
    while len(ring) > 3:
        best = max(range(len(ring)), key=lambda i: _ear_quality(points, ring, i))
        triangles.append((ring[best - 1], ring[best], ring[(best + 1) % len(ring)]))
        del ring[best]
    return [*triangles, (ring[0], ring[1], ring[2])]


def _ear_quality(points: Float[np.ndarray, "n 2"], ring: Sequence[int], i: int) -> float:
    """Sine of the smallest angle of the triangle at a corner; negative if it is no ear."""
    before, at, after = ring[i - 1], ring[i], ring[(i + 1) % len(ring)]
    a, b, c = points[before], points[at], points[after]
    twice_area = float(_turn(a, b, c))
    sides = np.sort([np.hypot(*(b - a)), np.hypot(*(c - b)), np.hypot(*(a - c))])
    sine = twice_area / max(float(sides[1] * sides[2]), 1e-300)
    if sine <= 0:
        return sine - 1
    others = points[[v for v in ring if v not in (before, at, after)]]
    inside = (_turn(a, b, others) >= 0) & (_turn(b, c, others) >= 0) & (_turn(c, a, others) >= 0)
    return sine - 2 if inside.any() else sine


def _cross(one: np.ndarray, two: np.ndarray) -> Any:
    """Third component of the cross product of vectors in the plane: an array, or a number."""
    return one[..., 0] * two[..., 1] - one[..., 1] * two[..., 0]


def _turn(a: np.ndarray, b: np.ndarray, c: np.ndarray) -> Any:
    """Twice the signed area of the triangles a b c."""
    return _cross(b - a, c - a)
