"""One convex part: from half-spaces to a closed triangle mesh that knows its planes."""

from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Int

from shapeopt.extraction.halfspaces.clipping import EMPTY, Convex, clipped

THINNEST = 1e-9
"""Parts whose largest ball has a smaller radius, in box lengths, count as empty."""
COMFORTABLE = 1e-3
"""A known inner point is taken if all planes are farther from it, in box lengths."""


class Polytope(NamedTuple):
    """A convex part.

    Attributes:
        centre: a point inside, well away from the planes.
        vertices: several may lie at one place, where more than three planes meet.
        triangles: closed, outward; a fan for each face.
        planes: the half-space on whose border each triangle lies.
    """

    centre: Float[np.ndarray, "3"]
    vertices: Float[np.ndarray, "v 3"]
    triangles: Int[np.ndarray, "t 3"]
    planes: Int[np.ndarray, "t"]


def polytope(
    normals: Float[np.ndarray, "p 3"],
    offsets: Float[np.ndarray, "p"],
    near: Float[np.ndarray, "3"] | None = None,
) -> Polytope | None:
    """The points x with ``normals @ x <= offsets``; None if they have no inside.

    A box is cut with one plane after the other. Where more than three planes come near to meeting
    in a point, :func:`dual` decides instead.

    Args:
        normals, offsets: of unit length; together they must bound the part.
        near: a guess of a point inside.
    """
    state, part = clipped(normals, offsets)
    if state == EMPTY:
        return None
    return dual(normals, offsets, near) if part is None else with_fans(part)


def with_fans(part: Convex) -> Polytope:
    """The same part as triangles."""
    sizes = np.diff(part.starts)
    # Corner i of a face makes a triangle with the next and the face's first.
    first, last = np.repeat(part.starts[:-1], sizes), np.repeat(part.starts[1:] - 1, sizes)
    at = np.arange(len(part.loops))
    inner = (at > first) & (at < last)
    triangles = part.loops[np.stack([first[inner], at[inner], at[inner] + 1], axis=1)]
    planes = np.repeat(part.faces, sizes)[inner]
    return Polytope(part.points.mean(axis=0), part.points, triangles, planes)


def dual(
    normals: Float[np.ndarray, "p 3"],
    offsets: Float[np.ndarray, "p"],
    near: Float[np.ndarray, "3"] | None = None,
) -> Polytope | None:
    """The same by way of a convex hull, many times slower.

    Seen from a point inside, a plane n . x = d is the point n / d of a dual space, and the convex
    hull of these points has a triangle for each vertex of the polytope: the three planes that meet
    there. Combinatorics comes from the hull alone, so the mesh is closed whatever rounding does to
    the positions.
    """
    from scipy.spatial import ConvexHull

    centre = near
    if centre is None or (offsets - normals @ centre).min() < COMFORTABLE:
        centre, radius = inner_point(normals, offsets)
        if radius < THINNEST:
            return None
    hull = ConvexHull(normals / (offsets - normals @ centre)[:, None])
    corners = _outward(hull)
    vertices = centre + hull.equations[:, :3] / -hull.equations[:, 3:]
    # Around a point of the hull its triangles follow one another: that is the face of a plane.
    count = len(normals)
    plane = corners.flatten()
    left, right = np.roll(corners, -1, axis=1).flatten(), np.roll(corners, 1, axis=1).flatten()
    # The next triangle around the plane has its third corner where this one has its second.
    names = plane * count + left
    order = np.argsort(names)
    simplex = np.repeat(np.arange(len(corners)), 3)
    following = simplex[order[np.searchsorted(names[order], plane * count + right)]]
    first = np.full(count, -1)
    first[plane[::-1]] = simplex[::-1]
    start = first[plane]
    is_triangle = (simplex != start) & (following != start)
    triangles = np.stack([start, simplex, following], axis=1)[is_triangle]
    middle = vertices.mean(axis=0)
    return Polytope(middle, vertices, triangles, plane[is_triangle])


def inner_point(
    normals: Float[np.ndarray, "p 3"], offsets: Float[np.ndarray, "p"]
) -> tuple[Float[np.ndarray, "3"], float]:
    """Middle and radius of the largest ball inside; the radius is negative where there is none."""
    from scipy.optimize import linprog

    rows = np.concatenate([normals, np.ones((len(normals), 1))], axis=1)
    bounds = [(None, None)] * 4
    found = linprog([0, 0, 0, -1], A_ub=rows, b_ub=offsets, bounds=bounds, method="highs")
    return (found.x[:3], float(found.x[3])) if found.status == 0 else (np.zeros(3), -1.0)


def _outward(hull) -> Int[np.ndarray, "s 3"]:
    """Corners of the hull's triangles, counter-clockwise seen from outside."""
    a, b, c = (hull.points[hull.simplices[:, i]] for i in range(3))
    turned = (np.cross(b - a, c - a) * hull.equations[:, :3]).sum(axis=1) < 0
    return np.where(turned[:, None], hull.simplices[:, ::-1], hull.simplices).astype(np.int64)
