"""Polygons and vertices from their signs as in ``plain.py``, compiled for the CPU; see there.

One loop does everything for a polygon or vertex while it is in the cache. All is in float64. The
first trace compiles (half a minute); numba keeps the code on disk if it can. Constants of other
files come as arguments: the kept code would not notice that they change.
"""

from typing import NamedTuple, no_type_check

import numpy as np

from shapeopt.bits import lowest_bit
from shapeopt.compiled import inner_kernel, kernel
from shapeopt.vectors import fetch, fetch_row, larger, loaded, multiply_add, number, repeated, store

EPS = np.finfo(np.float64).eps

PAST = 7
"""How far past the end of a row neurons are read, eight at a time."""

_SIGNS = 2.0 * ((np.arange(256)[:, None] >> np.arange(8)) & 1) - 1.0
"""The signs of eight neurons by the byte that holds them."""

AHEAD = 4
"""Vertices whose rows are on their way while one is solved."""

NONE = -1
"""No region before."""

EIGHTHS = 8
"""Groups of lines whose nearest say which ones a polygon is first tried with."""


class FlatNet(NamedTuple):
    """A network of 3D space in flat arrays: kernels are compiled once for all architectures.

    Behind weights and biases there is room for ``PAST`` numbers, which are read and not used.
    """

    widths: np.ndarray  # inputs, then the width of each layer
    weights: np.ndarray  # row-major [in, out], layer after layer
    starts: np.ndarray  # of each layer's weights
    biases: np.ndarray
    output: int  # the constraint that f is
    words: np.ndarray  # each layer's first column of the packed signs
    lower: np.ndarray
    upper: np.ndarray


class Regions(NamedTuple):
    """Regions of the network, and a point for each.

    The rows of ``inputs`` and ``sides`` are a value at the point, then the slopes along the axes;
    both are empty unless the network is encoded, see ``simplices.py``.
    """

    plus_bits: np.ndarray  # [n, words], packed + signs
    points: np.ndarray  # [n, 3]
    inputs: np.ndarray  # [4, n, in], of the first layer
    sides: np.ndarray  # [4, n, 6], the constraints in the places of the box planes


class AffineMaps(NamedTuple):
    """The constraints as affine functions in one region."""

    lines: np.ndarray  # [4, constraints]: values at the region's point, slopes along the axes
    sign: np.ndarray  # [constraints]: -1 for neurons that are not +, or else 1
    active: np.ndarray  # room for the numbers of a layer's + neurons


class Plane(NamedTuple):
    """The plane f = 0."""

    frame: np.ndarray  # [3, 3]: two unit directions in it and its unit normal, right-handed
    origin: np.ndarray  # [3]: its nearest point to the region's point, from there


class Lines(NamedTuple):
    """Where constraints are 0 in the plane f = 0, positive inside the polygon."""

    planar: np.ndarray  # [4, n]: value, slopes, and the part of the value that is shift
    numbers: np.ndarray  # [n], which constraints they are
    lengths: np.ndarray  # [n], room for a number per line


class WalkSettings(NamedTuple):
    """What decides between lines at rounding level."""

    shift: np.ndarray  # [constraints], see plain.py
    longest_correction: float


class OutlineRoom(NamedTuple):
    """Room for outlines, to be filled."""

    counts: np.ndarray  # [n], corners of each polygon
    firsts: np.ndarray  # [n], where they start below
    slopes: np.ndarray  # [n, 3], gradients of f
    constraints: np.ndarray  # [m], of the edge from each corner on
    corners: np.ndarray  # [m, 3]


class Margins(NamedTuple):
    """How safely signs must hold."""

    size: np.ndarray  # [constraints], typical size of each one's values
    fraction: float  # of that size, for folds at right angles


class SolvedRoom(NamedTuple):
    """Room for vertices, to be filled."""

    positions: np.ndarray  # [v, 3]
    holds: np.ndarray  # [v], whether the other signs hold there
    rows: np.ndarray  # [v, 3, 3], gradients of the zeros
    outputs: np.ndarray  # [v, hidden], what the hidden neurons pass on there; or without columns


class Turning(NamedTuple):
    """What happens to a region's key and signs behind each constraint."""

    plus_key: np.ndarray  # [constraints], what a + adds to the key
    words: np.ndarray  # [constraints], the column that holds its sign
    bits: np.ndarray  # [constraints], uint32: the word with its bit alone set


