"""The bounds of ``bounds.py`` compiled for the CPU: region by region, while it is in the cache.

The coefficients of a region are the rows of one array: first the values at its corners, then one
row for each e_s.
"""

from collections.abc import Sequence
from itertools import pairwise
from typing import NamedTuple, no_type_check

import numpy as np
import torch
from jaxtyping import Bool, Float
from torch import Tensor

from shapeopt.compiled import in_parts, kernel, small_kernel
from shapeopt.extraction.subdivision.bounds import unit_rounding
from shapeopt.extraction.subdivision.regions import Regions
from shapeopt.extraction.subdivision.values_compiled import layer_values
from shapeopt.networks.affine import AffineLayer
from shapeopt.vectors import (
    absolute,
    larger,
    loaded,
    minus,
    multiply_add,
    number,
    plus,
    repeated,
    smaller,
    store,
    times,
)

SMALL = 1 << 9
"""So many regions are bounded in one part."""

NEURONS = 16
"""Neurons that sums are in registers of at a time."""

MOST_ERRORS = 128
"""Errors of ReLUs that are kept apart; of what comes after, the sizes are added up."""


class _Rest(NamedTuple):
    """The layers to come, one after the other in flat arrays.

    Attributes:
        widths: of the layer at work and of those after it.
        weights, biases: of all but the layer at work, an input's weights side by side; in rows as
            long as those of :class:`_Region`.
        is_linear: of all but the last.
        first_weight, first_neuron: where each layer's part starts.
        unit: of each layer, see :func:`unit_rounding`.
        slack: of the values at work.
    """

    widths: np.ndarray
    weights: np.ndarray
    biases: np.ndarray
    is_linear: np.ndarray
    first_weight: np.ndarray
    first_neuron: np.ndarray
    unit: np.ndarray
    slack: float


def may_hold_zero(
    rest: Sequence[AffineLayer],
    regions: Regions,
    chosen: Bool[Tensor, "r"],
    values: Float[Tensor, "v width"],
    ulps: int,
) -> Bool[Tensor, "r"]:
    """Whether the bounds leave room for a zero of f in the chosen regions; see ``bounds.py``."""
    size = float(values.abs().amax())
    slack = 2 * ulps * torch.finfo(values.dtype).eps * size
    offsets, corners = regions.offsets.numpy(), regions.corners.numpy()
    near = chosen.numpy().copy()
    at_vertices = _output(rest, values)
    given = _AtWork(at_vertices, values.numpy(), offsets, corners), near
    in_parts(_bound, len(regions), SMALL, _flat(rest, values.dtype, ulps, slack), *given)
    return torch.from_numpy(near)


class _AtWork(NamedTuple):
    """The regions and the layer at work.

    Attributes:
        output, values: f and the layer's values at the vertices.
        offsets, corners: of the regions.
    """

    output: np.ndarray
    values: np.ndarray
    offsets: np.ndarray
    corners: np.ndarray


def _output(rest: Sequence[AffineLayer], values: Float[Tensor, "v width"]) -> np.ndarray:
    """f at the vertices."""
    at_work = values.contiguous().numpy()
    for before, layer in pairwise(rest):
        after = np.empty((len(at_work), len(layer.bias)), at_work.dtype)
        layer_values(layer, before, at_work, after)
        at_work = after
    return at_work[:, 0]


@small_kernel
@no_type_check
def _changes_sign(given, first, after):
    """Whether f has both signs, or is 0, at the corners of a region."""
    is_first_plus = given.output[given.corners[first]] > 0
    for k in range(first, after):
        at_corner = given.output[given.corners[k]]
        if (at_corner > 0) != is_first_plus or at_corner == 0:
            return True
    return False


