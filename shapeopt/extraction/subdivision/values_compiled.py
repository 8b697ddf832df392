"""The values of a layer at all vertices, compiled for the CPU: four vertices at a time, with the
sums of eight neurons in registers. A row is read once and written once."""

from typing import NamedTuple, no_type_check

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from shapeopt.compiled import PARTS, in_parts, kernel, small_kernel
from shapeopt.networks.affine import AffineLayer
from shapeopt.vectors import absolute, larger, loaded, multiply_add, number, repeated, store

SMALL = 1 << 14
"""Values at fewer vertices are computed in one part: handing work to threads would cost more."""

ROWS = 4
"""Vertices at a time: the vectors for them and eight neurons are all that a CPU has room for."""

NEURONS = 8
"""Neurons at a time."""


def layer_values(
    layer: AffineLayer,
    layer_before: AffineLayer | None,
    before: np.ndarray,
    after: np.ndarray,
) -> Float[Tensor, "width"]:
    """Puts the values of the layer into ``after``. Returns the largest absolute value of each.

    Args:
        before: values of the layer before, [v, in], in the layer's dtype and with rows that follow
            each other; without a layer before, the layer's inputs.
        after: [v, width]; may be the same memory, row for row.
    """
    width, size = layer.weight.shape
    padded = -(-width // NEURONS) * NEURONS
    weights = np.zeros((size, padded), before.dtype)
    weights[:, :width] = layer.weight.T.numpy()
    biases = np.zeros(padded, before.dtype)
    biases[:width] = layer.bias.numpy()
    floor = np.full(size, -np.inf if layer_before is None else 0.0, before.dtype)
    if layer_before is not None and layer_before.is_linear is not None:
        floor[layer_before.is_linear.numpy()] = -np.inf
    largest = np.zeros((PARTS, padded), before.dtype)
    in_parts(_evaluate, len(before), SMALL, _Map(weights, biases, floor), before, after, largest)
    return torch.from_numpy(largest.max(axis=0)[:width])


class _Map(NamedTuple):
    """An affine map of what ReLUs let through.

    Attributes:
        weights: an input's weights side by side.
        biases: of the neurons; with zeros behind them, as in the weights, up to whole vectors.
        floor: what each input passes on at least: 0, or minus infinity without a ReLU.
    """

    weights: np.ndarray
    biases: np.ndarray
    floor: np.ndarray


@kernel
@no_type_check
def _evaluate(part, start, stop, layer, before, after, largest):
    """The rows start..stop."""
    (size, padded), width = layer.weights.shape, after.shape[1]
    inputs, values = np.empty((ROWS, size), before.dtype), np.empty((ROWS, padded), before.dtype)
    biggest = np.zeros(padded, before.dtype)
    for row in range(start, stop, ROWS):
        for k in range(ROWS):
            source = min(row + k, stop - 1)
            for i in range(size):
                x, least = number(before, source * size + i), number(layer.floor, i)
                inputs[k, i] = least if x < least else x
        _four_rows(inputs, layer, values, biggest)
        for k in range(min(ROWS, stop - row)):
            for j in range(width):
                after[row + k, j] = values[k, j]
    for j in range(padded):
        largest[part, j] = biggest[j]


@small_kernel
@no_type_check
def _four_rows(inputs, layer, values, biggest):
    """Four rows of values, and the largest absolute ones so far."""
    weights, biases = layer.weights, layer.biases
    size, padded = weights.shape
    second, third, fourth = padded, 2 * padded, 3 * padded
    for at in range(0, padded, NEURONS):
        a, a_4 = loaded(biases, at), loaded(biases, at + 4)
        b, b_4, c, c_4, d, d_4 = a, a_4, a, a_4, a, a_4
        for i in range(size):
            w, w_4 = loaded(weights, i * padded + at), loaded(weights, i * padded + at + 4)
            x = repeated(number(inputs, i))
            a, a_4 = multiply_add(x, w, a), multiply_add(x, w_4, a_4)
            x = repeated(number(inputs, size + i))
            b, b_4 = multiply_add(x, w, b), multiply_add(x, w_4, b_4)
            x = repeated(number(inputs, 2 * size + i))
            c, c_4 = multiply_add(x, w, c), multiply_add(x, w_4, c_4)
            x = repeated(number(inputs, 3 * size + i))
            d, d_4 = multiply_add(x, w, d), multiply_add(x, w_4, d_4)
        store(values, at, a)
        store(values, at + 4, a_4)
        store(values, second + at, b)
        store(values, second + at + 4, b_4)
        store(values, third + at, c)
        store(values, third + at + 4, c_4)
        store(values, fourth + at, d)
        store(values, fourth + at + 4, d_4)
        most = larger(larger(absolute(a), absolute(b)), larger(absolute(c), absolute(d)))
        store(biggest, at, larger(most, loaded(biggest, at)))
        most = larger(larger(absolute(a_4), absolute(b_4)), larger(absolute(c_4), absolute(d_4)))
        store(biggest, at + 4, larger(most, loaded(biggest, at + 4)))