class Queue(NamedTuple):
    """Cells in the order that they are found in, and room for more."""

    keys: np.ndarray  # [c]
    plus_bits: np.ndarray  # [c, words], uint32
    points: np.ndarray  # [c, 3]
    slopes: np.ndarray  # [c, 3], gradients of f, of cells that were visited


class FacetRoom(NamedTuple):
    """Room for the facets of cells, to be filled; see ``zero_cells.py``."""

    offsets: np.ndarray  # [c + 1]
    constraints: np.ndarray  # [m]
    is_plus: np.ndarray  # [m]
    corners: np.ndarray  # [m, 3]


class SeenKeys(NamedTuple):
    """A hash table of keys, filled and asked as by ``cells_compiled.insert``: at least half of the
    slots are free."""

    keys: np.ndarray
    is_used: np.ndarray


@kernel
@no_type_check
def walk_polygons(part, start, stop, net, regions, settings, room):
    """Walks round the polygons start..stop.

    Returns whether the part's fraction of the room was enough for their corners.
    """
    tools = _tools(net, settings)
    counts, firsts, slopes, constraints, corners = room
    rows = max(len(regions.points), 1)
    first, last = len(corners) * start // rows, len(corners) * stop // rows
    outline = constraints, corners
    for row in range(start, stop):
        count = _walk_polygon(net, regions, row, settings, tools, outline, (first, last))
        if count < 0:
            return False
        counts[row], firsts[row] = count, first
        _take_slopes(tools, net, slopes, row)
        first += count
    return True


@kernel
@no_type_check
def gather_outlines(part, start, stop, regions, turning, room, offsets, outlines):
    """Puts the outlines of the polygons start..stop one after the other.

    Args:
        outlines: constraints, whether each is a neuron that is + in the region, and corners.
    """
    constraints, is_plus, corners = outlines
    for row in range(start, stop):
        source = room.firsts[row]
        for facet in range(offsets[row], offsets[row + 1]):
            constraint = room.constraints[source]
            constraints[facet] = constraint
            word, bit = turning.words[constraint], turning.bits[constraint]
            is_plus[facet] = regions.plus_bits[row, word] & bit != 0
            for k in range(3):
                corners[facet, k] = room.corners[source, k]
            source += 1


@kernel
@no_type_check
def follow(net, settings, turning, queue, room, seen, counts):
    """Walks round the polygons in the queue, and queues what lies behind their edges and was not
    seen.

    Args:
        counts: the place in the queue, the queue's length, and how many keys were seen.

    Stops at the end of the queue; before that where room is short, or where a polygon does not
    close. Returns the counts, and whether it was that.
    """
    start, num_queued, num_seen = counts
    tools, mask = _tools(net, settings), len(seen.keys) - 1
    no_maps = np.empty((4, 0, 3)), np.empty((4, 0, 6))
    regions = Regions(queue.plus_bits, queue.points, *no_maps)
    outline, last = (room.constraints, room.corners), len(room.corners)
    while start < num_queued:
        first = room.offsets[start]
        count = _walk_polygon(net, regions, start, settings, tools, outline, (first, last))
        if count == 0:
            return (start, num_queued, num_seen), True
        is_short = num_queued + count > len(queue.keys) or 2 * (num_seen + count) > mask
        if count < 0 or is_short:
            return (start, num_queued, num_seen), False
        _take_slopes(tools, net, queue.slopes, start)
        room.offsets[start + 1] = first + count
        for facet in range(first, first + count):
            crossed = room.constraints[facet]
            is_neuron = crossed <= net.output
            word, bit = turning.words[crossed], turning.bits[crossed]
            is_plus = is_neuron and queue.plus_bits[start, word] & bit != 0
            room.is_plus[facet] = is_plus
            if not is_neuron:
                continue
            turned = turning.plus_key[crossed]
            key = queue.keys[start] + (-turned if is_plus else turned)
            slot = (key ^ (key >> 32)) & mask
            while seen.is_used[slot] and seen.keys[slot] != key:
                slot = (slot + 1) & mask
            if seen.is_used[slot]:
                continue
            seen.keys[slot], seen.is_used[slot] = key, True
            num_seen += 1
            queue.keys[num_queued] = key
            for column in range(queue.plus_bits.shape[1]):
                queue.plus_bits[num_queued, column] = queue.plus_bits[start, column]
            queue.plus_bits[num_queued, word] ^= bit
            following = facet + 1 if facet + 1 < first + count else first
            for k in range(3):
                middle = (room.corners[facet, k] + room.corners[following, k]) / 2
                queue.points[num_queued, k] = middle
            num_queued += 1
        start += 1
    return (start, num_queued, num_seen), False


