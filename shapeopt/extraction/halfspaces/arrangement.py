"""The border of a union of convex parts, edge by edge, compiled.

An edge of the union lies where two faces of one part meet, or where a face of one part cuts a face
of another; what of such a segment lies within further parts is hidden. A convex part hides an
interval of a line, so all that is decided here are the places of points on lines:

        part k       part j          the edge of k shows from its corner to where it enters j,
    +-----------+ - - - - - +        and from where it leaves j on
    0          enters      leaves

Each end of a segment is named by the three planes that meet there. Segments with an end of the same
name have it in common, and around a face they follow one another: its borders need no geometry.

Where two places come nearer to one another than ``CLOSE`` nothing is decided: see
:mod:`shapeopt.extraction.halfspaces.union` for what is always closed. The first call compiles.
"""

from collections.abc import Sequence
from itertools import pairwise
from typing import NamedTuple, no_type_check

import numpy as np
from jaxtyping import Float, Int

from shapeopt.compiled import kernel, small_kernel
from shapeopt.extraction.halfspaces.clipping import Convex

CLOSE = 1e-10
"""Box lengths."""
PARALLEL = 1e-6
"""Sine of the angle of two planes."""


class Borders(NamedTuple):
    """The border of a union.

    Attributes:
        vertices: where three planes meet.
        triples: those planes, ascending.
        loops: borders of faces, the face on the left seen from outside; holes are borders, too.
        planes: the plane of each.
    """

    vertices: Float[np.ndarray, "v 3"]
    triples: Int[np.ndarray, "v 3"]
    loops: list[list[int]]
    planes: Int[np.ndarray, "l"]


class Parts(NamedTuple):
    """Several convex parts in one list: see :class:`Convex` for most."""

    normals: Float[np.ndarray, "p 3"]
    offsets: Float[np.ndarray, "p"]
    points: Float[np.ndarray, "v 3"]
    planes: Int[np.ndarray, "v 3"]
    faces: Int[np.ndarray, "f"]
    starts: Int[np.ndarray, "f_plus_1"]
    loops: Int[np.ndarray, "m"]
    first_faces: Int[np.ndarray, "k_plus_1"]
    first_points: Int[np.ndarray, "k_plus_1"]


def borders_of(
    parts: Sequence[Convex],
    normals: Float[np.ndarray, "p 3"],
    offsets: Float[np.ndarray, "p"],
) -> Borders | None:
    """The union's border; None if something is too close to be decided.

    Args:
        parts: at least one; no two with a plane in common.
        normals, offsets: of all planes.
    """
    shift = np.concatenate([[0], np.cumsum([len(part.points) for part in parts])])
    filled = np.concatenate([[0], np.cumsum([len(part.loops) for part in parts])])
    listed = Parts(
        np.ascontiguousarray(normals),
        np.ascontiguousarray(offsets),
        np.concatenate([part.points for part in parts]),
        np.concatenate([part.planes for part in parts]),
        np.concatenate([part.faces for part in parts]),
        np.concatenate(
            [*(p.starts[:-1] + at for p, at in zip(parts, filled[:-1], strict=True)), filled[-1:]]
        ),
        np.concatenate([p.loops + at for p, at in zip(parts, shift[:-1], strict=True)]),
        np.concatenate([[0], np.cumsum([len(part.faces) for part in parts])]),
        shift,
    )
    clear, names, places = _segments(listed)
    return _linked(names, places, len(normals)) if clear else None


