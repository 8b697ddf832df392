"""Edge collapse, compiled for the CPU: see ``collapse.py``.

A vertex keeps its triangles as a list of corners: corner ``3 t + i`` is the i-th of triangle t. The
list of a vertex that becomes part of another one is hung onto the other's.
"""

import heapq
from typing import NamedTuple, no_type_check

import numpy as np

from shapeopt.compiled import kernel

REGULARISATION = 1e-3
"""Pull of a merged vertex towards the middle of its edge, for where planes leave it free."""
FLIP_COSINE = 0.2
"""Least cosine between a triangle's normals before and after a collapse."""
LEAST_CROSS = 1e-12
"""Twice the least area of a triangle that has moved, box lengths squared."""
SLIVER = 1e-9
"""Twice the area of a triangle, in squares of its longest side, below which its normal is
rounding."""


class Mesh(NamedTuple):
    """A triangle mesh that shrinks."""

    points: np.ndarray  # [v, 3]; of those that are gone, too
    corners: np.ndarray  # [t, 3], vertices of each triangle
    normals: np.ndarray  # [t, 3], unit; of a sliver what it was before
    is_left: np.ndarray  # [t]
    quadrics: np.ndarray  # [v, 4, 4], of the planes that each vertex has come from
    weights: np.ndarray  # [v], the area in them
    first: np.ndarray  # [v], corner that the list of each vertex begins with
    last: np.ndarray  # [v]
    following: np.ndarray  # [3 t], the next corner of the same vertex; -1 behind the last
    stamps: np.ndarray  # [v], change when a vertex does: queued collapses are out of date then
    marks: np.ndarray  # [v], room for the number of the last search that came by
    ring: np.ndarray  # [v], room for the vertices around one


@kernel
@no_type_check
def collapse(points, corners, normals, triangles, error):
    """Collapses in place, the cheapest edge first.

    Args:
        points: float64.
        corners: of each triangle.
        normals: of the plane of each triangle, unit length, or 0 for none; changed, too.
        triangles: at which to stop.
        error: largest root mean square distance to the planes.

    Returns whether each triangle is left.
    """
    mesh = _mesh(points, corners, normals)
    left, searches, place = len(corners), 0, np.empty(3)
    queue = [(0.0, 0, 0, 0, 0) for _ in range(0)]  # so that its type is known
    for u in range(len(points)):
        searches += 1
        for i in range(_neighbours(mesh, u, searches)):
            if mesh.ring[i] > u:
                _add(mesh, queue, u, mesh.ring[i], error, place)
    while len(queue) and left > triangles:
        _, u, v, of_u, of_v = heapq.heappop(queue)
        if mesh.stamps[u] != of_u or mesh.stamps[v] != of_v:
            continue
        _place(mesh, u, v, place)
        searches += 2
        if left <= 4 or not _allows(mesh, u, v, place, searches):
            continue
        _merge(mesh, u, v, place)
        left -= 2
        searches += 1
        for i in range(_neighbours(mesh, u, searches)):
            w = mesh.ring[i]
            _add(mesh, queue, min(u, w), max(u, w), error, place)
    return mesh.is_left


@kernel
@no_type_check
def _mesh(points, corners, normals):
    """The mesh with quadrics and lists of corners."""
    count, size = len(points), len(corners)
    first, last = np.full(count, -1, np.int64), np.full(count, -1, np.int64)
    following = np.full(3 * size, -1, np.int64)
    quadrics, weights = np.zeros((count, 4, 4)), np.zeros(count)
    plane = np.empty(4)
    for t in range(size):
        a = points[corners[t, 0]]
        area = np.sqrt(_squared_cross(a, points[corners[t, 1]], points[corners[t, 2]])) / 2
        plane[:3], plane[3] = normals[t], 0.0
        for k in range(3):
            plane[3] -= normals[t, k] * a[k]
        for i in range(3):
            v = corners[t, i]
            weights[v] += area
            for j in range(4):
                for k in range(4):
                    quadrics[v, j, k] += area * plane[j] * plane[k]
            if first[v] < 0:
                first[v] = 3 * t + i
            else:
                following[last[v]] = 3 * t + i
            last[v] = 3 * t + i
    stamps, marks = np.zeros(count, np.int64), np.zeros(count, np.int64)
    lists = first, last, following, stamps, marks, np.empty(count, np.int64)
    return Mesh(points, corners, normals, np.ones(size, np.bool_), quadrics, weights, *lists)