class _Tools(NamedTuple):
    """Room for what is worked out for one polygon."""

    maps: AffineMaps
    plane: Plane
    every: Lines
    near: Lines


@kernel
@no_type_check
def _tools(net, settings):
    total = len(settings.shift)
    return _Tools(
        _room_for_maps(net, total),
        Plane(np.empty((3, 3)), np.empty(3)),
        Lines(np.empty((4, total)), np.arange(total), np.empty(total)),
        Lines(np.empty((4, total)), np.empty(total + 1, np.int64), np.empty(total + EIGHTHS)),
    )


@inner_kernel
@no_type_check
def _take_slopes(tools, net, slopes, row):
    """Takes over the gradient of f from the maps of the region at work."""
    for k in range(3):
        slopes[row, k] = tools.maps.lines[1 + k, net.output]


@inner_kernel
@no_type_check
def _walk_polygon(net, regions, row, settings, tools, outline, free):
    """Fills in the corners of a polygon and the constraints of its edges.

    Args:
        outline: room for the constraint of each edge, and for where it starts.
        free: the first place there that may be filled, and the one after the last. (To hand over
            slices would take an eighth of the time of a polygon.)

    Returns how many, 0 if it does not close, -1 if there was no room for them.
    """
    maps, plane, every, near = tools
    frame, origin = plane.frame, plane.origin
    _affine_maps(net, regions, row, NONE, maps)
    _find_plane(maps, net.output, plane)
    _cut_plane(maps, settings.shift, net.output, plane, every)
    longest, total = settings.longest_correction, len(settings.shift)
    chosen, reach = _choose_nearest(every, near)
    count = _walk(near, chosen, reach, longest, outline, free) if chosen else 0
    if count == 0:
        count = _walk(every, total, np.inf, longest, outline, free)
    corners, (first, _) = outline[1], free
    for i in range(first, first + count):
        s, t = corners[i, 0], corners[i, 1]
        for k in range(3):
            point = regions.points[row, k]
            corners[i, k] = point + origin[k] + s * frame[0, k] + t * frame[1, k]
    return count


@kernel
@no_type_check
def _room_for_maps(net, total):
    """Room for maps, with the slopes of the first layer, which are the same in all regions; an
    encoded network puts others there."""
    lines, width = np.zeros((4, total)), net.widths[1]
    if net.widths[0] == 3:
        for k in range(3):
            lines[1 + k, :width] = net.weights[k * width : (k + 1) * width]
    return AffineMaps(lines, np.ones(total), np.empty(net.widths.max(), np.int64))


@inner_kernel
@no_type_check
def _affine_maps(net, regions, row, before, maps):
    """Fills in the maps of one region.

    Args:
        before: a region with the same point whose maps are there, or ``NONE``. Up to the first
            layer that has other signs, the maps of the neurons behind are the same, and stay.
    """
    plus_bits, points = regions.plus_bits, regions.points
    lines, sign, active = maps.lines, maps.sign, maps.active
    is_encoded, common = regions.inputs.shape[1] > 0, 0
    if is_encoded:
        _add_encoded(net, regions, row, lines)
    elif before == NONE:
        _add_point(net, points[row], lines[0])
    else:
        common = _layers_in_common(net, plus_bits, row, before)
    first = net.widths[1]
    for layer in range(1, len(net.widths) - 1):
        previous = first - net.widths[layer]
        if layer > common:
            count = _unpack(plus_bits, row, net.words[layer - 1], (previous, first), sign, active)
            for j in range(PAST):  # where unpacking went past the layer's end
                sign[first + j] = 1.0
            if first == net.output:
                _add_output(net, lines, (active, count), previous, 0.0)
            else:
                _add_layer(net, layer, lines, (active, count), previous, first, 0.0)
        first += net.widths[layer + 1]
    if is_encoded:
        for k in range(4):
            for side in range(6):
                lines[k, first + side] = regions.sides[k, row, side]
        return
    for k in range(3):
        x, plane = points[row, k], first + 2 * k
        lines[0, plane], lines[0, plane + 1] = x - net.lower[k], net.upper[k] - x
        for axis in range(3):
            slope = 1.0 if axis == k else 0.0
            lines[1 + axis, plane], lines[1 + axis, plane + 1] = slope, -slope


