"""Polygons and vertices from their signs as in ``pieces.py``, compiled for the CPU; see there.

One loop does everything for a polygon or vertex while it is in the cache. All is in float64. The
first trace compiles (some ten seconds); numba keeps the code on disk if it can.
"""

from typing import NamedTuple, no_type_check

import numpy as np

from shapeopt.extraction.compiled import kernel
from shapeopt.extraction.tolerances import LONGEST_CORRECTION
from shapeopt.extraction.tracing.plain import NEAREST_LINES

EPS = np.finfo(np.float64).eps


class FlatNet(NamedTuple):
    """A network with 3 inputs in flat arrays: kernels are compiled once for all architectures."""

    widths: np.ndarray  # inputs, then the width of each layer
    weights: np.ndarray  # row-major [in, out], layer after layer
    starts: np.ndarray  # of each layer's weights
    biases: np.ndarray
    words: np.ndarray  # each layer's first column of the packed signs
    lower: np.ndarray
    upper: np.ndarray


@kernel
@no_type_check
def walk_polygons(part, start, stop, net, shift, signs, base, counts, facets, corners):
    """Walks round the polygons start..stop.

    Returns where the part's fraction of the room starts, and how many corners it put there: -1 if
    there was no room for them.
    """
    num_hidden, total = len(net.biases) - 1, len(shift)
    lines, planar = np.empty((4, total)), np.empty((4, total))
    sign, way = np.ones(total), np.empty(max(total, NEAREST_LINES))
    near, numbers = np.empty((4, NEAREST_LINES)), np.zeros(NEAREST_LINES, np.int64)
    every, frame, origin = np.arange(total), np.empty((3, 3)), np.empty(3)
    active = np.empty(net.widths.max(), np.int64)
    rows = max(len(signs), 1)
    first, last = len(facets) * start // rows, len(facets) * stop // rows
    found = first
    for row in range(start, stop):
        _affine_maps(net, signs, base, row, lines, sign, active)
        _find_plane(lines, num_hidden, frame, origin)
        _cut_plane(lines, sign, shift, num_hidden, frame, origin, planar)
        reach = _choose_nearest(planar, way[:total], near, numbers)
        room = facets[found:last], corners[found:last]
        count = _walk(near, numbers, reach, way[:NEAREST_LINES], *room)
        if count == 0:
            count = _walk(planar, every, np.inf, way[:total], *room)
        if count < 0:
            return first, -1
        counts[row] = count
        for i in range(found, found + count):
            s, t = corners[i, 0], corners[i, 1]
            for k in range(3):
                corners[i, k] = base[row, k] + origin[k] + s * frame[0, k] + t * frame[1, k]
        found += counts[row]
    return first, found - first


@kernel
@no_type_check
def _affine_maps(net, signs, base, row, lines, sign, active):
    """Values at a base of all neurons, with the signs of a row, and of the box planes:
    ``lines[0]``; their slopes along the axes: the rest; and 1 for + or -1 for each hidden neuron:
    ``sign``."""
    x, y, z = base[row]
    width = net.widths[1]
    for j in range(width):
        of_x, of_y = net.weights[j], net.weights[width + j]
        of_z = net.weights[2 * width + j]
        lines[0, j] = net.biases[j] + (x * of_x + y * of_y + z * of_z)
        lines[1, j], lines[2, j], lines[3, j] = of_x, of_y, of_z
    first = width
    for layer in range(1, len(net.widths) - 1):
        num_in, word = net.widths[layer], net.words[layer - 1]
        previous, count = first - num_in, 0
        for i in range(num_in):
            bit = (signs[row, word + (i >> 5)] >> np.uint32(i & 31)) & np.uint32(1)
            active[count] = i
            count += bit
            sign[previous + i] = 2.0 * bit - 1.0
        _add_layer(net, layer, lines, active, count, previous, first)
        first += net.widths[layer + 1]
    for plane in range(first, first + 6):
        axis, is_upper = (plane - first) // 2, (plane - first) % 2 == 1
        for k in range(3):
            lines[1 + k, plane] = 0
        lines[1 + axis, plane] = -1 if is_upper else 1
        x = base[row, axis]
        lines[0, plane] = net.upper[axis] - x if is_upper else x - net.lower[axis]