@kernel
@no_type_check
def _neighbours(mesh, vertex, search):
    """Puts the vertices that share an edge with this one into the ring; returns their number."""
    count, corner = 0, mesh.first[vertex]
    while corner >= 0:
        t = corner // 3
        if mesh.is_left[t]:
            for i in range(3):
                w = mesh.corners[t, i]
                if w != vertex and mesh.marks[w] != search:
                    mesh.marks[w] = search
                    mesh.ring[count] = w
                    count += 1
        corner = mesh.following[corner]
    return count


@kernel
@no_type_check
def _add(mesh, queue, u, v, error, place):
    """Puts the collapse of an edge into the queue, unless it costs too much."""
    cost = _place(mesh, u, v, place)
    if cost <= error * error * max(mesh.weights[u] + mesh.weights[v], 1e-300):
        heapq.heappush(queue, (cost, u, v, mesh.stamps[u], mesh.stamps[v]))


@kernel
@no_type_check
def _place(mesh, u, v, place):
    """Finds the place of the vertex that two become; returns what it costs: the squared distance
    to the planes, summed over their areas."""
    points, one, two = mesh.points, mesh.quadrics[u], mesh.quadrics[v]
    lean = REGULARISATION * max(mesh.weights[u] + mesh.weights[v], 1e-300)
    xx, xy, xz = one[0, 0] + two[0, 0] + lean, one[0, 1] + two[0, 1], one[0, 2] + two[0, 2]
    yy, yz, zz = one[1, 1] + two[1, 1] + lean, one[1, 2] + two[1, 2], one[2, 2] + two[2, 2] + lean
    x = lean * (points[u, 0] + points[v, 0]) / 2 - one[0, 3] - two[0, 3]
    y = lean * (points[u, 1] + points[v, 1]) / 2 - one[1, 3] - two[1, 3]
    z = lean * (points[u, 2] + points[v, 2]) / 2 - one[2, 3] - two[2, 3]
    of_x, of_y, of_z = yy * zz - yz * yz, xz * yz - xy * zz, xy * yz - xz * yy
    determinant = xx * of_x + xy * of_y + xz * of_z
    place[0] = (of_x * x + of_y * y + of_z * z) / determinant
    place[1] = (of_y * x + (xx * zz - xz * xz) * y + (xz * xy - xx * yz) * z) / determinant
    place[2] = (of_z * x + (xz * xy - xx * yz) * y + (xx * yy - xy * xy) * z) / determinant
    cost = _cost(one, two, place)
    for end in (u, v):
        at_end = _cost(one, two, points[end])
        if not cost <= at_end:
            cost = at_end
            place[:] = points[end]
    return cost


@kernel
@no_type_check
def _cost(one, two, place):
    """Squared distance to the planes of two quadrics, summed over areas."""
    total = 0.0
    for j in range(4):
        row = one[j, 3] + two[j, 3]
        for k in range(3):
            row += (one[j, k] + two[j, k]) * place[k]
        total += row * place[j] if j < 3 else row
    return max(total, 0.0)


@kernel
@no_type_check
def _allows(mesh, u, v, place, search):
    """Whether the collapse keeps a manifold and turns no triangle over."""
    _neighbours(mesh, u, search - 1)
    shared, corner = 0, mesh.first[v]
    while corner >= 0:
        t = corner // 3
        shared += mesh.is_left[t] and _has(mesh.corners[t], u)
        corner = mesh.following[corner]
    if shared != 2:
        return False
    common, corner = 0, mesh.first[v]
    while corner >= 0:
        t = corner // 3
        if mesh.is_left[t]:
            for i in range(3):
                w = mesh.corners[t, i]
                common += w != v and mesh.marks[w] == search - 1
                if w != v:
                    mesh.marks[w] = search
        corner = mesh.following[corner]
    return common == 2 and not _flips(mesh, u, v, place) and not _flips(mesh, v, u, place)


