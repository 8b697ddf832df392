"""The bounds of ``bounds.py`` compiled for the CPU: region by region, while it is in the cache.

The coefficients of a region are the rows of one array: first the values at its corners, then one
row for each e_s.
"""

from collections.abc import Sequence
from itertools import pairwise
from typing import NamedTuple, no_type_check

import numpy as np
import torch
from jaxtyping import Bool, Float, Float64
from torch import Tensor

from shapeopt.compiled import in_parts, inner_kernel, kernel, small_kernel
from shapeopt.extraction.subdivision.bounds import (
    largest_of,
    reach_of,
    slack_of,
    unit_rounding,
)
from shapeopt.extraction.subdivision.regions import Regions
from shapeopt.extraction.subdivision.values_compiled import layer_values
from shapeopt.networks.affine import AffineLayer
from shapeopt.vectors import (
    LENGTH,
    absolute,
    larger,
    loaded,
    minus,
    multiply_add,
    number,
    over,
    plus,
    repeated,
    smaller,
    store,
    times,
    total,
)

SMALL = 1 << 9
"""So many regions are bounded in one part."""

NEURONS = 16
"""Neurons that sums are in registers of at a time."""

SMALLEST = 5e-324
"""The smallest number above 0, as in ``bounds.py``: a kernel reads its own file's constants."""

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
        output: the weights of the output, in a row as long as the others.
        slack: of the values at work.
    """

    widths: np.ndarray
    weights: np.ndarray
    biases: np.ndarray
    is_linear: np.ndarray
    first_weight: np.ndarray
    first_neuron: np.ndarray
    unit: np.ndarray
    output: np.ndarray
    slack: float


def may_hold_zero(
    rest: Sequence[AffineLayer],
    regions: Regions,
    chosen: Bool[Tensor, "r"],
    values: Float[Tensor, "v width"],
    ulps: int,
) -> Bool[Tensor, "r"]:
    """Whether the bounds leave room for a zero of f in the chosen regions; see ``bounds.py``."""
    offsets, corners = regions.offsets.numpy(), regions.corners.numpy()
    near = chosen.numpy().copy()
    rows = values.double().contiguous().numpy()
    given = _AtWork(_output(rest, values), rows, offsets, corners), near
    rounding = largest_of(values), values.dtype, ulps
    if len(rest) == 2:
        in_parts(_bound_by_gaps, len(regions), SMALL, _output_layer(rest, *rounding), *given)
    else:
        in_parts(_bound, len(regions), SMALL, _flat(rest, *rounding), *given)
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


@inner_kernel
@no_type_check
def _changes_sign(given, first, after):
    """Whether f has both signs, or is 0, at the corners of a region."""
    is_first_plus = given.output[given.corners[first]] > 0
    for k in range(first, after):
        at_corner = given.output[given.corners[k]]
        if (at_corner > 0) != is_first_plus or at_corner == 0:
            return True
    return False


class _Output(NamedTuple):
    """The output layer after the layer at work.

    Attributes:
        weights: of each input, where it is above 0, and the size of it where it is below; 0 for
            those without ReLU.
        slack: of the values at work.
        reach: what rounding makes of f.
    """

    weights: np.ndarray
    slack: float
    reach: float


def _output_layer(
    rest: Sequence[AffineLayer], largest: float, dtype: torch.dtype, ulps: int
) -> _Output:
    (layer, output), rounding = rest, (largest, dtype, ulps)
    bending = np.where(_linear(layer).numpy(), 0, output.weight[0].double().numpy())
    weights = np.stack([np.maximum(bending, 0), np.maximum(-bending, 0)])
    return _Output(weights, slack_of(*rounding), reach_of(output, *rounding))


def _linear(layer: AffineLayer) -> Bool[Tensor, "width"]:
    none = torch.zeros(len(layer.bias), dtype=torch.bool)
    return none if layer.is_linear is None else layer.is_linear


def _padded(numbers: Float[Tensor, "*_ width"], length: int) -> Float64[Tensor, "*_ length"]:
    """Rows of numbers in float64, with zeros behind them up to a length."""
    short = length - numbers.shape[-1]
    return (torch.nn.functional.pad(numbers, (0, short)) if short else numbers).double()


@kernel
@no_type_check
def _bound_by_gaps(part, start, stop, output, given, near):
    """Clears the mark of the regions that hold no zero, if only the output comes after the layer
    at work."""
    values, corners, width = given.values, given.corners, given.values.shape[1]
    in_vectors = width - width % LENGTH
    slack, none = repeated(output.slack), repeated(0.0)
    for i in range(start, stop):
        first, after = given.offsets[i], given.offsets[i + 1]
        if not near[i] or _changes_sign(given, first, after):
            continue
        below, least = int(given.output[corners[first]] < 0), np.inf
        for k in range(first, after):
            least = min(least, abs(given.output[corners[k]]))
        gaps, other_gaps = none, 0.0
        for at in range(0, in_vectors, LENGTH):
            low = loaded(values, corners[first] * width + at)
            high = low
            for k in range(first + 1, after):
                x = loaded(values, corners[k] * width + at)
                low, high = smaller(x, low), larger(x, high)
            low, high = smaller(minus(low, slack), none), larger(plus(high, slack), none)
            factor = over(high, larger(minus(high, low), repeated(SMALLEST)))
            weight = loaded(output.weights, below * width + at)
            gaps = minus(gaps, times(times(factor, low), weight))
        for j in range(in_vectors, width):
            low = high = values[corners[first], j]
            for k in range(first + 1, after):
                low, high = min(low, values[corners[k], j]), max(high, values[corners[k], j])
            low, high = min(low - output.slack, 0.0), max(high + output.slack, 0.0)
            factor = high / max(high - low, SMALLEST)
            other_gaps -= factor * low * output.weights[below, j]
        # Not what is proven alone: a NaN, where numbers leave their range, proves nothing.
        near[i] = not least > total(gaps) + other_gaps + output.reach


def _flat(rest: Sequence[AffineLayer], largest: float, dtype: torch.dtype, ulps: int) -> _Rest:
    widths = np.array([len(layer.bias) for layer in rest])
    length = -(-int(widths.max()) // NEURONS) * NEURONS
    return _Rest(
        widths,
        torch.cat([_padded(layer.weight.T, length) for layer in rest[1:]]).numpy(),
        torch.stack([_padded(layer.bias, length) for layer in rest[1:]]).numpy(),
        torch.cat([_linear(layer) for layer in rest]).numpy(),
        np.concatenate([[0], np.cumsum(widths[:-1])]),
        np.concatenate([[0], np.cumsum(widths)]),
        np.array([unit_rounding(layer, dtype, ulps) for layer in rest]),
        _padded(rest[-1].weight[0], length).numpy(),
        slack_of(largest, dtype, ulps),
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
        inputs: neurons that the next layer gets something of.
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
            _copy_row(given.values, given.corners[offsets[i] + corner], one.rows, corner)
        one.slack[:] = rest.slack
        near[i] = _may_hold_zero(one, two, rest, num_corners)


@inner_kernel
@no_type_check
def _copy_row(values, source, rows, target):
    """Copies a row of values into one that may be longer."""
    width, length = values.shape[1], rows.shape[1]
    in_vectors = width - width % LENGTH
    for at in range(0, in_vectors, LENGTH):
        store(rows, target * length + at, loaded(values, source * width + at))
    for j in range(in_vectors, width):
        rows[target, j] = values[source, j]


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


@inner_kernel
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
        _relax(region, rest.is_linear[neuron : neuron + width])
        if layer + 1 < num_layers:
            sizes = num_corners, _pass_on(region, after, sizes, width)
    return _output_may_be_zero(region, after, rest.output, sizes)


@inner_kernel
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


@inner_kernel
@no_type_check
def _relax(region, is_linear):
    """The lines of a layer's ReLUs: ``h / (h - l)`` steep, where h and l are what of the range is
    above 0 and below."""
    none = repeated(0.0)
    for at in range(0, len(is_linear), 4):
        high, low = larger(loaded(region.high, at), none), smaller(loaded(region.low, at), none)
        factor = over(high, larger(minus(high, low), repeated(SMALLEST)))
        store(region.factor, at, factor)
        store(region.middle, at, times(times(factor, low), repeated(-0.5)))
    for j in range(len(is_linear)):
        if is_linear[j]:
            region.factor[j], region.middle[j] = 1.0, 0.0


@inner_kernel
@no_type_check
def _size(region, i, unit):
    """What rounding and the remainder make of a neuron's part in a sum, in units of its weight."""
    return unit * max(-region.low[i], region.high[i]) + region.slack[i] * region.factor[i]


