"""The nearest point of a mesh, compiled for the CPU.

A surface in training is another one in each step, so that the search tree costs as much as what is
asked of it: boxes over the triangles in the order of their places along a Morton curve are made
in a tenth of the time of a tree that looks for good cuts (Lauterbach et al., *Fast BVH
construction on GPUs*, 2009), and give the same distances.
"""

from typing import no_type_check

import numpy as np
from jaxtyping import Float64, Int64

from shapeopt.compiled import in_parts, kernel, small_kernel
from shapeopt.sorting import argsort

SMALL = 256
"""Up to so many points are done in one part: threads would cost more."""

FLAT = 1e-12
"""Squared height of a triangle, in longest sides, below which the inside alone does not decide."""


class TriangleTree:
    """A mesh that is asked for its nearest points.

    Args:
        vertices, triangles: contiguous; triangles may have no area, and there must be one.
    """

    def __init__(self, vertices: Float64[np.ndarray, "v 3"], triangles: Int64[np.ndarray, "t 3"]):
        coordinates = vertices.T.copy()
        self._lowest = coordinates.min(axis=1)
        self._side = max((coordinates.max(axis=1) - self._lowest).max(), 1e-300)
        places = _places(vertices, triangles, self._lowest, self._side)
        self._order = argsort(places)
        self._places = places[self._order]
        corners = triangles.take(self._order, axis=0)
        self._corners = vertices.take(corners, axis=0).reshape(-1, 9)
        self._boxes = _boxes(self._corners, 1 << (len(triangles) - 1).bit_length())

    def nearest(
        self, points: Float64[np.ndarray, "n 3"]
    ) -> tuple[Int64[np.ndarray, "n"], Float64[np.ndarray, "n 3"]]:
        """The triangle on which the nearest point of the mesh lies, and its barycentric weights.

        The weights are of the three corners in their order; up to rounding they are at least 0 and
        sum to 1. The points must be contiguous.
        """
        places = _places(points, np.arange(len(points))[:, None], self._lowest, self._side)
        # Neighbours one after the other: they look at the same boxes.
        turn = argsort(places)
        guess = np.searchsorted(self._places[1:], places[turn])
        found = np.empty(len(points), np.int64), np.empty((len(points), 3))
        given = points, turn, guess, (self._corners, self._boxes), found
        in_parts(_nearest, len(points), SMALL, *given)
        return self._order[found[0]], found[1]


@kernel
@no_type_check
def _places(vertices, triangles, lowest, side):
    """Of the middle of each one's corners the place along the Morton curve of a cube: 21 bits of
    each coordinate."""
    places, count = np.empty(len(triangles), np.int64), triangles.shape[1]
    for triangle in range(len(triangles)):
        place = 0
        for axis in range(3):
            middle = 0.0
            for corner in range(count):
                middle += vertices[triangles[triangle, corner], axis] / count
            share = (middle - lowest[axis]) / side
            place |= _spread(np.int64(min(max(share, 0.0), 1.0) * 0x1FFFFF)) << axis
        places[triangle] = place
    return places


@small_kernel
@no_type_check
def _spread(number):
    """The lowest 21 bits, two zeros between each and the next."""
    number = (number | number << 32) & 0x1F00000000FFFF
    number = (number | number << 16) & 0x1F0000FF0000FF
    number = (number | number << 8) & 0x100F00F00F00F00F
    number = (number | number << 4) & 0x10C30C30C30C30C3
    return (number | number << 2) & 0x1249249249249249


@kernel
@no_type_check
def _boxes(corners, leaves):
    """Lower and upper corners: of node k, whose halves are 2k and 2k + 1. The leaves come last, one
    for each triangle; boxes without one are infinitely far away."""
    boxes = np.empty((2 * leaves, 6))
    boxes[:, :3], boxes[:, 3:] = np.inf, -np.inf
    for triangle in range(len(corners)):
        box = boxes[leaves + triangle]
        for axis in range(3):
            for corner in range(3):
                box[axis] = min(box[axis], corners[triangle, 3 * corner + axis])
                box[3 + axis] = max(box[3 + axis], corners[triangle, 3 * corner + axis])
    for node in range(leaves - 1, 0, -1):
        for axis in range(3):
            boxes[node, axis] = min(boxes[2 * node, axis], boxes[2 * node + 1, axis])
            boxes[node, 3 + axis] = max(boxes[2 * node, 3 + axis], boxes[2 * node + 1, 3 + axis])
    return boxes