@kernel
@no_type_check
def _add_layer(net, layer, lines, active, count, previous, first):
    """Puts a layer's rows into ``lines`` behind those of the previous one.

    The active neurons are added four at a time, in loops over slices, which the compiler makes
    vector instructions of.
    """
    width, start = net.widths[layer + 1], net.starts[layer]
    for k in range(4):
        before, out = lines[k][previous:first], lines[k][first : first + width]
        for j in range(width):
            out[j] = net.biases[first + j] if k == 0 else 0.0
        if width == 1:  # the output: slices would cost more than the sum
            for i in range(count):
                out[0] += before[active[i]] * net.weights[start + active[i]]
            continue
        for i in range(0, count - 3, 4):
            one, two, three, four = active[i], active[i + 1], active[i + 2], active[i + 3]
            of_one = net.weights[start + one * width :]
            of_two = net.weights[start + two * width :]
            of_three = net.weights[start + three * width :]
            of_four = net.weights[start + four * width :]
            a, b, c, d = before[one], before[two], before[three], before[four]
            for j in range(width):
                out[j] += (a * of_one[j] + b * of_two[j]) + (c * of_three[j] + d * of_four[j])
        for i in range(count - count % 4, count):
            a, of_one = before[active[i]], net.weights[start + active[i] * width :]
            for j in range(width):
                out[j] += a * of_one[j]


@kernel
@no_type_check
def _find_plane(lines, output, frame, origin):
    """Two unit directions in the plane f = 0 and its unit normal, right-handed; and the point of
    the plane that is nearest to the base, from there."""
    first, second, normal = frame[0], frame[1], frame[2]
    gradient = lines[1:, output]
    length = np.sqrt(_dot(gradient, gradient))
    least = 0
    for k in range(3):
        normal[k] = gradient[k] / length
        origin[k] = -lines[0, output] / length * normal[k]
        if abs(normal[k]) < abs(normal[least]):
            least = k
    second[:] = 0
    second[least] = 1
    _cross(normal, second, first)
    length = np.sqrt(_dot(first, first))
    for k in range(3):
        first[k] /= length
    _cross(normal, first, second)


@kernel
@no_type_check
def _cross(a, b, out):
    out[0] = a[1] * b[2] - a[2] * b[1]
    out[1] = a[2] * b[0] - a[0] * b[2]
    out[2] = a[0] * b[1] - a[1] * b[0]


@kernel
@no_type_check
def _dot(a, b):
    return a[0] * b[0] + a[1] * b[1] + a[2] * b[2]


@kernel
@no_type_check
def _cut_plane(lines, sign, shift, output, frame, origin, planar):
    """Where the constraints are 0 in the plane, positive inside: value, slopes, and the part of
    the value that is shift. f itself becomes a constant."""
    at_base, along_x, along_y, along_z = lines[0], lines[1], lines[2], lines[3]
    values, slopes_s, slopes_t, shifts = planar[0], planar[1], planar[2], planar[3]
    (sx, sy, sz), (tx, ty, tz), (x, y, z) = frame[0], frame[1], origin
    for j in range(len(shift)):
        value = at_base[j] + (along_x[j] * x + along_y[j] * y + along_z[j] * z)
        slopes_s[j] = sign[j] * (along_x[j] * sx + along_y[j] * sy + along_z[j] * sz)
        slopes_t[j] = sign[j] * (along_x[j] * tx + along_y[j] * ty + along_z[j] * tz)
        shifts[j] = sign[j] * shift[j]
        values[j] = sign[j] * value + shifts[j]
    values[output], slopes_s[output], slopes_t[output], shifts[output] = 1, 0, 0, 0


@kernel
@no_type_check
def _squared_distances(values, slopes_s, slopes_t, squared):
    """Of lines from the base, negative outside: rounding may put it there, and then the line it is
    furthest outside of is the nearest."""
    for j in range(len(squared)):
        size = slopes_s[j] * slopes_s[j] + slopes_t[j] * slopes_t[j]
        distance = values[j] * abs(values[j]) / size
        squared[j] = distance if size > 0 else np.inf


@kernel
@no_type_check
def _choose_nearest(planar, squared, near, lines):
    """Copies the lines nearest to the base into ``near``, and their numbers into ``lines``; what
    room is left is filled with constants.

    Returns the squared distance from the base within which no line is missing.
    """
    values, slopes_s, slopes_t = planar[0], planar[1], planar[2]
    _squared_distances(values, slopes_s, slopes_t, squared)
    room, count, reach = len(lines), 0, np.inf
    for j in range(len(squared)):
        if squared[j] < reach:
            if count == room:
                count -= 1
            at = count
            while at > 0 and squared[lines[at - 1]] > squared[j]:
                lines[at] = lines[at - 1]
                at -= 1
            lines[at] = j
            count += 1
            if count == room:
                reach = squared[lines[room - 1]]
    for i in range(room):
        for k in range(4):
            near[k, i] = planar[k, lines[i]] if i < count else k == 0
    return reach