@inner_kernel
@no_type_check
def _pass_on(region, after, sizes, width_before):
    """Puts the next layer's values into ``region.after``. Returns how many rows they have."""
    (weight, bias, width, unit), (num_corners, num_rows) = after, sizes
    shared, slack, length = region.starts[0], region.slack_after, region.after.shape[1]
    num_inputs, num_bent, room = 0, 0, MOST_ERRORS - (num_rows - num_corners)
    for j in range(width):
        shared[j] = bias[j]
        slack[j] = unit * abs(bias[j])
    for i in range(width_before):
        if region.factor[i] == 0:
            continue
        region.inputs[num_inputs] = i
        num_inputs += 1
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
        factor = repeated(size)
        for j in range(0, width, 4):
            terms = absolute(loaded(weight, i * length + j))
            store(slack, j, multiply_add(factor, terms, loaded(slack, j)))
    for r in range(0, num_rows, 2):
        _two_rows(region, after, r, num_corners, num_inputs)
    # After the others, which go in pairs: one without a second has written where these come.
    for k in range(num_bent):
        i = region.bent[k]
        middle, row = repeated(region.middle[i]), (num_rows + k) * length
        for j in range(0, width, 4):
            store(region.after, row + j, times(middle, loaded(weight, i * length + j)))
    return num_rows + num_bent