def _linked(
    names: Int[np.ndarray, "s 4"], places: Float[np.ndarray, "s 2 3"], count: int
) -> Borders | None:
    """Segments ``(plane on the left, plane on the right, third at the start, third at the end)``
    put together."""
    left, right, start, end = names.T
    triples = np.sort(
        np.stack([left, right, start, left, right, end], axis=1).reshape(-1, 3), axis=1
    )
    keys = (triples[:, 0] * count + triples[:, 1]) * count + triples[:, 2]
    _, first, vertex = np.unique(keys, return_index=True, return_inverse=True)
    ends = vertex.reshape(-1, 2)
    # Every segment once along each of its two faces.
    plane = np.concatenate([left, right])
    tail, head = np.concatenate([ends, ends[:, ::-1]]).T
    own, wanted = plane * len(first) + tail, plane * len(first) + head
    order = np.argsort(own, kind="stable")
    place = np.minimum(np.searchsorted(own[order], wanted), len(own) - 1)
    following = order[place]
    if not np.array_equal(own[following], wanted) or (np.diff(own[order]) == 0).any():
        return None
    loop_order, starts = _loops(following)
    corners = tail[loop_order].tolist()
    bounds = pairwise([*starts.tolist(), len(corners)])
    loops = [corners[begin:end] for begin, end in bounds]
    return Borders(places.reshape(-1, 3)[first], triples[first], loops, plane[loop_order[starts]])


@no_type_check
@kernel
def _loops(following):
    """The items of each circle one after the other, and where circles start."""
    done = np.zeros(len(following), np.bool_)
    order, starts = np.empty(len(following), np.int64), np.empty(len(following), np.int64)
    filled, found = 0, 0
    for first in range(len(following)):
        if done[first]:
            continue
        starts[found] = filled
        found += 1
        at = first
        while not done[at]:
            done[at] = True
            order[filled] = at
            filled += 1
            at = following[at]
    return order, starts[:found].copy()


@no_type_check
@kernel
def _segments(parts):
    """Whether all was clear, the names of the segments that show, and their ends."""
    num_parts = len(parts.first_faces) - 1
    low, high = _boxes(parts)
    names, places = np.empty((1024, 4), np.int64), np.empty((1024, 2, 3))
    found = 0
    covers, labels = np.empty((num_parts, 2)), np.empty((num_parts, 2), np.int64)
    for k in range(num_parts):
        for j in range(k, num_parts):
            if not _touch(low[k], high[k], low[j], high[j]):
                continue
            if j == k:
                state, name, ends = _sides(parts, k)
            else:
                state, name, ends = _cuts(parts, k, j)
            if state < 0:
                return False, names[:0], places[:0]
            for i in range(len(name)):
                hidden = 0
                least, most = np.minimum(ends[i, 0], ends[i, 1]), np.maximum(ends[i, 0], ends[i, 1])
                for other in range(num_parts):
                    if other in (k, j) or not _touch(least, most, low[other], high[other]):
                        continue
                    state = _cover(parts, other, ends[i], covers[hidden], labels[hidden])
                    if state < 0:
                        return False, names[:0], places[:0]
                    hidden += state
                    if state and covers[hidden - 1, 0] < 0 and covers[hidden - 1, 1] > 1:
                        hidden = -1
                        break
                if hidden < 0:
                    continue
                if found + hidden + 1 > len(names):
                    names = np.concatenate((names, np.empty_like(names)))
                    places = np.concatenate((places, np.empty_like(places)))
                found = _show(
                    name[i], ends[i], covers[:hidden], labels[:hidden], names, places, found
                )
                if found < 0:
                    return False, names[:0], places[:0]
    return True, names[:found].copy(), places[:found].copy()


@no_type_check
@small_kernel
def _boxes(parts):
    """Lower and upper corner of each part."""
    num_parts = len(parts.first_points) - 1
    low, high = np.empty((num_parts, 3)), np.empty((num_parts, 3))
    for k in range(num_parts):
        for axis in range(3):
            own = parts.points[parts.first_points[k] : parts.first_points[k + 1], axis]
            low[k, axis], high[k, axis] = own.min() - CLOSE, own.max() + CLOSE
    return low, high


@no_type_check
@small_kernel
def _touch(low, high, other_low, other_high):
    for axis in range(3):
        if low[axis] > other_high[axis] or other_low[axis] > high[axis]:
            return False
    return True


@no_type_check
@small_kernel
def _after(meeting, corner, face):
    """Of the planes in a corner, the first and the second after one."""
    for i in range(3):
        if meeting[corner, i] == face:
            return meeting[corner, (i + 1) % 3], meeting[corner, (i + 2) % 3]
    return -1, -1