@inner_kernel
@no_type_check
def _layers_in_common(net, plus_bits, row, before):
    """How many hidden layers two regions have the same signs in, up to the first difference."""
    last = len(net.words) - 1
    for layer in range(last):
        for word in range(net.words[layer], net.words[layer + 1]):
            if plus_bits[row, word] != plus_bits[before, word]:
                return layer
    return last


@inner_kernel
@no_type_check
def _unpack(plus_bits, row, word, neurons, sign, active):
    """Puts 1 for the neurons that are + and -1 for the others into ``sign``, up to whole eights,
    and the places of those that are + among the neurons into ``active``. Returns how many.

    Args:
        word: the column of the signs that the first of the neurons is in.
        neurons: the first and the one after the last, a layer.
    """
    count, (first, stop) = 0, neurons
    for start in range(first, stop, 32):
        bits = plus_bits[row, word + ((start - first) >> 5)]
        for at in range(start, min(start + 32, stop), 8):
            octet = 8 * np.int64((bits >> np.uint32(at - start)) & np.uint32(255))
            store(sign, at, loaded(_SIGNS, octet))
            store(sign, at + 4, loaded(_SIGNS, octet + 4))
        while bits != 0:
            active[count] = start - first + lowest_bit(bits)
            bits &= bits - np.uint32(1)
            count += 1
    return count


@inner_kernel
@no_type_check
def _add_point(net, point, values):
    """Puts the first layer's values at a point in their places."""
    x, y, z = point
    width = net.widths[1]
    of_x, of_y, of_z = net.weights, net.weights[width:], net.weights[2 * width :]
    for j in range(width):
        values[j] = net.biases[j] + (x * of_x[j] + y * of_y[j] + z * of_z[j])


@kernel
@no_type_check
def _add_encoded(net, regions, row, lines):
    """Puts the first layer's rows into ``lines``, where points are encoded."""
    width = net.widths[1]
    for k in range(4):
        inputs, out = regions.inputs[k, row], lines[k][:width]
        for j in range(width):
            out[j] = net.biases[j] if k == 0 else 0.0
        for i in range(net.widths[0]):
            of_input, a = net.weights[i * width :], inputs[i]
            for j in range(width):
                out[j] += a * of_input[j]


@inner_kernel
@no_type_check
def _add_layer(net, layer, lines, inputs, previous, first, share):
    """Puts a hidden layer's rows into ``lines`` behind those of the previous one, eight neurons at
    a time.

    What is too many for the last of them falls where the rows of later constraints come.

    Args:
        inputs: the numbers of the neurons before that count, and how many they are.
        share: of the biases, that the second to fourth row have: 0 for slopes, 1 for values.
    """
    width, start, weights = net.widths[layer + 1], net.starts[layer], net.weights
    (active, count), zero, share = inputs, repeated(0), repeated(share)
    values, along_x, along_y, along_z = lines[0], lines[1], lines[2], lines[3]
    for at in range(first, first + width, 8):
        value, value_4 = loaded(net.biases, at), loaded(net.biases, at + 4)
        x, x_4 = multiply_add(share, value, zero), multiply_add(share, value_4, zero)
        y, y_4, z, z_4 = x, x_4, x, x_4
        for i in range(count):
            row = number(active, i)
            weight = start + row * width + (at - first)
            w, w_4, row = loaded(weights, weight), loaded(weights, weight + 4), row + previous
            a = repeated(number(values, row))
            value, value_4 = multiply_add(a, w, value), multiply_add(a, w_4, value_4)
            a = repeated(number(along_x, row))
            x, x_4 = multiply_add(a, w, x), multiply_add(a, w_4, x_4)
            a = repeated(number(along_y, row))
            y, y_4 = multiply_add(a, w, y), multiply_add(a, w_4, y_4)
            a = repeated(number(along_z, row))
            z, z_4 = multiply_add(a, w, z), multiply_add(a, w_4, z_4)
        store(values, at, value)
        store(values, at + 4, value_4)
        store(along_x, at, x)
        store(along_x, at + 4, x_4)
        store(along_y, at, y)
        store(along_y, at + 4, y_4)
        store(along_z, at, z)
        store(along_z, at + 4, z_4)