@kernel
@no_type_check
def _has(corners, vertex):
    return corners[0] == vertex or corners[1] == vertex or corners[2] == vertex


@kernel
@no_type_check
def _flips(mesh, moved, other, place):
    """Whether a triangle of the moved vertex alone would turn over, or lose its area.

    A sliver thinner than rounding may turn as it likes; it remembers the last normal that it had,
    by which it is judged when it grows. Wider ones may not: those that fan out over a flat face
    would come to lie outside of it.
    """
    after = np.empty(3)
    corner = mesh.first[moved]
    while corner >= 0:
        t = corner // 3
        if mesh.is_left[t] and not _has(mesh.corners[t], other):
            twice_area, is_sliver = _normal(mesh, corner, place, after)
            if not twice_area > LEAST_CROSS:
                return True
            before = mesh.normals[t]
            if not is_sliver and _dot(before, after) < FLIP_COSINE and _dot(before, before) > 0:
                return True
        corner = mesh.following[corner]
    return False


@kernel
@no_type_check
def _normal(mesh, corner, place, normal):
    """Finds the normal of a triangle with one of its corners somewhere else.

    Returns twice its area, and whether it is a sliver.
    """
    t = corner // 3
    b = mesh.points[mesh.corners[t, (corner + 1) % 3]]
    c = mesh.points[mesh.corners[t, (corner + 2) % 3]]
    _cross(place, b, c, normal)
    size = np.sqrt(_dot(normal, normal))
    for k in range(3):
        normal[k] /= size
    return size, size < SLIVER * _longest_squared(place, b, c)


@kernel
@no_type_check
def _cross(a, b, c, out):
    x, y, z = b[0] - a[0], b[1] - a[1], b[2] - a[2]
    p, q, r = c[0] - a[0], c[1] - a[1], c[2] - a[2]
    out[0], out[1], out[2] = y * r - z * q, z * p - x * r, x * q - y * p


@kernel
@no_type_check
def _squared_cross(a, b, c):
    out = np.empty(3)
    _cross(a, b, c, out)
    return _dot(out, out)


@kernel
@no_type_check
def _dot(a, b):
    return a[0] * b[0] + a[1] * b[1] + a[2] * b[2]


@kernel
@no_type_check
def _longest_squared(a, b, c):
    ab = bc = ca = 0.0
    for k in range(3):
        ab += (a[k] - b[k]) ** 2
        bc += (b[k] - c[k]) ** 2
        ca += (c[k] - a[k]) ** 2
    return max(ab, bc, ca)


@kernel
@no_type_check
def _merge(mesh, u, v, place):
    """Makes v part of u."""
    normal = np.empty(3)
    corner = mesh.first[v]
    while corner >= 0:
        t = corner // 3
        if mesh.is_left[t]:
            if _has(mesh.corners[t], u):
                mesh.is_left[t] = False
            else:
                mesh.corners[t, corner % 3] = u
        corner = mesh.following[corner]
    mesh.following[mesh.last[u]] = mesh.first[v]
    mesh.last[u] = mesh.last[v]
    mesh.first[v] = -1
    _without_gone(mesh, u)
    mesh.points[u] = place
    corner = mesh.first[u]
    while corner >= 0:
        if not _normal(mesh, corner, place, normal)[1]:
            mesh.normals[corner // 3] = normal
        corner = mesh.following[corner]
    mesh.quadrics[u] += mesh.quadrics[v]
    mesh.weights[u] += mesh.weights[v]
    mesh.stamps[u] += 1
    mesh.stamps[v] = -1


@kernel
@no_type_check
def _without_gone(mesh, vertex):
    """Takes the corners of triangles that are gone out of a vertex' list."""
    corner, kept = mesh.first[vertex], -1
    while corner >= 0:
        if mesh.is_left[corner // 3]:
            if kept < 0:
                mesh.first[vertex] = corner
            else:
                mesh.following[kept] = corner
            kept = corner
        corner = mesh.following[corner]
    mesh.following[kept] = -1
    mesh.last[vertex] = kept