@no_type_check
@small_kernel
def _sides(parts, k):
    """All edges of a part: names and ends."""
    points, meeting, faces = parts.points, parts.planes, parts.faces
    starts, loops = parts.starts, parts.loops
    first, last = parts.first_faces[k], parts.first_faces[k + 1]
    most = starts[last] - starts[first]
    name, ends = np.empty((most, 4), np.int64), np.empty((most, 2, 3))
    found = 0
    for f in range(first, last):
        size = starts[f + 1] - starts[f]
        for i in range(size):
            u, v = loops[starts[f] + i], loops[starts[f] + (i + 1) % size]
            before, beyond = _after(meeting, u, faces[f])
            if beyond < faces[f]:
                continue  # found on its other side
            name[found, 0], name[found, 1], name[found, 2] = faces[f], beyond, before
            _, name[found, 3] = _after(meeting, v, faces[f])
            ends[found, 0], ends[found, 1] = points[u], points[v]
            found += 1
    return 1, name[:found], ends[:found]


@no_type_check
@small_kernel
def _cuts(parts, k, j):
    """All segments in which faces of two parts cut: whether all is clear, names and ends."""
    faces, starts, loops = parts.faces, parts.starts, parts.loops
    above_one, above_two = _heights(parts, k, j), _heights(parts, j, k)
    first_f, first_g = parts.first_faces[k], parts.first_faces[j]
    points_k, points_j = parts.first_points[k], parts.first_points[j]
    name, ends = np.empty((64, 4), np.int64), np.empty((64, 2, 3))
    one, two = np.empty((2, 3)), np.empty((2, 3))
    of_one, of_two = np.empty(2, np.int64), np.empty(2, np.int64)
    found = 0
    for f in range(first_f, parts.first_faces[k + 1]):
        for g in range(first_g, parts.first_faces[j + 1]):
            own, other = loops[starts[f] : starts[f + 1]], loops[starts[g] : starts[g + 1]]
            heights, others = above_one[g - first_g], above_two[f - first_f]
            if not _straddles(heights, own, points_k):
                continue
            if not _straddles(others, other, points_j):
                continue
            clear = _crossing(parts, heights, faces[f], own, points_k, one, of_one)
            if not clear or not _crossing(parts, others, faces[g], other, points_j, two, of_two):
                return -1, name[:0], ends[:0]
            if found == len(name):
                name = np.concatenate((name, np.empty_like(name)))
                ends = np.concatenate((ends, np.empty_like(ends)))
            name[found, 0], name[found, 1] = faces[f], faces[g]
            # Seen from outside of face f the visible side, beyond plane g, lies on the left.
            along = np.cross(parts.normals[faces[g]], parts.normals[faces[f]])
            state = _common(along, one, of_one, two, of_two, name[found], ends[found])
            if state < 0:
                return -1, name[:0], ends[:0]
            found += state
    return 1, name[:found], ends[:found]


@no_type_check
@small_kernel
def _heights(parts, k, j):
    """Of all corners of part k above each plane of part j."""
    normals, offsets, points = parts.normals, parts.offsets, parts.points
    first, size = parts.first_points[k], parts.first_points[k + 1] - parts.first_points[k]
    heights = np.empty((parts.first_faces[j + 1] - parts.first_faces[j], size))
    for g in range(len(heights)):
        plane = parts.faces[parts.first_faces[j] + g]
        n0, n1, n2, d = normals[plane, 0], normals[plane, 1], normals[plane, 2], offsets[plane]
        for v in range(size):
            at = first + v
            heights[g, v] = n0 * points[at, 0] + n1 * points[at, 1] + n2 * points[at, 2] - d
    return heights


@no_type_check
@small_kernel
def _straddles(heights, loop, first):
    """Whether corners of a face lie on both sides of a plane, or nearly on it."""
    below = above = False
    for v in loop:
        below |= heights[v - first] < CLOSE
        above |= heights[v - first] > -CLOSE
    return below and above


