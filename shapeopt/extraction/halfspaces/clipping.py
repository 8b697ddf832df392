"""A convex part by cutting a box with one plane after the other, compiled.

A corner is where three planes meet, named in order around it as seen from outside. So an edge,
where planes a and b meet, has a corner with b after a and one with a after b, and everything but
which corners a plane cuts off is combinatorics.

The first call compiles (some seconds); numba keeps the code on disk if it can.
"""

from typing import NamedTuple, no_type_check

import numpy as np
from jaxtyping import Float, Int

from shapeopt.compiled import kernel, small_kernel

CLEAR = 1e-7
"""A corner nearer to a plane than this, in box lengths, is not decided here."""
FIRST = 4.0  # half the side of the first box: planes of parts in the box [-0.5, 0.5]^3 lie within
DONE, EMPTY, DOUBTFUL = 0, 1, 2


class Convex(NamedTuple):
    """A bounded convex part with three planes in each corner.

    Attributes:
        points: its corners.
        planes: the three that meet in each, in order around it as seen from outside.
        faces: the plane of each face.
        starts: face i has the corners ``loops[starts[i]:starts[i + 1]]``, counter-clockwise; from
            a corner with planes (face, b, c) its border runs along plane c.
        loops: see above.
    """

    points: Float[np.ndarray, "v 3"]
    planes: Int[np.ndarray, "v 3"]
    faces: Int[np.ndarray, "f"]
    starts: Int[np.ndarray, "f_plus_1"]
    loops: Int[np.ndarray, "m"]


def clipped(
    normals: Float[np.ndarray, "p 3"], offsets: Float[np.ndarray, "p"]
) -> tuple[int, Convex | None]:
    """The points x with ``normals @ x <= offsets``.

    Returns:
        ``DONE`` and the part; or ``EMPTY``; or ``DOUBTFUL`` where more than three planes nearly
        meet in a corner, or the planes bound nothing.
    """
    state, *found = _clipped(np.ascontiguousarray(normals), np.ascontiguousarray(offsets))
    return state, Convex(*found) if state == DONE else None


@no_type_check
@kernel
def _clipped(normals, offsets):
    count = len(normals)
    points, planes = _first_box(count)
    nothing = np.empty(0, np.int64)
    # The corner that has plane b after a, for planes that are neighbours.
    corner = np.empty((count + 6, count + 6), np.int64)
    heights = np.empty(2 * count + 32)
    for plane in range(count):
        size = len(points)
        num_out = 0
        for v in range(size):
            heights[v] = -offsets[plane]
            for axis in range(3):
                heights[v] += normals[plane, axis] * points[v, axis]
            if abs(heights[v]) < CLEAR:
                return DOUBTFUL, points, planes, nothing, nothing, nothing
            num_out += heights[v] > 0
        if num_out == size:
            return EMPTY, points, planes, nothing, nothing, nothing
        if num_out > 0:
            _note_corners(planes, corner)
            points, planes = _cut(points, planes, heights, plane, corner)
    if planes.max() >= count:
        return DOUBTFUL, points, planes, nothing, nothing, nothing
    _note_corners(planes, corner)
    faces, starts, loops = _borders(planes, corner, count)
    return DONE, points, planes, faces, starts, loops


@no_type_check
@small_kernel
def _first_box(count):
    """A box whose sides are named count + 0..5."""
    points, planes = np.empty((8, 3)), np.empty((8, 3), np.int64)
    for v in range(8):
        num_high = 0
        for axis in range(3):
            high = v >> axis & 1
            num_high += high
            points[v, axis] = FIRST if high else -FIRST
            planes[v, axis] = count + axis + (0 if high else 3)
        # With one side turned round, the order around the corner turns as well.
        if num_high % 2 == 0:
            planes[v, 1], planes[v, 2] = planes[v, 2], planes[v, 1]
    return points, planes


@no_type_check
@small_kernel
def _note_corners(planes, corner):
    for v in range(len(planes)):
        for i in range(3):
            corner[planes[v, i], planes[v, (i + 1) % 3]] = v


@no_type_check
@small_kernel
def _cut(points, planes, heights, plane, corner):
    """The corners below a plane, and one on each edge that it cuts."""
    # Each corner has three edges, so of those cut off none leaves more than three.
    new_points = np.empty((3 * len(points), 3))
    new_planes = np.empty((3 * len(points), 3), np.int64)
    kept = 0
    for v in range(len(points)):
        if heights[v] < 0:
            new_points[kept], new_planes[kept] = points[v], planes[v]
            kept += 1
            continue
        for i in range(3):
            a, b = planes[v, i], planes[v, (i + 1) % 3]
            u = corner[b, a]
            if heights[u] > 0:
                continue
            # Seen from what is left, the plane takes the place of what lay beyond the edge.
            t = heights[u] / (heights[u] - heights[v])
            for axis in range(3):
                new_points[kept, axis] = (1 - t) * points[u, axis] + t * points[v, axis]
            new_planes[kept, 0], new_planes[kept, 1], new_planes[kept, 2] = a, b, plane
            kept += 1
    return new_points[:kept].copy(), new_planes[:kept].copy()


@no_type_check
@small_kernel
def _borders(planes, corner, count):
    """The faces: the plane of each, where it starts in ``loops``, and its corners there."""
    faces, starts = np.empty(count, np.int64), np.zeros(count + 1, np.int64)
    loops = np.empty(3 * len(planes), np.int64)
    done = np.zeros(count, np.bool_)
    found, filled = 0, 0
    for v in range(len(planes)):
        for i in range(3):
            plane = planes[v, i]
            if done[plane]:
                continue
            done[plane] = True
            at = v
            while True:
                loops[filled] = at
                filled += 1
                # After a corner with (plane, b, c) comes that with c after the plane.
                turn = 0
                while planes[at, turn] != plane:
                    turn += 1
                at = corner[plane, planes[at, (turn + 2) % 3]]
                if at == v:
                    break
            faces[found] = plane
            found += 1
            starts[found] = filled
    return faces[:found].copy(), starts[: found + 1].copy(), loops
