"""Vertices of the complex of a tiny network, by trying everything. Shares no code with the package.

For each activation pattern the network is one affine map; every choice of d of its constraints
(pre-activations and planes of the box) that meet in a point gives a candidate, and it is a vertex
if the pattern really holds there. 2^h patterns and binomial(n + 2d, d) choices for each.
"""

from itertools import combinations, product

import numpy as np
from torch import nn


def brute_force_vertices(
    network: nn.Sequential, lower: float, upper: float, tolerance: float = 1e-9
) -> np.ndarray:
    """Positions ``[v, d]`` of all vertices in the box ``[lower, upper]^d``, in float64."""
    layers = [
        (module.weight.detach().double().numpy(), module.bias.detach().double().numpy())
        for module in network
        if isinstance(module, nn.Linear)
    ]
    dimension = layers[0][0].shape[1]
    hidden = [len(bias) for _, bias in layers[:-1]]
    found = [np.empty((0, dimension))]
    for bits in product((False, True), repeat=sum(hidden)):
        pattern = np.split(np.array(bits), np.cumsum(hidden)[:-1])
        rows, offsets = constraints_of(layers, pattern, lower, upper)
        points = intersections(rows, offsets)
        values = points @ rows.T + offsets
        sides = np.where(bits, 1.0, -1.0)
        num_outputs = len(layers[-1][1])
        holds = (values[:, : len(bits)] * sides > -tolerance).all(axis=1)
        holds &= (values[:, len(bits) + num_outputs :] > -tolerance).all(axis=1)
        found.append(points[holds])
    return without_repeats(np.concatenate(found), tolerance)


def constraints_of(
    layers: list, pattern: list, lower: float, upper: float
) -> tuple[np.ndarray, np.ndarray]:
    """The affine functions ``rows @ x + offsets`` that are 0 on the constraints, box last."""
    dimension = layers[0][0].shape[1]
    map_, shift = np.eye(dimension), np.zeros(dimension)
    rows, offsets = [], []
    for index, (weight, bias) in enumerate(layers):
        map_, shift = weight @ map_, weight @ shift + bias
        rows.append(map_)
        offsets.append(shift)
        if index < len(pattern):
            map_, shift = map_ * pattern[index][:, None], shift * pattern[index]
    rows += [np.eye(dimension), -np.eye(dimension)]
    offsets += [np.full(dimension, -lower), np.full(dimension, upper)]
    return np.concatenate(rows), np.concatenate(offsets)


def intersections(rows: np.ndarray, offsets: np.ndarray) -> np.ndarray:
    """The points in which d of the hyperplanes meet, for every choice of d with a single one."""
    dimension = rows.shape[1]
    choices = np.array(list(combinations(range(len(rows)), dimension)))
    systems = rows[choices]
    scale = np.prod(np.linalg.norm(systems, axis=2), axis=1)
    regular = np.abs(np.linalg.det(systems)) > 1e-9 * scale
    right = -offsets[choices[regular]][:, :, None]
    return np.linalg.solve(systems[regular], right)[:, :, 0]


def without_repeats(points: np.ndarray, tolerance: float) -> np.ndarray:
    """One of each group of points closer than the tolerance. For few points."""
    kept: list[np.ndarray] = []
    for point in points:
        if all(np.abs(point - other).max() > tolerance for other in kept):
            kept.append(point)
    return np.array(kept)
