"""The regression of a union of convex parts to signed distances, compiled.

The same loss and gradient as :class:`Distance` has on a :class:`ConvexUnion`, several times as fast
as a graph of tensors: a block of points stays in the cache, and parts too far away to count are
left out.

The first call compiles (some seconds); numba keeps the code on disk if it can.
"""

import math
from typing import no_type_check

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from shapeopt.compiled import kernel, small_kernel
from shapeopt.networks.convex_union import ConvexUnion

BLOCK = 32  # points
NEGLIGIBLE = 17.0  # e^-17 is less than rounding in single precision
CELLS = 16  # of the grid, along a side, by which points are put in order

# 2^x on [-1, 0] by the polynomial through its Chebyshev points: right to 2e-7.
_NODES = (np.cos(np.pi * (np.arange(6) + 0.5) / 6) - 1) / 2
C0, C1, C2, C3, C4, C5 = (float(c) for c in np.polynomial.polynomial.polyfit(_NODES, 2**_NODES, 5))
LOG2_E = 1 / math.log(2)


def regress(
    network: ConvexUnion,
    points: Float[Tensor, "n 3"],
    distances: Float[Tensor, "n"],
    near: float,
    weight: float = 1.0,
) -> float:
    """Loss ``mean |f(x) - d| near / (near + |d|)``; its gradient is added to the parameters'.

    Args:
        network: float32, on the CPU; with its sharpness.
        points, distances: x and d, float32, on the CPU.
        near: distance at which an error counts half.
        weight: of loss and gradient.
    """
    x, d = points.numpy(), distances.numpy()
    # Neighbours in one block: then most parts count for none of its points.
    cell = np.clip(((x + 0.5) * CELLS).astype(np.int32), 0, CELLS - 1)
    order = np.argsort((cell[:, 0] * CELLS + cell[:, 1]) * CELLS + cell[:, 2], kind="stable")
    # Whole blocks: what is too much counts nothing.
    weights = np.zeros(-(-len(d) // BLOCK) * BLOCK, np.float32)
    weights[: len(d)] = weight / (1 + np.abs(d[order]) / near) / len(d)
    order = np.resize(order, len(weights))
    x, d = x[order], d[order]
    values, gradient = _values_and_gradient(
        network.planes.detach().numpy(),
        network.offsets.detach().numpy(),
        np.ascontiguousarray(x.reshape(-1, BLOCK, 3).transpose(0, 2, 1)),
        d.reshape(-1, BLOCK),
        weights.reshape(-1, BLOCK),
        np.float32(network.sharpness),
    )
    own = torch.from_numpy(gradient)
    for parameter, added in ((network.planes, own[:, :, :3]), (network.offsets, -own[:, :, 3])):
        parameter.grad = added.clone() if parameter.grad is None else parameter.grad + added
    return float((np.abs(values.ravel() - d) * weights).sum(dtype=np.float64))


@no_type_check
@small_kernel
def _exponentials(row, below, s, powers, as_floats):
    """In place: exp(s (v - below)) of values none of which is above ``below``."""
    low, scale = np.float32(-100.0), np.float32(s * LOG2_E)
    for b in range(BLOCK):
        z = max(scale * (row[b] - below[b]), low)
        whole = np.int32(z)
        powers[b] = (whole + np.int32(127)) << np.int32(23)
        row[b] = z - np.float32(whole)
    for b in range(BLOCK):
        r = row[b]
        value = np.float32(C4) + r * np.float32(C5)
        value = np.float32(C3) + r * value
        value = np.float32(C2) + r * value
        value = np.float32(C1) + r * value
        value = np.float32(C0) + r * value
        row[b] = value * as_floats[b]


@no_type_check
@small_kernel
def _evaluate(planes, offsets, x, values, largest, least):
    """Values of all planes at a block of points, the largest of each part, the least of those."""
    parts, count, _ = values.shape
    least[:] = np.float32(np.inf)
    for k in range(parts):
        largest[k] = np.float32(-np.inf)
        for p in range(count):
            n0, n1, n2, d = planes[k, p, 0], planes[k, p, 1], planes[k, p, 2], offsets[k, p]
            for b in range(BLOCK):
                values[k, p, b] = n0 * x[0, b] + n1 * x[1, b] + n2 * x[2, b] - d
            for b in range(BLOCK):
                largest[k, b] = max(largest[k, b], values[k, p, b])
        for b in range(BLOCK):
            least[b] = min(least[b], largest[k, b])


@no_type_check
@small_kernel
def _soften(values, largest, least, s, sums, shares, powers, as_floats):
    """Makes values the shares of planes in their part, up to ``sums``, and finds those of parts."""
    parts, count, _ = values.shape
    reach = np.float32((NEGLIGIBLE + math.log(count)) / s)
    active = np.zeros(parts, np.bool_)
    for k in range(parts):
        for b in range(BLOCK):
            active[k] |= largest[k, b] - least[b] < reach
        if not active[k]:
            continue
        sums[k] = np.float32(0)
        for p in range(count):
            _exponentials(values[k, p], largest[k], s, powers, as_floats)
            for b in range(BLOCK):
                sums[k, b] += values[k, p, b]
        for b in range(BLOCK):
            shares[k, b] = -largest[k, b]
        _exponentials(shares[k], -least, s, powers, as_floats)
        for b in range(BLOCK):
            shares[k, b] /= sums[k, b]
    return active


@no_type_check
@small_kernel
def _add_soft(values, sums, shares, active, pull, x, total):
    """Adds the gradient of a block of points; ``pull`` is what multiplies that of f."""
    parts, count, _ = values.shape
    for k in range(parts):
        if not active[k]:
            continue
        for b in range(BLOCK):
            sums[k, b] = pull[b] * shares[k, b] / sums[k, b]
        for p in range(count):
            for b in range(BLOCK):
                amount = sums[k, b] * values[k, p, b]
                total[k, p, 0, b] += amount * x[0, b]
                total[k, p, 1, b] += amount * x[1, b]
                total[k, p, 2, b] += amount * x[2, b]
                total[k, p, 3, b] += amount


@no_type_check
@small_kernel
def _add_hard(values, largest, least, pull, x, total):
    """The same for the exact max and min."""
    for b in range(BLOCK):
        if pull[b] == 0:
            continue
        k = 0
        while largest[k, b] != least[b]:
            k += 1
        p = 0
        while values[k, p, b] != least[b]:
            p += 1
        for axis in range(3):
            total[k, p, axis, b] += pull[b] * x[axis, b]
        total[k, p, 3, b] += pull[b]


@no_type_check
@kernel
def _values_and_gradient(planes, offsets, blocks, distances, weights, s):
    """f at each point, and the sum over points of sign(f - d) times weight times df/d(plane)."""
    parts, count, _ = planes.shape
    found = np.empty(distances.shape, np.float32)
    total = np.zeros((parts, count, 4, BLOCK), np.float32)
    values = np.empty((parts, count, BLOCK), np.float32)
    largest = np.empty((parts, BLOCK), np.float32)
    sums, shares = np.empty((parts, BLOCK), np.float32), np.empty((parts, BLOCK), np.float32)
    powers = np.zeros(BLOCK, np.int32)
    as_floats = powers.view(np.float32)
    least, pull = np.empty(BLOCK, np.float32), np.empty(BLOCK, np.float32)
    for block in range(len(blocks)):
        x, d, f = blocks[block], distances[block], found[block]
        _evaluate(planes, offsets, x, values, largest, least)
        f[:] = least
        if np.isfinite(s):
            active = _soften(values, largest, least, s, sums, shares, powers, as_floats)
            pull[:] = np.float32(0)
            for k in range(parts):
                if active[k]:
                    pull += shares[k]
            for b in range(BLOCK):
                f[b] -= np.float32(math.log(pull[b])) / s
        for b in range(BLOCK):
            sign = np.float32(f[b] > d[b]) - np.float32(f[b] < d[b])
            pull[b] = sign * weights[block, b] / (pull[b] if np.isfinite(s) else np.float32(1))
        if np.isfinite(s):
            _add_soft(values, sums, shares, active, pull, x, total)
        else:
            _add_hard(values, largest, least, pull, x, total)
    return found, total.sum(axis=3)