@inner_kernel
@no_type_check
def _add(out, factor, weight, i, width):
    """Adds so many times the weights of an input."""
    for j in range(0, width, 4):
        terms = loaded(weight, i * weight.shape[1] + j)
        store(out, j, multiply_add(factor, terms, loaded(out, j)))


@inner_kernel
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


@inner_kernel
@no_type_check
def _output_may_be_zero(region, after, weight, sizes):
    """Whether 0 is between the bounds of the output, the next layer's one neuron. The region's
    factors become those of the output.

    Args:
        weight: the output's, of each input.
    """
    (num_corners, num_rows), length = sizes, len(weight)
    shared, reach, unit = repeated(0.0), repeated(0.0), repeated(after.unit)
    for at in range(0, length, 4):
        factor, middle, w = loaded(region.factor, at), loaded(region.middle, at), loaded(weight, at)
        # The error of this layer's ReLU counts by its size: nothing comes after it to cancel it.
        largest = larger(absolute(loaded(region.low, at)), absolute(loaded(region.high, at)))
        error = multiply_add(unit, largest, middle)
        error = multiply_add(loaded(region.slack, at), factor, error)
        reach = multiply_add(error, absolute(w), reach)
        shared = multiply_add(middle, w, shared)
        store(region.factor, at, times(factor, w))
    bias = after.bias[0]
    shared, reach = bias + total(shared), after.unit * abs(bias) + total(reach)
    low, high = np.inf, -np.inf
    for r in range(num_rows):
        terms = repeated(0.0)
        for at in range(0, length, 4):
            row = loaded(region.rows, r * length + at)
            terms = multiply_add(row, loaded(region.factor, at), terms)
        value = total(terms)
        if r < num_corners:
            low, high = min(low, shared + value), max(high, shared + value)
        else:
            reach += abs(value)
    # Not what is proven alone: a NaN, where numbers leave their range, proves nothing.
    return not (low - reach > 0 or high + reach < 0)