@no_type_check
@small_kernel
def _crossing(parts, heights, face, loop, first, where, label):
    """Where a plane cuts the border of a face: two places and planes. Whether that is clear."""
    found = 0
    for i in range(len(loop)):
        u, v = loop[i], loop[(i + 1) % len(loop)]
        one, two = heights[u - first], heights[v - first]
        if abs(one) < CLOSE:
            return False
        if (one < 0) != (two < 0):
            if found == 2:
                return False
            t = one / (one - two)
            for axis in range(3):
                where[found, axis] = (1 - t) * parts.points[u, axis] + t * parts.points[v, axis]
            _, label[found] = _after(parts.planes, u, face)
            found += 1
    return found == 2


@no_type_check
@small_kernel
def _common(along, one, of_one, two, of_two, name, ends):
    """What two segments of one line have in common; 1 if anything, -1 in doubt."""
    length = np.sqrt((along**2).sum())
    if length < PARALLEL:
        return -1
    along /= length
    i = 0 if (along * (one[1] - one[0])).sum() > 0 else 1
    j = 0 if (along * (two[1] - two[0])).sum() > 0 else 1
    starts_apart = (along * (two[j] - one[i])).sum()
    ends_apart = (along * (two[1 - j] - one[1 - i])).sum()
    if starts_apart > 0:
        ends[0], name[2] = two[j], of_two[j]
    else:
        ends[0], name[2] = one[i], of_one[i]
    if ends_apart > 0:
        ends[1], name[3] = one[1 - i], of_one[1 - i]
    else:
        ends[1], name[3] = two[1 - j], of_two[1 - j]
    size = (along * (ends[1] - ends[0])).sum()
    if abs(size) < CLOSE:
        return -1
    if size < 0:
        return 0
    return -1 if min(abs(starts_apart), abs(ends_apart)) < CLOSE else 1


@no_type_check
@small_kernel
def _cover(parts, other, ends, cover, label):
    """The interval of a segment, [0, 1], that a part covers; 1 if there is one, -1 in doubt."""
    enters, leaves = -np.inf, np.inf
    label[0], label[1] = -1, -1
    length = np.sqrt(((ends[1] - ends[0]) ** 2).sum())
    close = CLOSE / length
    normals, offsets = parts.normals, parts.offsets
    for plane in parts.faces[parts.first_faces[other] : parts.first_faces[other + 1]]:
        one, two = -offsets[plane], -offsets[plane]
        for axis in range(3):
            one += normals[plane, axis] * ends[0, axis]
            two += normals[plane, axis] * ends[1, axis]
        if one > CLOSE and two > CLOSE:
            return 0
        if abs(one - two) < 1e-14:
            if one > -CLOSE:
                return -1
            continue
        t = one / (one - two)
        if two < one:
            if t > enters:
                enters, label[0] = t, plane
        elif t < leaves:
            leaves, label[1] = t, plane
    if enters > leaves + close or enters > 1 + close or leaves < -close:
        return 0
    if enters > leaves - close or enters > 1 - close or leaves < close:
        return -1
    if abs(enters) < close or abs(leaves - 1) < close:
        return -1
    cover[0], cover[1] = enters, leaves
    return 1


@no_type_check
@small_kernel
def _show(name, ends, covers, labels, names, places, found):
    """Appends what is left of a segment without the covered intervals; -1 in doubt."""
    at, label = 0.0, name[2]
    done = np.zeros(len(covers) + 1, np.bool_)
    close = CLOSE / np.sqrt(((ends[1] - ends[0]) ** 2).sum())
    while at < 1:
        # The next interval; one that begins before here only moves the beginning.
        best, enters, to = -1, 1.0, name[3]
        for i in range(len(covers)):
            if not done[i] and covers[i, 0] < enters:
                best, enters, to = i, covers[i, 0], labels[i, 0]
        if enters > at:
            if enters - at < close:
                return -1
            names[found, 0], names[found, 1] = name[0], name[1]
            names[found, 2], names[found, 3] = label, to
            for axis in range(3):
                step = ends[1, axis] - ends[0, axis]
                places[found, 0, axis] = ends[0, axis] + at * step
                places[found, 1, axis] = ends[0, axis] + enters * step
            found += 1
        if best < 0:
            break
        done[best] = True
        if abs(covers[best, 1] - at) < close:
            return -1
        if covers[best, 1] > at:
            at, label = covers[best, 1], labels[best, 1]
    return found