@inner_kernel
@no_type_check
def _add_output(net, lines, inputs, previous, share):
    """Puts f's row into ``lines``; arguments as in ``_add_layer``."""
    (active, count), values = inputs, lines[0]
    along_x, along_y, along_z = lines[1], lines[2], lines[3]
    start, value = net.starts[len(net.widths) - 2], net.biases[net.output]
    x = y = z = share * value
    for i in range(count):
        row = number(active, i)
        w, row = number(net.weights, start + row), previous + row
        value += number(values, row) * w
        x += number(along_x, row) * w
        y += number(along_y, row) * w
        z += number(along_z, row) * w
    values[net.output], along_x[net.output] = value, x
    along_y[net.output], along_z[net.output] = y, z


@kernel
@no_type_check
def evaluate(part, start, stop, net, floor, points, out):
    """f at points, four at a time: their values take the places of a value and three slopes.

    Args:
        floor: what hidden neurons pass on at least: 0, or minus infinity for linear ones; with
            room for ``PAST`` more.
    """
    lines = np.empty((4, net.output + 1 + PAST))
    every, last = np.arange(net.widths.max()), len(net.widths) - 2
    for row in range(start, stop, 4):
        for k in range(4):
            _add_point(net, points[min(row + k, stop - 1)], lines[k])
        first = 0
        for layer in range(1, last + 1):
            width, after = net.widths[layer], first + net.widths[layer]
            for k in range(4):
                _raise(lines[k], floor, first, after)
            if layer < last:
                _add_layer(net, layer, lines, (every, width), first, after, 1.0)
            else:
                _add_output(net, lines, (every, width), first, 1.0)
            first = after
        for k in range(min(4, stop - row)):
            out[row + k] = lines[k, net.output]


@inner_kernel
@no_type_check
def _raise(values, floor, first, after):
    for at in range(first, after, 4):
        store(values, at, larger(loaded(values, at), loaded(floor, at)))


@inner_kernel
@no_type_check
def _find_plane(maps, output, plane):
    """Fills in the plane f = 0."""
    lines = maps.lines
    first, second, normal, origin = plane.frame[0], plane.frame[1], plane.frame[2], plane.origin
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


@inner_kernel
@no_type_check
def _cross(a, b, out):
    out[0] = a[1] * b[2] - a[2] * b[1]
    out[1] = a[2] * b[0] - a[0] * b[2]
    out[2] = a[0] * b[1] - a[1] * b[0]


@inner_kernel
@no_type_check
def _dot(a, b):
    return a[0] * b[0] + a[1] * b[1] + a[2] * b[2]


@inner_kernel
@no_type_check
def _cut_plane(maps, shift, output, plane, every):
    """Fills in the lines of all constraints; f itself becomes a constant."""
    lines, sign, frame, planar = maps.lines, maps.sign, plane.frame, every.planar
    at_base, along_x, along_y, along_z = lines[0], lines[1], lines[2], lines[3]
    values, slopes_s, slopes_t, shifts = planar[0], planar[1], planar[2], planar[3]
    (sx, sy, sz), (tx, ty, tz), (x, y, z) = frame[0], frame[1], plane.origin
    for j in range(len(shift)):
        value = at_base[j] + (along_x[j] * x + along_y[j] * y + along_z[j] * z)
        slopes_s[j] = sign[j] * (along_x[j] * sx + along_y[j] * sy + along_z[j] * sz)
        slopes_t[j] = sign[j] * (along_x[j] * tx + along_y[j] * ty + along_z[j] * tz)
        shifts[j] = sign[j] * shift[j]
        values[j] = sign[j] * value + shifts[j]
    values[output], slopes_s[output], slopes_t[output], shifts[output] = 1, 0, 0, 0


@inner_kernel
@no_type_check
def _squared_distances(values, slopes_s, slopes_t, squared):
    """Of lines from the base, negative outside: rounding may put it there, and then the line it is
    furthest outside of is the nearest."""
    for j in range(len(squared)):
        size = slopes_s[j] * slopes_s[j] + slopes_t[j] * slopes_t[j]
        distance = values[j] * abs(values[j]) / size
        squared[j] = distance if size > 0 else np.inf


