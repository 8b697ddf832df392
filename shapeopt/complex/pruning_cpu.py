"""The bounds of ``pruning.py`` compiled for the CPU, region by region; see there for the maths."""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise
from typing import Any, NamedTuple, no_type_check

import numpy as np
import torch
from jaxtyping import Bool, Float32, Int32
from torch import Tensor

from shapeopt.complex.signs import Constraints
from shapeopt.complex.subdivision_cpu import PARTS, kernel
from shapeopt.networks import AffineLayer


class _Flat(NamedTuple):
    """All layers in flat arrays: kernels are then compiled once for networks of any depth."""

    widths: np.ndarray  # inputs, then the width of each layer
    weights: np.ndarray  # row-major [out, in], layer after layer
    transposed: np.ndarray  # row-major [in, out]
    starts: np.ndarray  # of each layer in the two
    biases: np.ndarray
    bias_starts: np.ndarray
    words: np.ndarray  # each layer's first column of the packed signs


def may_hold_zero(
    layers: Sequence[AffineLayer],
    constraints: Constraints,
    done: int,
    signs: Int32[Tensor, "r words"],
    centre: Float32[Tensor, "r d"],
    half: Float32[Tensor, "r d"],
) -> Bool[Tensor, "r"]:
    """Whether the bounds leave room for a zero of f in the regions; layers in float32."""
    count = len(centre)
    near = np.empty(count, np.bool_)
    arguments: tuple[Any, ...] = (
        _flatten(layers, constraints),
        done,
        signs.numpy().view(np.uint32),
        centre.numpy(),
        half.numpy(),
        near,
    )
    bounds = [count * part // PARTS for part in range(PARTS + 1)]
    with ThreadPoolExecutor(min(torch.get_num_threads(), PARTS)) as pool:
        tasks = [pool.submit(_bound, a, b, *arguments) for a, b in pairwise(bounds)]
        for task in tasks:
            task.result()
    return torch.from_numpy(near)


def _flatten(layers: Sequence[AffineLayer], constraints: Constraints) -> _Flat:
    weights = [layer.weight.numpy() for layer in layers]
    biases = [layer.bias.numpy() for layer in layers]
    return _Flat(
        np.array([constraints.dimension, *constraints.widths]),
        np.concatenate([weight.ravel() for weight in weights]),
        np.concatenate([weight.T.ravel() for weight in weights]),
        np.cumsum([0, *(weight.size for weight in weights)]),
        np.concatenate(biases),
        np.cumsum([0, *constraints.widths]),
        np.array([constraints.words(i).start for i in range(len(layers))]),
    )


@kernel
@no_type_check
def _bound(start, stop, net, done, signs, centre, half, near):
    """Bounds f over the regions start..stop."""
    num_layers, d = len(net.widths) - 1, centre.shape[1]
    widest = net.widths.max()
    # Rows: value, slope along each axis, error; two of them, to go from one layer to the next.
    forms = np.zeros((2, d + 2, widest), np.float32)
    first = np.zeros((d + 1, widest), np.float32)
    factor = np.zeros((num_layers, widest), np.float32)
    shift = np.zeros((num_layers, widest), np.float32)
    below = np.zeros((num_layers, widest), np.float32)
    rows = np.zeros((2, widest), np.float32)
    for region in range(start, stop):
        form, other = forms[0], forms[1]
        form[:] = 0
        for k in range(d):
            form[0, k] = centre[region, k]
            form[1 + k, k] = 1
        scale = np.float32(0)
        for layer in range(num_layers):
            _apply(net, layer, form, other)
            form, other = other, form
            width = net.widths[layer + 1]
            if layer == done:
                first[:, :width] = form[: d + 1, :width]
            if layer < done:
                _mask(form, width, signs[region], net.words[layer])
            elif layer < num_layers - 1:
                top = _relax(form, width, half[region], factor[layer], shift[layer], below[layer])
                scale = max(scale, top)
        margin = np.float32(3.5e-4) * scale  # sqrt(eps) of float32, as in the torch version
        reach = form[d + 1, 0]
        for k in range(d):
            reach += abs(form[1 + k, 0]) * half[region, k]
        if form[0, 0] - reach > margin or form[0, 0] + reach < -margin:
            near[region] = False
            continue
        near[region] = True
        for sign in (np.float32(1), np.float32(-1)):
            relaxation = (factor, shift, below)
            if _lower(net, done, sign, relaxation, first, half[region], rows) > margin:
                near[region] = False
                break


@kernel
@no_type_check
def _apply(net, layer, form, out):
    """Affine layer on values (with bias), slopes, and errors (by absolute weights)."""
    num_in, num_out = net.widths[layer], net.widths[layer + 1]
    last = form.shape[0] - 1
    out[:] = 0
    out[0, :num_out] = net.biases[net.bias_starts[layer] : net.bias_starts[layer] + num_out]
    for i in range(num_in):
        start = net.starts[layer] + i * num_out
        weights = net.transposed[start : start + num_out]
        for k in range(last):
            x = form[k, i]
            if x != 0:
                for j in range(num_out):
                    out[k, j] += x * weights[j]
        x = form[last, i]
        if x != 0:
            for j in range(num_out):
                out[last, j] += x * abs(weights[j])


@kernel
@no_type_check
def _mask(form, width, signs, word):
    """Sets the neurons that are - to 0."""
    for j in range(width):
        if not (signs[word + (j >> 5)] >> np.uint32(j & 31)) & np.uint32(1):
            form[:, j] = 0


@kernel
@no_type_check
def _relax(form, width, half, factor, shift, below):
    """Puts ReLUs into the forms. Notes their upper line (factor, shift) and lower one (below);
    returns the largest magnitude."""
    last = form.shape[0] - 1
    top = np.float32(0)
    for j in range(width):
        reach = form[last, j]
        for k in range(len(half)):
            reach += abs(form[1 + k, j]) * half[k]
        low, high = form[0, j] - reach, form[0, j] + reach
        top = max(top, max(-low, high))
        if low >= 0:
            factor[j], shift[j], below[j] = 1, 0, 1
        elif high <= 0:
            factor[j], shift[j], below[j] = 0, 0, 0
            form[:, j] = 0
        else:
            factor[j] = high / (high - low)
            shift[j] = -factor[j] * low
            below[j] = np.float32(1) if high > -low else np.float32(0)
            form[:, j] *= factor[j]
            form[0, j] += shift[j] / 2
            form[last, j] += shift[j] / 2
    return top


@kernel
@no_type_check
def _lower(net, done, sign, relaxation, first, half, rows):
    """Lower bound of sign * f, by linear bounds from the output back to the first open layer."""
    factor, shift, below = relaxation
    last = len(net.widths) - 2
    row, other = rows[0], rows[1]
    offset = sign * net.biases[net.bias_starts[last]]
    start = net.starts[last]
    for j in range(net.widths[last]):
        row[j] = sign * net.weights[start + j]
    for layer in range(last - 1, done - 1, -1):
        width, width_before = net.widths[layer + 1], net.widths[layer]
        other[:] = 0
        for j in range(width):
            if row[j] < 0:
                offset += row[j] * shift[layer, j]
                row[j] *= factor[layer, j]
            else:
                row[j] *= below[layer, j]
            if layer > done and row[j] != 0:
                offset += row[j] * net.biases[net.bias_starts[layer] + j]
                start = net.starts[layer] + j * width_before
                for i in range(width_before):
                    other[i] += row[j] * net.weights[start + i]
        if layer > done:
            row, other = other, row
    width = net.widths[done + 1]
    for j in range(width):
        offset += row[j] * first[0, j]
    for k in range(len(half)):
        slope = np.float32(0)
        for j in range(width):
            slope += row[j] * first[1 + k, j]
        offset -= abs(slope) * half[k]
    return offset