@kernel
@no_type_check
def _nearest(part, start, stop, points, turn, guess, tree, found):
    waiting, lengths = np.empty(64, np.int64), np.empty(64)
    chosen, weights = found
    for place in range(start, stop):
        i = turn[place]
        chosen[i], s, t = _search(points[i], guess[place], tree, waiting, lengths)
        weights[i, 0], weights[i, 1], weights[i, 2] = 1 - s - t, s, t


@kernel
@no_type_check
def _search(point, chosen, tree, waiting, lengths):
    """The nearest triangle and the weights of its last two corners, from one that is guessed: depth
    first, the nearer half first.

    Of triangles as near as each other the first one counts. A point that is not finite keeps the
    guess.
    """
    corners, boxes = tree
    x, y, z = point
    leaves, triangles = len(boxes) // 2, len(corners)
    best, best_s, best_t = _to_triangle(x, y, z, corners, chosen)
    waiting[0], lengths[0], count = 1, 0.0, 1
    while count:
        count -= 1
        node, length = waiting[count], lengths[count]
        while node < leaves and length <= best:
            node = 2 * node
            length, other = _to_box(x, y, z, boxes, node), _to_box(x, y, z, boxes, node + 1)
            if other < length:
                length, other, node = other, length, node + 1
            if other <= best:
                waiting[count], lengths[count] = node ^ 1, other
                count += 1
        k = node - leaves
        if not length <= best or k >= triangles:
            continue
        squared, s, t = _to_triangle(x, y, z, corners, k)
        if squared < best or (squared == best and k < chosen):
            best, best_s, best_t, chosen = squared, s, t, k
    return chosen, best_s, best_t


@small_kernel
@no_type_check
def _to_box(x, y, z, boxes, node):
    dx = max(boxes[node, 0] - x, x - boxes[node, 3], 0.0)
    dy = max(boxes[node, 1] - y, y - boxes[node, 4], 0.0)
    dz = max(boxes[node, 2] - z, z - boxes[node, 5], 0.0)
    return dx * dx + dy * dy + dz * dz


@small_kernel
@no_type_check
def _to_triangle(x, y, z, corners, k):
    """Squared distance, and the weights s and t of the last two corners at the nearest point.

    That is inside or on one of three sides. Each of the four is a point of the triangle, even
    where rounding leaves no area: the nearest of them is right.
    """
    ax, ay, az = corners[k, 0], corners[k, 1], corners[k, 2]
    ux, uy, uz = corners[k, 3] - ax, corners[k, 4] - ay, corners[k, 5] - az
    vx, vy, vz = corners[k, 6] - ax, corners[k, 7] - ay, corners[k, 8] - az
    px, py, pz = x - ax, y - ay, z - az
    uu, vv = _dot(ux, uy, uz, ux, uy, uz), _dot(vx, vy, vz, vx, vy, vz)
    uv, pu = _dot(ux, uy, uz, vx, vy, vz), _dot(px, py, pz, ux, uy, uz)
    pv, ww = _dot(px, py, pz, vx, vy, vz), uu - 2 * uv + vv
    best, best_s, best_t = np.inf, 0.0, 0.0
    # By the normal: sums of squares would leave half of the digits where the area is small.
    nx, ny, nz = uy * vz - uz * vy, uz * vx - ux * vz, ux * vy - uy * vx
    area = _dot(nx, ny, nz, nx, ny, nz)
    if area > 0:
        s = _dot(py * vz - pz * vy, pz * vx - px * vz, px * vy - py * vx, nx, ny, nz) / area
        t = _dot(uy * pz - uz * py, uz * px - ux * pz, ux * py - uy * px, nx, ny, nz) / area
        if s >= 0 and t >= 0 and s + t <= 1:
            dx, dy, dz = px - s * ux - t * vx, py - s * uy - t * vy, pz - s * uz - t * vz
            best, best_s, best_t = _dot(dx, dy, dz, dx, dy, dz), s, t
            if area > FLAT * max(uu, vv, ww) ** 2:
                return best, best_s, best_t
    along_w = _share(pv - pu - uv + uu, ww)
    for s, t in ((_share(pu, uu), 0.0), (0.0, _share(pv, vv)), (1 - along_w, along_w)):
        dx, dy, dz = px - s * ux - t * vx, py - s * uy - t * vy, pz - s * uz - t * vz
        squared = _dot(dx, dy, dz, dx, dy, dz)
        if squared < best:
            best, best_s, best_t = squared, s, t
    return best, best_s, best_t


@small_kernel
@no_type_check
def _dot(ax, ay, az, bx, by, bz):
    return ax * bx + ay * by + az * bz


@small_kernel
@no_type_check
def _share(along, squared):
    """Where on a side, from 0 to 1."""
    return min(max(along / squared, 0.0), 1.0) if squared > 0 else 0.0