@inner_kernel
@no_type_check
def _choose_nearest(every, near):
    """Copies lines near to the base into ``near``: those no further away than the furthest of the
    nearest of each eighth of all lines.

    Of lines in any order these are 8 * (1 + 1/2 + ... + 1/8) = 22 on average, and they are found
    without sorting.

    Returns how many, and the squared distance from the base within which no line is missing. There
    is none where f is constant: all is NaN.
    """
    squared, least, lines, chosen = every.lengths, near.lengths, every.planar, near.planar
    _squared_distances(lines[0], lines[1], lines[2], squared)
    total = len(squared)
    least[:EIGHTHS] = np.inf
    for first in range(0, total - EIGHTHS + 1, EIGHTHS):
        for i in range(EIGHTHS):
            least[i] = min(least[i], squared[first + i])
    reach = least[0]
    for i in range(1, EIGHTHS):
        reach = max(reach, least[i])
    count = 0
    for j in range(total):
        near.numbers[count] = j
        count += squared[j] <= reach
    for i in range(count):
        for k in range(4):
            chosen[k, i] = lines[k, near.numbers[i]]
    return count, reach


@inner_kernel
@no_type_check
def _walk(lines, count, reach, longest_correction, outline, free):
    """Walks round a polygon, from the foot point on its nearest line.

    Args:
        lines: to walk along.
        count: how many there are.
        reach: squared distance from the base within which no line is missing.
        longest_correction: where taking the shifts away would move a corner further, its lines
            are parallel up to rounding, and it stays.
        outline, free: as for ``_walk_polygon``; corners in coordinates of the plane.

    Returns its number of corners, 0 if the walk leaves the reach or does not come back, -1 if
    there is no room.
    """
    planar, numbers, lengths = lines.planar, lines.numbers, lines.lengths[:count]
    values, slopes_s, slopes_t, shifts = planar[0], planar[1], planar[2], planar[3]
    _squared_distances(values, slopes_s, slopes_t, lengths)
    start = 0
    for j in range(1, count):
        if lengths[j] < lengths[start]:
            start = j
    size = slopes_s[start] * slopes_s[start] + slopes_t[start] * slopes_t[start]
    foot = -values[start] / size
    s, t = foot * slopes_s[start], foot * slopes_t[start]
    current, previous = start, start
    (constraints, corners), (first, last) = outline, free
    for step in range(count):
        at = current, previous, s, t
        line, shortest = _next_line(values, slopes_s, slopes_t, lengths, at)
        # The base may lie past the corner by its own rounding: the first corner is exact for it.
        length = lengths[line] if step == 0 else shortest
        s, t = s + length * slopes_t[current], t + length * -slopes_s[current]
        if not s * s + t * t < reach:
            return 0
        place = first + step
        if place == last:
            return -1
        constraints[place] = numbers[line]
        step_s, step_t = _without_shift(slopes_s, slopes_t, shifts, current, line)
        corners[place, 0], corners[place, 1] = s, t
        if max(abs(step_s), abs(step_t)) < longest_correction:
            corners[place, 0] += step_s
            corners[place, 1] += step_t
        if line == start:
            return step + 1
        previous, current = current, line
    return 0


@inner_kernel
@no_type_check
def _next_line(values, slopes_s, slopes_t, lengths, at):
    """The line that the walk meets first, and how far it is.

    Args:
        lengths: room for the ways to all lines, negative behind.
        at: the line that the walk is on, the one before, and the coordinates.
    """
    current, previous, s, t = at
    along_s, along_t = slopes_t[current], -slopes_s[current]  # the inside is to the left
    for j in range(len(lengths)):
        there = values[j] + slopes_s[j] * s + slopes_t[j] * t
        rising = slopes_s[j] * along_s + slopes_t[j] * along_t
        length = there / -rising
        lengths[j] = length if rising < 0 else np.inf
    lengths[current] = lengths[previous] = np.inf
    line, shortest = 0, np.inf
    for j in range(len(lengths)):
        length = max(lengths[j], 0.0)
        if length < shortest:  # of several at rounding level, the first
            line, shortest = j, length
    return line, shortest


@inner_kernel
@no_type_check
def _without_shift(slopes_s, slopes_t, shifts, one, two):
    """How far the corner of two lines moves when their shifts are taken away."""
    determinant = slopes_s[one] * slopes_t[two] - slopes_t[one] * slopes_s[two]
    step_s = (shifts[one] * slopes_t[two] - shifts[two] * slopes_t[one]) / determinant
    step_t = (shifts[two] * slopes_s[one] - shifts[one] * slopes_s[two]) / determinant
    return step_s, step_t