@kernel
@no_type_check
def _walk(planar, numbers, reach, way, facets, corners):
    """Walks round a polygon, from the foot point on its nearest line.

    Args:
        planar, numbers: the lines, see ``_cut_plane``.
        reach: squared distance from the base within which no line is missing.
        way: room for a number per line.

    Returns its number of corners, 0 if the walk leaves the reach or does not come back, -1 if
    there is no room.
    """
    values, slopes_s, slopes_t, shifts = planar[0], planar[1], planar[2], planar[3]
    total = len(way)
    _squared_distances(values, slopes_s, slopes_t, way)
    start = way.argmin()
    size = slopes_s[start] * slopes_s[start] + slopes_t[start] * slopes_t[start]
    s, t = -values[start] / size * slopes_s[start], -values[start] / size * slopes_t[start]
    current, previous = start, start
    for step in range(total):
        along_s, along_t = slopes_t[current], -slopes_s[current]  # the inside is to the left
        for j in range(total):
            there = values[j] + slopes_s[j] * s + slopes_t[j] * t
            rising = slopes_s[j] * along_s + slopes_t[j] * along_t
            length = there / -rising
            way[j] = length if rising < 0 else np.inf
        way[current] = way[previous] = np.inf
        line, shortest = 0, np.inf
        for j in range(total):
            length = max(way[j], 0.0)
            if length < shortest:  # of several at rounding level, the first
                line, shortest = j, length
        # The base may lie past the corner by its own rounding: the first corner is exact for it.
        length = way[line] if step == 0 else shortest
        s, t = s + length * along_s, t + length * along_t
        if not s * s + t * t < reach:
            return 0
        if step == len(facets):
            return -1
        facets[step] = numbers[line]
        corners[step, 0], corners[step, 1] = s, t
        determinant = slopes_s[current] * slopes_t[line] - slopes_t[current] * slopes_s[line]
        one, two = shifts[current], shifts[line]
        step_s = (one * slopes_t[line] - two * slopes_t[current]) / determinant
        step_t = (two * slopes_s[current] - one * slopes_s[line]) / determinant
        if max(abs(step_s), abs(step_t)) < LONGEST_CORRECTION:
            corners[step, 0] += step_s
            corners[step, 1] += step_t
        if line == start:
            return step + 1
        previous, current = current, line
    return 0


@kernel
@no_type_check
def solve_vertices(
    part, start, stop, net, size, margin, vertices, zeros, signs, positions, holds, rows
):
    """Newton's step from each vertex, whether the other signs hold where it leads, and the
    gradients of the zeros."""
    total, num_hidden = len(size), len(net.biases) - 1
    lines, sign, values = np.empty((4, total)), np.ones(total), np.empty(total)
    active = np.empty(net.widths.max(), np.int64)
    inverse, step = np.empty((3, 3)), np.empty(3)
    for vertex in range(start, stop):
        _affine_maps(net, signs, vertices, vertex, lines, sign, active)
        row = rows[vertex]
        for i in range(3):
            for k in range(3):
                row[i, k] = lines[1 + k, zeros[vertex, i]]
        # Row i of the inverse's transpose: the cross product of the other two, by the determinant.
        for i in range(3):
            _cross(row[(i + 1) % 3], row[(i + 2) % 3], inverse[i])
        determinant = _dot(row[0], inverse[0])
        sharpness = 0.0  # 1 / sine^2 of the smallest angle between a fold and the others' meet
        step[:] = 0
        for i in range(3):
            square = _dot(inverse[i], inverse[i]) * _dot(row[i], row[i])
            sharpness = max(square / (determinant * determinant), sharpness)
            value = lines[0, zeros[vertex, i]] / determinant
            for k in range(3):
                step[k] -= inverse[i, k] * value
        for k in range(3):
            positions[vertex, k] = vertices[vertex, k] + step[k]
        if not (determinant != 0 and sharpness < 1 / EPS):
            holds[vertex] = False
            continue

        x, y, z = step
        along_x, along_y, along_z = lines[1], lines[2], lines[3]
        for j in range(total):
            moved = lines[0][j] + (along_x[j] * x + along_y[j] * y + along_z[j] * z)
            values[j] = sign[j] * moved
        values[num_hidden] = np.inf
        for i in range(3):
            values[zeros[vertex, i]] = np.inf
        least = margin * (1 + np.sqrt(sharpness))
        failed = 0
        for j in range(total):
            failed += not values[j] > least * size[j]
        holds[vertex] = failed == 0