def _flat(rest: Sequence[AffineLayer], dtype: torch.dtype, ulps: int, slack: float) -> _Rest:
    widths = np.array([len(layer.bias) for layer in rest])
    length = -(-widths.max() // NEURONS) * NEURONS

    def linear(layer: AffineLayer) -> Tensor:
        none = torch.zeros(len(layer.bias), dtype=torch.bool)
        return none if layer.is_linear is None else layer.is_linear

    def padded(numbers: Tensor) -> Tensor:
        return torch.nn.functional.pad(numbers.double(), (0, int(length) - numbers.shape[-1]))

    return _Rest(
        widths,
        torch.cat([padded(layer.weight.T) for layer in rest[1:]]).numpy(),
        torch.stack([padded(layer.bias) for layer in rest[1:]]).numpy(),
        torch.cat([linear(layer) for layer in rest]).numpy(),
        np.concatenate([[0], np.cumsum(widths[:-1])]),
        np.concatenate([[0], np.cumsum(widths)]),
        np.array([unit_rounding(layer, dtype, ulps) for layer in rest]),
        slack,
    )


class _Region(NamedTuple):
    """What is known of a layer's values over the region at work, in rows of the same length.

    Attributes:
        rows: the values at its corners, then a row of coefficients for each error.
        after: the same of the layer after this one.
        slack, slack_after: the remainders.
        low, high: the ranges.
        factor, middle: of each neuron's ReLU, the line ``factor * x + middle`` through the middle
            of what it can give.
        starts: what the corners have in common after the layer, and 0 for the errors.
        inputs: the neurons that the next layer gets something of.
        bent: those of them whose ReLUs get an error of their own.
    """

    rows: np.ndarray
    after: np.ndarray
    slack: np.ndarray
    slack_after: np.ndarray
    low: np.ndarray
    high: np.ndarray
    factor: np.ndarray
    middle: np.ndarray
    starts: np.ndarray
    inputs: np.ndarray
    bent: np.ndarray


class _Next(NamedTuple):
    """The layer after the one at work.

    Attributes:
        weight, bias: an input's weights side by side, in rows as long as those of a region.
        width: numbers of a row that are its neurons'.
        unit: see :func:`unit_rounding`.
    """

    weight: np.ndarray
    bias: np.ndarray
    width: int
    unit: float


@kernel
@no_type_check
def _bound(part, start, stop, rest, given, near):
    """Clears the mark of the regions that hold no zero."""
    length, most, offsets = rest.biases.shape[1], 0, given.offsets
    for i in range(start, stop):
        most = max(most, offsets[i + 1] - offsets[i])
    one, two = _empty_region(most + MOST_ERRORS + 1, length)
    for i in range(start, stop):
        if not near[i] or _changes_sign(given, offsets[i], offsets[i + 1]):
            continue
        num_corners = offsets[i + 1] - offsets[i]
        for corner in range(num_corners):
            vertex = given.corners[offsets[i] + corner]
            for j in range(rest.widths[0]):
                one.rows[corner, j] = given.values[vertex, j]
        one.slack[:] = rest.slack
        near[i] = _may_hold_zero(one, two, rest, num_corners)


@small_kernel
@no_type_check
def _empty_region(num_rows, length):
    """Room for a region, and the same with the layer at work and the one after it exchanged."""
    rows, after = np.zeros((num_rows, length)), np.zeros((num_rows, length))
    slack, slack_after = np.zeros(length), np.zeros(length)
    low, high, factor, middle = (
        np.zeros(length),
        np.zeros(length),
        np.zeros(length),
        np.zeros(length),
    )
    starts = np.zeros((2, length))
    inputs, bent = np.empty(length, np.int64), np.empty(length, np.int64)
    one = _Region(rows, after, slack, slack_after, low, high, factor, middle, starts, inputs, bent)
    two = _Region(after, rows, slack_after, slack, low, high, factor, middle, starts, inputs, bent)
    return one, two


@small_kernel
@no_type_check
def _may_hold_zero(one, two, rest, num_corners):
    """Whether 0 is between the bounds of the output in the region, whose corners ``one`` holds."""
    sizes, num_layers = (num_corners, num_corners), len(rest.biases)
    for layer in range(num_layers):
        region = one if layer % 2 == 0 else two
        width, first = rest.widths[layer], rest.first_weight[layer]
        neuron = rest.first_neuron[layer]
        weight, bias = rest.weights[first : first + width], rest.biases[layer]
        after = _Next(weight, bias, rest.widths[layer + 1], rest.unit[layer + 1])
        _range(region, sizes, width)
        num_inputs = _relax(region, rest.is_linear[neuron : neuron + width])
        if layer + 1 == num_layers:
            break
        sizes = num_corners, _pass_on(region, after, sizes, num_inputs)
    return _output_may_be_zero(region, after, sizes, num_inputs)


@small_kernel
@no_type_check
def _range(region, sizes, width):
    """Between what numbers the values of so many neurons are; eight at a time."""
    (num_corners, num_rows), rows, length = sizes, region.rows, region.rows.shape[1]
    for at in range(0, width, 8):
        low, low_4 = loaded(rows, at), loaded(rows, at + 4)
        high, high_4 = low, low_4
        for r in range(1, num_corners):
            x, x_4 = loaded(rows, r * length + at), loaded(rows, r * length + at + 4)
            low, low_4 = smaller(x, low), smaller(x_4, low_4)
            high, high_4 = larger(x, high), larger(x_4, high_4)
        reach, reach_4 = loaded(region.slack, at), loaded(region.slack, at + 4)
        for r in range(num_corners, num_rows):
            reach = plus(reach, absolute(loaded(rows, r * length + at)))
            reach_4 = plus(reach_4, absolute(loaded(rows, r * length + at + 4)))
        store(region.low, at, minus(low, reach))
        store(region.low, at + 4, minus(low_4, reach_4))
        store(region.high, at, plus(high, reach))
        store(region.high, at + 4, plus(high_4, reach_4))


@small_kernel
@no_type_check
def _relax(region, is_linear):
    """The lines of a layer's ReLUs. Returns how many neurons the next layer gets something of."""
    count = 0
    for j in range(len(is_linear)):
        low, high = region.low[j], region.high[j]
        factor, middle = 1.0, 0.0
        if low < 0 and not is_linear[j]:
            if high <= 0:
                continue
            factor = high / (high - low)
            middle = -factor * low / 2
        region.factor[j], region.middle[j], region.inputs[count] = factor, middle, j
        count += 1
    return count


@small_kernel
@no_type_check
def _size(region, i, unit):
    """What rounding and the remainder make of a neuron's part in a sum, in units of its weight."""
    return unit * max(-region.low[i], region.high[i]) + region.slack[i] * region.factor[i]


@small_kernel
@no_type_check
def _pass_on(region, after, sizes, num_inputs):
    """Puts the next layer's values into ``region.after``. Returns how many rows they have."""
    (weight, bias, width, unit), (num_corners, num_rows) = after, sizes
    shared, slack, length = region.starts[0], region.slack_after, region.after.shape[1]
    num_bent, room = 0, MOST_ERRORS - (num_rows - num_corners)
    for j in range(width):
        shared[j] = bias[j]
        slack[j] = unit * abs(bias[j])
    for n in range(num_inputs):
        i = region.inputs[n]
        middle, size = region.middle[i], _size(region, i, unit)
        if middle > 0:
            _add(shared, repeated(middle), weight, i, width)
            if num_bent < room:
                region.bent[num_bent] = i
                num_bent += 1
            else:
                size += middle
            for r in range(num_rows):
                region.rows[r, i] *= region.factor[i]
        sizes = repeated(size)
        for j in range(0, width, 4):
            terms = absolute(loaded(weight, i * length + j))
            store(slack, j, multiply_add(sizes, terms, loaded(slack, j)))
    for r in range(0, num_rows, 2):
        _two_rows(region, after, r, num_corners, num_inputs)
    # After the others, which go in pairs: one without a second has written where these come.
    for k in range(num_bent):
        i = region.bent[k]
        middle, row = repeated(region.middle[i]), (num_rows + k) * length
        for j in range(0, width, 4):
            store(region.after, row + j, times(middle, loaded(weight, i * length + j)))
    return num_rows + num_bent


@small_kernel
@no_type_check
def _add(out, factor, weight, i, width):
    """Adds so many times the weights of an input."""
    for j in range(0, width, 4):
        terms = loaded(weight, i * weight.shape[1] + j)
        store(out, j, multiply_add(factor, terms, loaded(out, j)))


@small_kernel
@no_type_check
def _two_rows(region, after, r, num_corners, num_inputs):
    """Puts rows r and r + 1 of the next layer into ``region.after``, sixteen neurons at a time."""
    rows, starts, inputs, length = region.rows, region.starts, region.inputs, region.rows.shape[1]
    weight, out = after.weight, region.after
    one, two = r * length, (r + 1) * length
    of_one = 0 if r < num_corners else length
    of_two = 0 if r + 1 < num_corners else length
    for at in range(0, after.width, NEURONS):
        a, b = loaded(starts, of_one + at), loaded(starts, of_one + at + 4)
        c, d = loaded(starts, of_one + at + 8), loaded(starts, of_one + at + 12)
        e, f = loaded(starts, of_two + at), loaded(starts, of_two + at + 4)
        g, h = loaded(starts, of_two + at + 8), loaded(starts, of_two + at + 12)
        for n in range(num_inputs):
            i = number(inputs, n)
            place = i * length + at
            x, y = repeated(number(rows, one + i)), repeated(number(rows, two + i))
            w = loaded(weight, place)
            a, e = multiply_add(x, w, a), multiply_add(y, w, e)
            w = loaded(weight, place + 4)
            b, f = multiply_add(x, w, b), multiply_add(y, w, f)
            w = loaded(weight, place + 8)
            c, g = multiply_add(x, w, c), multiply_add(y, w, g)
            w = loaded(weight, place + 12)
            d, h = multiply_add(x, w, d), multiply_add(y, w, h)
        store(out, one + at, a)
        store(out, one + at + 4, b)
        store(out, one + at + 8, c)
        store(out, one + at + 12, d)
        store(out, two + at, e)
        store(out, two + at + 4, f)
        store(out, two + at + 8, g)
        store(out, two + at + 12, h)


@small_kernel
@no_type_check
def _output_may_be_zero(region, after, sizes, num_inputs):
    """Whether 0 is between the bounds of the output, the next layer's one neuron."""
    (weight, bias, _, unit), (num_corners, num_rows) = after, sizes
    shared, reach = bias[0], unit * abs(bias[0])
    for n in range(num_inputs):
        i = region.inputs[n]
        terms = abs(weight[i, 0])
        # The error of this layer's ReLU counts by its size: nothing comes after it to cancel it.
        reach += (_size(region, i, unit) + region.middle[i]) * terms
        shared += region.middle[i] * weight[i, 0]
    low, high = np.inf, -np.inf
    for r in range(num_rows):
        total = 0.0
        for n in range(num_inputs):
            i = region.inputs[n]
            total += region.rows[r, i] * region.factor[i] * weight[i, 0]
        if r < num_corners:
            low, high = min(low, shared + total), max(high, shared + total)
        else:
            reach += abs(total)
    return low - reach <= 0 and high + reach >= 0