@kernel
@no_type_check
def solve_vertices(part, start, stop, net, regions, vertices, margins, room):
    """Newton's step from each vertex, whether the other signs hold where it leads, the gradients of
    the zeros, and what hidden neurons pass on there.

    Args:
        vertices: the zeros of each, and the order to solve them in.
    """
    total, points, (zeros, order) = len(margins.size), regions.points, vertices
    tools = _room_for_maps(net, total), np.empty(total), np.empty((3, 3)), np.empty(3)
    before = NONE
    for i in range(start, stop):
        _fetch_vertex(order[min(i + AHEAD, stop - 1)], regions, zeros, room)
        vertex = order[i]
        for k in range(3):
            if before != NONE and points[vertex, k] != points[before, k]:
                before = NONE
        _affine_maps(net, regions, vertex, before, tools[0])
        _solve(net, points, vertex, zeros, margins, tools, room)
        before = vertex


@inner_kernel
@no_type_check
def _fetch_vertex(vertex, regions, zeros, room):
    """Has a vertex's rows brought nearer."""
    fetch_row(regions.plus_bits, vertex)
    fetch_row(regions.points, vertex)
    fetch_row(zeros, vertex)
    fetch_row(room.positions, vertex)
    fetch(room.holds, vertex)
    fetch_row(room.rows, vertex)
    fetch_row(room.outputs, vertex)


@inner_kernel
@no_type_check
def _solve(net, points, vertex, zeros, margins, tools, room):
    """Fills in one vertex, by the maps of its region.

    Args:
        tools: the maps, and room for values, for an inverse and for a step.
    """
    positions, holds, rows, outputs = room
    maps, values, inverse, step = tools
    lines, sign, row = maps.lines, maps.sign, rows[vertex]
    for i in range(3):
        for k in range(3):
            row[i, k] = lines[1 + k, zeros[vertex, i]]
    sharpness = _newton_step(lines, zeros, vertex, row, inverse, step)
    for k in range(3):
        positions[vertex, k] = points[vertex, k] + step[k]
    _step_away(lines, sign, step, values)
    for j in range(outputs.shape[1]):
        outputs[vertex, j] = values[j] if sign[j] > 0 else 0.0
    if not sharpness < 1 / EPS:
        holds[vertex] = False
        return
    values[net.output] = np.inf
    for i in range(3):
        values[zeros[vertex, i]] = np.inf
    fraction = margins.fraction * (1 + np.sqrt(sharpness))
    holds[vertex] = _all_exceed(values, margins.size, fraction)


@inner_kernel
@no_type_check
def _newton_step(lines, zeros, vertex, row, inverse, step):
    """Fills in the step to where the zeros of a vertex meet, given their gradients.

    Returns 1 / sine^2 of the smallest angle between a fold and the others' meet; infinity if they
    do not meet in a point.
    """
    # Row i of the inverse's transpose: the cross product of the other two, by the determinant.
    for i in range(3):
        _cross(row[(i + 1) % 3], row[(i + 2) % 3], inverse[i])
    determinant = _dot(row[0], inverse[0])
    sharpness = 0.0
    step[:] = 0
    for i in range(3):
        square = _dot(inverse[i], inverse[i]) * _dot(row[i], row[i])
        sharpness = max(square / (determinant * determinant), sharpness)
        value = lines[0, zeros[vertex, i]] / determinant
        for k in range(3):
            step[k] -= inverse[i, k] * value
    return sharpness if determinant != 0 else np.inf


@inner_kernel
@no_type_check
def _step_away(lines, sign, step, values):
    """Fills in the constraints' values a step away, positive where their signs hold."""
    x, y, z = step
    at_point, along_x, along_y, along_z = lines[0], lines[1], lines[2], lines[3]
    for j in range(len(values)):
        moved = at_point[j] + (along_x[j] * x + along_y[j] * y + along_z[j] * z)
        values[j] = sign[j] * moved


@inner_kernel
@no_type_check
def _all_exceed(values, size, fraction):
    """Whether every value is more than the fraction of its typical size."""
    failed = 0
    for j in range(len(size)):
        failed += not values[j] > fraction * size[j]
    return failed == 0
