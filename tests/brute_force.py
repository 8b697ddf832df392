"""Cells of the complex of a tiny network, by trying everything. Shares no code with the package.

For each activation pattern the network is one affine map; every choice of d of its constraints
(pre-activations and planes of the box) that meet in a point gives a candidate, and it is a vertex
if the pattern really holds there. 2^h patterns and binomial(n + 2d, d) choices for each.
"""

from collections.abc import Iterator
from itertools import combinations, product
from typing import NamedTuple

import numpy as np
from torch import nn


class Counts(NamedTuple):
    """Numbers of cells; ``surface_faces`` are the regions that the zero set of f crosses."""

    vertices: int
    edges: int
    regions: int
    surface_vertices: int
    surface_edges: int
    surface_faces: int


def brute_force_vertices(
    network: nn.Sequential, lower: float, upper: float, tolerance: float = 1e-9
) -> np.ndarray:
    """Positions ``[v, d]`` of all vertices in the box ``[lower, upper]^d``, in float64."""
    layers = weights_of(network)
    found = [points for points, _ in vertices_by_pattern(layers, lower, upper, tolerance)]
    return without_repeats(np.concatenate(found), tolerance)


def brute_force_counts(
    network: nn.Sequential, lower: float, upper: float, tolerance: float = 1e-9
) -> Counts:
    """Numbers of cells of a network with one output in general position.

    There a vertex in k planes of the box has 2d - k edges, and every pattern that holds at a
    vertex is that of a region; one that holds at a zero of f is that of a region f = 0 crosses,
    which makes two of it.
    """
    layers = weights_of(network)
    found = list(vertices_by_pattern(layers, lower, upper, tolerance))
    patterns = sum(len(points) > 0 for points, _ in found)
    crossed = sum(bool(is_zero.any()) for _, is_zero in found)
    whole = without_repeats(np.concatenate([points for points, _ in found]), tolerance)
    surface = without_repeats(
        np.concatenate([points[is_zero] for points, is_zero in found]), tolerance
    )
    dimension = whole.shape[1]

    def edges(points: np.ndarray, dimension: int) -> int:
        planes = (np.abs(points[:, :, None] - [lower, upper]) < tolerance).sum()
        return int(2 * dimension * len(points) - planes) // 2

    return Counts(
        vertices=len(whole),
        edges=edges(whole, dimension),
        regions=patterns + crossed,
        surface_vertices=len(surface),
        surface_edges=edges(surface, dimension - 1),
        surface_faces=crossed,
    )


def weights_of(network: nn.Sequential) -> list[tuple[np.ndarray, np.ndarray]]:
    """Weights and biases of the layers in float64."""
    return [
        (module.weight.detach().double().numpy(), module.bias.detach().double().numpy())
        for module in network
        if isinstance(module, nn.Linear)
    ]


def vertices_by_pattern(
    layers: list, lower: float, upper: float, tolerance: float
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """For each activation pattern the vertices at which it holds, and whether f is 0 there."""
    hidden = [len(bias) for _, bias in layers[:-1]]
    num_outputs = len(layers[-1][1])
    for bits in product((False, True), repeat=sum(hidden)):
        pattern = np.split(np.array(bits), np.cumsum(hidden)[:-1])
        rows, offsets = constraints_of(layers, pattern, lower, upper)
        points = intersections(rows, offsets)
        values = points @ rows.T + offsets
        sides = np.where(bits, 1.0, -1.0)
        holds = (values[:, : len(bits)] * sides > -tolerance).all(axis=1)
        holds &= (values[:, len(bits) + num_outputs :] > -tolerance).all(axis=1)
        yield points[holds], np.abs(values[holds, len(bits)]) < tolerance


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
    kept = np.empty((0, points.shape[1]))
    for point in points:
        if (np.abs(kept - point).max(axis=1) > tolerance).all():
            kept = np.concatenate([kept, point[None]])
    return kept
