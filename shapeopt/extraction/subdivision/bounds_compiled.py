"""The bounds of ``bounds.py`` compiled for the CPU: region by region, while it is in the cache.

The coefficients of a region are the rows of one array: first the values at its corners, then one
row for each e_s.
"""

from collections.abc import Sequence
from typing import NamedTuple, no_type_check

import numpy as np
import torch
from jaxtyping import Bool, Float
from torch import Tensor

from shapeopt.compiled import in_parts, kernel, small_kernel
from shapeopt.extraction.subdivision.bounds import unit_rounding
from shapeopt.extraction.subdivision.regions import Regions
from shapeopt.networks.affine import AffineLayer

SMALL = 1 << 9
"""So many regions are bounded in one part."""

MOST_ERRORS = 128
"""Errors of ReLUs that are kept apart; of what comes after, the sizes are added up."""


class _Rest(NamedTuple):
    """The layers to come, one after the other in flat arrays.

    Attributes:
        widths: of the layer at work and of those after it.
        weights: transposed, so that an input's weights lie side by side.
        biases, is_linear: of all but the layer at work; of all but the last.
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
    given = _flat(rest, values.dtype, ulps, slack), values.numpy(), offsets, corners, near
    in_parts(_bound, len(regions), SMALL, *given)
    return torch.from_numpy(near)


def _flat(rest: Sequence[AffineLayer], dtype: torch.dtype, ulps: int, slack: float) -> _Rest:
    after = rest[1:]
    widths = np.array([len(layer.bias) for layer in rest])

    def linear(layer: AffineLayer) -> Tensor:
        none = torch.zeros(len(layer.bias), dtype=torch.bool)
        return none if layer.is_linear is None else layer.is_linear

    return _Rest(
        widths,
        torch.cat([layer.weight.double().T.flatten() for layer in after]).numpy(),
        torch.cat([rest[0].bias.double(), *(layer.bias.double() for layer in after)]).numpy(),
        torch.cat([linear(layer) for layer in rest]).numpy(),
        np.concatenate([[0], np.cumsum(widths[:-1] * widths[1:])]),
        np.concatenate([[0], np.cumsum(widths)]),
        np.array([unit_rounding(layer, dtype, ulps) for layer in rest]),
        slack,
    )


class _Region(NamedTuple):
    """What is known of a layer's values over the region at work.

    Attributes:
        rows: the values at its corners, then a row of coefficients for each error.
        after: the same of the layer after this one.
        slack, slack_after: the remainders.
        low, high: the ranges.
        factor, middle: of each neuron's ReLU, the line ``factor * x + middle`` through the middle
            of what it can give.
        inputs: the neurons that the next layer gets something of.
    """

    rows: np.ndarray
    after: np.ndarray
    slack: np.ndarray
    slack_after: np.ndarray
    low: np.ndarray
    high: np.ndarray
    factor: np.ndarray
    middle: np.ndarray
    inputs: np.ndarray


@kernel
@no_type_check
def _bound(part, start, stop, rest, values, offsets, corners, near):
    """Clears the mark of the regions that hold no zero."""
    num_layers, width, most = len(rest.widths), rest.widths.max(), 0
    for i in range(start, stop):
        most = max(most, offsets[i + 1] - offsets[i])
    numbers = np.empty((6, width))
    rows, after = np.empty((most + MOST_ERRORS, width)), np.empty((most + MOST_ERRORS, width))
    slack, slack_after, low, high, factor, middle = numbers
    inputs = np.empty(width, np.int64)
    for i in range(start, stop):
        if not near[i]:
            continue
        num_corners = offsets[i + 1] - offsets[i]
        for corner in range(num_corners):
            vertex = corners[offsets[i] + corner]
            for j in range(rest.widths[0]):
                rows[corner, j] = values[vertex, j]
        for j in range(rest.widths[0]):
            slack[j] = rest.slack
        num_rows = num_corners
        for layer in range(num_layers - 1):
            region = _Region(rows, after, slack, slack_after, low, high, factor, middle, inputs)
            here, there = rest.widths[layer], rest.widths[layer + 1]
            neuron, after_it = rest.first_neuron[layer], rest.first_neuron[layer + 1]
            first = rest.first_weight[layer]
            weight = rest.weights[first : first + here * there].reshape(here, there)
            bias, unit = rest.biases[after_it : after_it + there], rest.unit[layer + 1]
            _range(region, num_corners, num_rows, here)
            num_inputs = _relax(region, rest.is_linear[neuron : neuron + here])
            num_rows = _pass_on(region, weight, bias, unit, num_corners, num_rows, num_inputs)
            rows, after = after, rows
            slack, slack_after = slack_after, slack
        region = _Region(rows, after, slack, slack_after, low, high, factor, middle, inputs)
        _range(region, num_corners, num_rows, 1)
        near[i] = low[0] <= 0 and high[0] >= 0


@small_kernel
@no_type_check
def _range(region, num_corners, num_rows, width):
    """Between what numbers the values of so many neurons are."""
    low, high, slack = region.low[:width], region.high[:width], region.slack[:width]
    first = region.rows[0][:width]
    for j in range(width):
        low[j] = high[j] = first[j]
    for r in range(1, num_corners):
        row = region.rows[r][:width]
        for j in range(width):
            low[j] = row[j] if row[j] < low[j] else low[j]
            high[j] = row[j] if row[j] > high[j] else high[j]
    for j in range(width):
        low[j] -= slack[j]
        high[j] += slack[j]
    for r in range(num_corners, num_rows):
        row = region.rows[r][:width]
        for j in range(width):
            size = abs(row[j])
            low[j] -= size
            high[j] += size


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
def _add(out, factor, terms):
    for j in range(len(out)):
        out[j] += factor * terms[j]


@small_kernel
@no_type_check
def _pass_on(region, weight, bias, unit, num_corners, num_rows, num_inputs):
    """Puts the next layer's values into ``after``. Returns how many rows they have.

    Args:
        weight: of the next layer, an input's weights side by side.
    """
    width, num_after = len(bias), num_rows
    shared, slack = region.after[0][:width], region.slack_after[:width]
    for j in range(width):
        shared[j] = bias[j]
        slack[j] = unit * abs(bias[j])
    for n in range(num_inputs):
        i = region.inputs[n]
        terms, middle = weight[i], region.middle[i]
        size = unit * max(-region.low[i], region.high[i]) + region.slack[i] * region.factor[i]
        if middle > 0:
            _add(shared, middle, terms)
            if num_after - num_corners < MOST_ERRORS:
                row = region.after[num_after][:width]
                for j in range(width):
                    row[j] = middle * terms[j]
                num_after += 1
            else:
                size += middle
        for j in range(width):
            slack[j] += size * abs(terms[j])
    for r in range(num_rows - 1, -1, -1):
        row, values = region.after[r][:width], region.rows[r]
        if r >= num_corners:
            row[:] = 0.0
        elif r > 0:
            row[:] = shared
        if width == 1:
            total = 0.0
            for n in range(num_inputs):
                i = region.inputs[n]
                total += values[i] * region.factor[i] * weight[i, 0]
            row[0] += total
            continue
        for n in range(num_inputs):
            i = region.inputs[n]
            _add(row, values[i] * region.factor[i], weight[i])
    return num_after
