"""Seeded networks, each with a box, that extractors are tried on: generic ones and degenerate ones.

``generate(kind, seed)`` makes the same case everywhere. A kind is a function of a random generator
that returns a :class:`Draft`; kinds of :data:`GENERIC` are in general position but for accidents,
those of :data:`DEGENERATE` are not.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise, product
from typing import NamedTuple

import numpy as np
import torch
from torch import nn

from shapeopt.networks import dense_sdf_network, sdf_network
from shapeopt.networks.reading import affine_layers

Rng = np.random.Generator
Layers = list[tuple[np.ndarray, np.ndarray]]
"""Weight ``[out, in]`` and bias ``[out]`` of each layer."""


class Draft(NamedTuple):
    """A network as arrays, and the corners of its box (numbers for all axes, or arrays)."""

    layers: Layers
    lower: float | np.ndarray = -1.0
    upper: float | np.ndarray = 1.0


@dataclass
class Case:
    """A network and its box.

    Attributes:
        kind, seed: what to give to :func:`generate` to have it again.
        network: Linear, ReLU, ..., Linear with one output.
        lower, upper: corners of the box, exact in the network's dtype.
    """

    kind: str
    seed: int
    network: nn.Sequential
    lower: list[float]
    upper: list[float]

    @property
    def dtype(self) -> torch.dtype:
        """Of the network."""
        return self.network[0].weight.dtype

    @property
    def bounds(self) -> tuple[list[float], list[float]]:
        """As extractors take them."""
        return self.lower, self.upper


GENERIC: dict[str, Callable[[Rng], Draft]] = {}
DEGENERATE: dict[str, Callable[[Rng], Draft]] = {}


def generate(kind: str, seed: int) -> Case:
    """The case of a kind with a seed.

    float64, but for every fifth seed of a degenerate kind, and the kinds that say so: float32.
    """
    rng = np.random.default_rng([zlib.crc32(kind.encode()), seed])
    torch.manual_seed(int(rng.integers(2**31)))
    draft = (GENERIC | DEGENERATE)[kind](rng)
    single = "float32" in kind or (kind in DEGENERATE and seed % 5 == 4)
    return as_case(kind, seed, draft, torch.float32 if single else torch.float64)


def as_case(kind: str, seed: int, draft: Draft, dtype: torch.dtype) -> Case:
    """The draft as a module of the given dtype, with bounds of that dtype."""
    modules: list[nn.Module] = []
    for weight, bias in draft.layers:
        linear = nn.Linear(weight.shape[1], weight.shape[0], dtype=dtype)
        linear.weight.data = torch.tensor(weight, dtype=dtype)
        linear.bias.data = torch.tensor(bias, dtype=dtype)
        modules += [linear, nn.ReLU()]
    dimension = draft.layers[0][0].shape[1]
    corners = [
        torch.tensor(np.broadcast_to(corner, dimension).copy(), dtype=dtype).tolist()
        for corner in (draft.lower, draft.upper)
    ]
    return Case(kind, seed, nn.Sequential(*modules[:-1]), *corners)


def generic(kind: Callable[[Rng], Draft]) -> Callable[[Rng], Draft]:
    """Registers a kind in general position under its function's name."""
    GENERIC[kind.__name__] = kind
    return kind


def degenerate(kind: Callable[[Rng], Draft]) -> Callable[[Rng], Draft]:
    """Registers a degenerate kind under its function's name."""
    DEGENERATE[kind.__name__] = kind
    return kind


# What kinds are made of


def random_layers(rng: Rng, widths: Sequence[int]) -> Layers:
    """Normal weights, folds through the middle of the box; ``widths`` from input to output."""
    return [
        (rng.normal(size=(b, a)) / np.sqrt(a), rng.normal(size=b) * 0.4)
        for a, b in pairwise(widths)
    ]


def small_widths(rng: Rng, dimension: int | None = None, largest: int = 6) -> list[int]:
    """Sizes of a small network, from input to output; the deepest have the fewest neurons."""
    dimension = dimension or int(rng.integers(2, 4))
    depth = int(rng.choice([1, 2, 2, 3]))
    largest = min(largest, {1: 8, 2: 6, 3: 5}[depth] + (dimension == 2))
    return [dimension, *(int(rng.integers(2, largest + 1)) for _ in range(depth)), 1]


def values_at(layers: Layers, points: np.ndarray) -> np.ndarray:
    """f at points ``[n, d]``."""
    for weight, bias in layers[:-1]:
        points = np.maximum(points @ weight.T + bias, 0)
    weight, bias = layers[-1]
    return (points @ weight.T + bias)[:, 0]


def centred(rng: Rng, layers: Layers, lower: float = -1.0, upper: float = 1.0) -> Layers:
    """The same with another last bias: f is 0 at a random place of the box, not on a plateau."""
    points = rng.uniform(lower, upper, size=(64, layers[0][0].shape[1]))
    weight, bias = layers[-1]
    shift = np.quantile(np.unique(values_at(layers, points)), rng.uniform(0.2, 0.8))
    return [*layers[:-1], (weight, bias - shift)]


def random_network(rng: Rng, dimension: int | None = None) -> Layers:
    """A small network in general position with a surface in [-1, 1]."""
    return centred(rng, random_layers(rng, small_widths(rng, dimension)))


def tree(planes: Layers, steps: Sequence[tuple[str, int]]) -> Layers:
    """Maxima and minima of affine functions, written with ReLUs.

    max(p, q) = relu(p - q) + relu(q) - relu(-q), and two layers in a row are multiplied out.

    Args:
        planes: the layers before; the last one gives the functions, one a row.
        steps: ``("max", k)`` replaces each k functions in a row by their maximum.
    """
    *before, (weight, bias) = planes
    for name, group in steps:
        sign = 1 if name == "max" else -1
        weight, bias = sign * weight, sign * bias
        sizes = [group] * (len(bias) // group)
        while max(sizes) > 1:
            split, join, sizes = _pairs(sizes)
            before.append((split @ weight, split @ bias))
            weight, bias = join, np.zeros(len(join))
        weight, bias = sign * weight, sign * bias
    return [*before, (weight, bias)]


def _pairs(sizes: list[int]) -> tuple[np.ndarray, np.ndarray, list[int]]:
    """One level of a tree of maxima: into differences, ReLUs, and back into maxima."""
    total = sum(sizes)
    split: list[np.ndarray] = []
    join: list[dict[int, float]] = []
    left, start = [], 0
    for size in sizes:
        for at in range(start, start + size, 2):
            here = np.eye(total)[at]
            entry = {}
            if at + 1 < start + size:
                other = np.eye(total)[at + 1]
                entry[len(split)] = 1.0
                split.append(here - other)
                here = other
            entry |= {len(split): 1.0, len(split) + 1: -1.0}
            split += [here, -here]
            join.append(entry)
        left.append((size + 1) // 2)
        start += size
    matrix = np.zeros((len(join), len(split)))
    for row, entry in enumerate(join):
        for column, value in entry.items():
            matrix[row, column] = value
    return np.array(split), matrix, left


def absolutes(matrix: np.ndarray, offset: np.ndarray, radius: float) -> Layers:
    """f = sum of |matrix x + offset| - radius."""
    weight = np.concatenate([matrix, -matrix])
    bias = np.concatenate([offset, -offset])
    return [(weight, bias), (np.ones((1, len(bias))), np.array([-radius]))]


def rotation(rng: Rng, dimension: int = 3) -> np.ndarray:
    """A random orthogonal matrix."""
    return np.linalg.qr(rng.normal(size=(dimension, dimension)))[0]


def moved(layers: Layers, offset: np.ndarray | float, scale: float = 1.0) -> Layers:
    """f((x - offset) / scale)."""
    (weight, bias), *rest = layers
    weight = weight / scale
    return [(weight, bias - weight @ np.broadcast_to(offset, weight.shape[1])), *rest]


def with_neurons(
    rng: Rng, layers: Layers, level: int, rows: np.ndarray, biases: np.ndarray
) -> Layers:
    """Adds neurons to a hidden layer, with random weights after them."""
    weight, bias = layers[level]
    following, last = layers[level + 1]
    new = rng.normal(size=(len(following), len(biases)))
    return [
        *layers[:level],
        (np.concatenate([weight, rows]), np.concatenate([bias, biases])),
        (np.concatenate([following, new], axis=1), last),
        *layers[level + 2 :],
    ]


def beside_a_neuron(
    rng: Rng, change: Callable[[np.ndarray, float], tuple[np.ndarray, float]]
) -> Draft:
    """A random network in which some neurons are given companions made from their own weights."""
    layers = random_network(rng)
    for _ in range(int(rng.integers(1, 4))):
        level = int(rng.integers(len(layers) - 1))
        weight, bias = layers[level]
        neuron = int(rng.integers(len(bias)))
        row, offset = change(weight[neuron], bias[neuron])
        layers = with_neurons(rng, layers, level, row[None], np.array([offset]))
    return Draft(centred(rng, layers))


# Generic kinds


@generic
def random_2d(rng: Rng) -> Draft:
    return Draft(random_network(rng, 2))


@generic
def random_3d(rng: Rng) -> Draft:
    return Draft(random_network(rng, 3))


@generic
def random_wide(rng: Rng) -> Draft:
    widths = [int(rng.integers(2, 4)), int(rng.integers(6, 9)), int(rng.integers(6, 9)), 1]
    return Draft(centred(rng, random_layers(rng, widths)))


@generic
def random_float32(rng: Rng) -> Draft:
    return Draft(random_network(rng))


@generic
def uncentred(rng: Rng) -> Draft:
    return Draft(random_layers(rng, small_widths(rng)))


@generic
def without_biases(rng: Rng) -> Draft:
    layers = random_layers(rng, small_widths(rng))
    layers = [(weight, np.zeros(len(bias))) for weight, bias in layers]
    lower = -rng.uniform(0.2, 1, layers[0][0].shape[1])
    return Draft(layers, lower, lower + 1.2)


@degenerate
def many_folds_through_a_point(rng: Rng) -> Draft:
    widths = [3, int(rng.integers(8, 13)), int(rng.integers(1, 4)), 1]
    layers = random_layers(rng, widths)
    layers = [(weight, np.zeros(len(bias))) for weight, bias in layers]
    return Draft(centred(rng, layers))


@generic
def without_hidden_biases(rng: Rng) -> Draft:
    layers = random_layers(rng, small_widths(rng))
    layers = [(weight, np.zeros(len(bias))) for weight, bias in layers]
    return Draft(centred(rng, layers))


@generic
def sdf(rng: Rng) -> Draft:
    network = sdf_network(int(rng.integers(3, 7)), int(rng.integers(1, 3)), int(rng.integers(2, 4)))
    return Draft(centred(rng, arrays_of(network), -0.5, 0.5), -0.5, 0.5)


@generic
def sdf_float32(rng: Rng) -> Draft:
    return sdf(rng)


def arrays_of(network: nn.Sequential) -> Layers:
    """The layers of a module."""
    return [
        (layer.weight.detach().double().numpy(), layer.bias.detach().double().numpy())
        for layer in affine_layers(network)
    ]


@generic
def scaled_layers(rng: Rng) -> Draft:
    """Each layer times its own factor; biases too, so that f is the same but for a factor."""
    layers, total = [], 1.0
    for weight, bias in random_network(rng):
        factor = 10 ** rng.uniform(-12, 12)
        total *= factor
        layers.append((weight * factor, bias * total))
    return Draft(layers)


@generic
def scaled_f(rng: Rng) -> Draft:
    """All layers times one factor, of 1e-60 to 1e60."""
    return Draft(_scaled(random_network(rng), 10 ** rng.uniform(-60, 60)))


@generic
def scaled_f_float32(rng: Rng) -> Draft:
    return Draft(_scaled(random_network(rng), 10 ** rng.uniform(-8, 8)))


def _scaled(layers: Layers, factor: float) -> Layers:
    """f times a power of the factor, which each layer is multiplied by."""
    return [(weight * factor, bias * factor ** (i + 1)) for i, (weight, bias) in enumerate(layers)]


@generic
def scaled_neurons(rng: Rng) -> Draft:
    """Each neuron times its own factor, undone in the next layer."""
    layers = random_network(rng)
    for i in range(len(layers) - 1):
        (weight, bias), (following, last) = layers[i : i + 2]
        factor = 10 ** rng.uniform(-8, 8, len(bias))
        layers[i : i + 2] = [(weight * factor[:, None], bias * factor), (following / factor, last)]
    return Draft(layers)


@generic
def far_box(rng: Rng) -> Draft:
    layers = random_network(rng)
    offset = 10 ** rng.uniform(3, 7) * rng.normal(size=layers[0][0].shape[1])
    return Draft(moved(layers, offset), offset - 1, offset + 1)


@generic
def far_box_float32(rng: Rng) -> Draft:
    layers = random_network(rng)
    offset = 10 ** rng.uniform(1, 4) * rng.normal(size=layers[0][0].shape[1])
    return Draft(moved(layers, offset), offset - 1, offset + 1)


@generic
def scaled_box(rng: Rng) -> Draft:
    """The whole picture in a box of 1e-5 to 1e4."""
    size = 10 ** rng.uniform(-5, 4)
    return Draft(moved(random_network(rng), 0.0, size), -size, size)


@generic
def scaled_box_float32(rng: Rng) -> Draft:
    return scaled_box(rng)


@generic
def large_box(rng: Rng) -> Draft:
    """A network about the origin in a box that is far larger, not in its middle."""
    layers = random_network(rng)
    size = 10 ** rng.uniform(1, 4)
    lower = -size * rng.uniform(0.1, 1, layers[0][0].shape[1])
    return Draft(layers, lower, lower + 1.5 * size)


@generic
def small_box(rng: Rng) -> Draft:
    """A small box around a point of the surface."""
    layers = random_layers(rng, small_widths(rng))
    point = rng.uniform(-1, 1, layers[0][0].shape[1])
    weight, bias = layers[-1]
    layers[-1] = weight, bias - values_at(layers, point[None])
    size = 10 ** rng.uniform(-5, -1)
    return Draft(layers, point - size * rng.uniform(0.2, 1), point + size * rng.uniform(0.2, 1))


@generic
def flat_box(rng: Rng) -> Draft:
    layers = random_network(rng)
    half = 10 ** rng.uniform(-3, 0.5, layers[0][0].shape[1])
    return Draft(centred(rng, layers, -half, half), -half, half)


# Neurons that repeat, or do nothing


@degenerate
def duplicated_neuron(rng: Rng) -> Draft:
    return beside_a_neuron(rng, lambda row, bias: (row, bias))


@degenerate
def opposite_neuron(rng: Rng) -> Draft:
    return beside_a_neuron(rng, lambda row, bias: (-row, -bias))


@degenerate
def scaled_copy(rng: Rng) -> Draft:
    factor = rng.uniform(0.1, 10)
    return beside_a_neuron(rng, lambda row, bias: (row * factor, bias * factor))


@degenerate
def parallel_neuron(rng: Rng) -> Draft:
    return beside_a_neuron(rng, lambda row, bias: (row, bias + rng.normal() * 0.2))


@degenerate
def near_duplicate_ulp(rng: Rng) -> Draft:
    def change(row: np.ndarray, bias: float) -> tuple[np.ndarray, float]:
        steps = rng.integers(-2, 3, len(row) + 1)
        return row * (1 + steps[:-1] * 2.0**-52), bias * (1 + steps[-1] * 2.0**-52)

    return beside_a_neuron(rng, change)


@degenerate
def near_duplicate(rng: Rng) -> Draft:
    eps = 10 ** rng.uniform(-15, -9)
    return beside_a_neuron(
        rng, lambda row, bias: (row + eps * rng.normal(size=len(row)), bias + eps * rng.normal())
    )


@degenerate
def near_opposite(rng: Rng) -> Draft:
    eps = 10 ** rng.uniform(-15, -9)
    return beside_a_neuron(
        rng, lambda row, bias: (-row + eps * rng.normal(size=len(row)), -bias + eps * rng.normal())
    )


@degenerate
def dead_neuron(rng: Rng) -> Draft:
    return beside_a_neuron(rng, lambda row, bias: (row, -100.0))


@degenerate
def always_on_neuron(rng: Rng) -> Draft:
    return beside_a_neuron(rng, lambda row, bias: (row, 100.0))


@degenerate
def constant_neuron(rng: Rng) -> Draft:
    return beside_a_neuron(rng, lambda row, bias: (0 * row, float(rng.choice([-1.0, 0.0, 1.0]))))


@degenerate
def unused_neuron(rng: Rng) -> Draft:
    layers = random_network(rng)
    level = int(rng.integers(1, len(layers)))
    layers[level][0][:, rng.integers(layers[level][0].shape[1])] = 0
    return Draft(centred(rng, layers))


def _beside_output(rng: Rng, signs: Sequence[float]) -> Draft:
    """f = relu(g) - relu(-g) = g: the last hidden layer's folds are the surface."""
    *before, (weight, bias) = random_network(rng)
    rows = np.concatenate([sign * weight for sign in signs])
    biases = np.concatenate([sign * bias for sign in signs])
    return Draft([*before, (rows, biases), (np.array([np.sign(signs)]), np.zeros(1))])


@degenerate
def neuron_is_output(rng: Rng) -> Draft:
    return _beside_output(rng, [1.0, -1.0])


@degenerate
def neuron_is_scaled_output(rng: Rng) -> Draft:
    return _beside_output(rng, [rng.uniform(0.1, 3), -rng.uniform(0.1, 3), -rng.uniform(0.1, 3)])


@degenerate
def neuron_is_negative_output(rng: Rng) -> Draft:
    """f = -relu(g) + relu(-g) with a further, equal pair that cancels up to rounding."""
    draft = _beside_output(rng, [-1.0, 1.0])
    weight, bias = draft.layers[-2]
    layers = with_neurons(rng, draft.layers, len(draft.layers) - 2, weight, bias)
    layers[-1] = (np.array([[1.0, -1.0, 0.1, -0.1]]), np.zeros(1))
    return Draft(layers)


@degenerate
def bottleneck(rng: Rng) -> Draft:
    """A layer of one neuron: the surface is made of parallel sheets."""
    d = int(rng.integers(2, 4))
    return Draft(centred(rng, random_layers(rng, [d, 1, int(rng.integers(2, 6)), 1])))


@degenerate
def low_rank(rng: Rng) -> Draft:
    """Weights of rank one or two in each layer."""
    layers = []
    for weight, bias in random_network(rng):
        rank = int(rng.integers(1, 3))
        u, v = rng.normal(size=(len(bias), rank)), rng.normal(size=(rank, weight.shape[1]))
        layers.append((u @ v, bias))
    return Draft(centred(rng, layers))


@degenerate
def pruned_weights(rng: Rng) -> Draft:
    layers = [
        (np.where(rng.random(w.shape) < 0.5, 0, w), np.where(rng.random(b.shape) < 0.3, 0, b))
        for w, b in random_network(rng)
    ]
    return Draft(centred(rng, layers))


# Polyhedra from maxima and minima of planes


def _unit_rows(rng: Rng, n: int, d: int = 3) -> np.ndarray:
    rows = rng.normal(size=(n, d))
    rows -= rows.mean(axis=0)
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


@degenerate
def tetrahedron(rng: Rng) -> Draft:
    """max of four planes - r, written so that folds of the output lie on those of neurons."""
    layers = tree([(_unit_rows(rng, 4), np.zeros(4))], [("max", 4)])
    return Draft([*layers[:-1], (layers[-1][0], np.array([-rng.uniform(0.05, 0.2)]))], -0.5, 0.5)


@degenerate
def polygon_max(rng: Rng) -> Draft:
    n = int(rng.integers(3, 7))
    return Draft(tree([(_unit_rows(rng, n, 2), np.full(n, -0.3))], [("max", n)]))


@degenerate
def max_of_planes(rng: Rng) -> Draft:
    n = int(rng.integers(3, 7))
    offsets = -rng.uniform(0.1, 0.5, n)
    return Draft(tree([(_unit_rows(rng, n), offsets)], [("max", n)]))


@degenerate
def min_of_planes(rng: Rng) -> Draft:
    n = int(rng.integers(3, 6))
    return Draft(tree([(_unit_rows(rng, n), rng.uniform(0.1, 0.5, n))], [("min", n)]))


@degenerate
def min_of_max(rng: Rng) -> Draft:
    """A union of two tetrahedra (in 2D, triangles)."""
    d = int(rng.integers(2, 4))
    rows = np.concatenate([_unit_rows(rng, d + 1, d) for _ in range(2)])
    middles = np.repeat(rng.uniform(-0.3, 0.3, size=(2, d)), d + 1, axis=0)
    offsets = -(rows * middles).sum(axis=1) - 0.2
    return Draft(tree([(rows, offsets)], [("max", d + 1), ("min", 2)]))


@degenerate
def max_of_min(rng: Rng) -> Draft:
    rows = _unit_rows(rng, 6, int(rng.integers(2, 4)))
    return Draft(tree([(rows, rng.uniform(-0.3, 0.3, 6))], [("min", 2), ("max", 3)]))


@degenerate
def integer_max(rng: Rng) -> Draft:
    """max and min of planes with small integers: several meet in one point."""
    d = int(rng.integers(2, 4))
    rows = rng.integers(-1, 2, size=(6, d)).astype(float)
    offsets = rng.integers(-1, 2, 6).astype(float)
    steps = [("max", 3), ("min", 2)] if rng.random() < 0.5 else [("min", 2), ("max", 3)]
    return Draft(tree([(rows, offsets)], steps), -3.0, 3.0)


@degenerate
def octahedron(rng: Rng) -> Draft:
    d = int(rng.integers(2, 4))
    radius = float(rng.choice([0.25, 0.3, 0.1, 0.5]))
    return Draft(absolutes(np.eye(d), np.zeros(d), radius), -0.75, 0.75)


@degenerate
def rotated_octahedron(rng: Rng) -> Draft:
    d = int(rng.integers(2, 4))
    middle = rng.uniform(-0.2, 0.2, d)
    turn = rotation(rng, d)
    return Draft(absolutes(turn, -turn @ middle, rng.uniform(0.1, 0.4)), -0.75, 0.75)


@degenerate
def cube(rng: Rng) -> Draft:
    d = int(rng.integers(2, 4))
    rows = np.concatenate([np.eye(d), -np.eye(d)])
    radius = float(rng.choice([0.25, 0.3, 0.5]))
    return Draft(tree([(rows, np.full(2 * d, -radius))], [("max", 2 * d)]), -0.75, 0.75)


@degenerate
def rotated_cube(rng: Rng) -> Draft:
    turn = rotation(rng)
    rows = np.concatenate([turn, -turn])
    return Draft(tree([(rows, np.full(6, -rng.uniform(0.1, 0.3)))], [("max", 6)]))


# Lattices


@degenerate
def integer_lattice(rng: Rng) -> Draft:
    """Small integer weights and biases throughout, and an integer box."""
    layers = [
        (rng.integers(-2, 3, w.shape).astype(float), rng.integers(-2, 3, b.shape).astype(float))
        for w, b in random_layers(rng, small_widths(rng, largest=5))
    ]
    layers[-1] = layers[-1][0], np.round(centred(rng, layers, -2, 2)[-1][1])
    return Draft(layers, -2.0, 2.0)


@degenerate
def ternary(rng: Rng) -> Draft:
    layers = [
        (rng.integers(-1, 2, w.shape).astype(float), rng.integers(-1, 2, b.shape) * 0.5)
        for w, b in random_layers(rng, small_widths(rng))
    ]
    return Draft(layers, -1.0, 1.0)


@degenerate
def decimal_lattice(rng: Rng) -> Draft:
    """Weights and biases in tenths, which floats only come near."""
    layers = [
        (rng.integers(-9, 10, w.shape) * 0.1, rng.integers(-9, 10, b.shape) * 0.1)
        for w, b in random_layers(rng, small_widths(rng))
    ]
    weight, bias = centred(rng, layers)[-1]
    return Draft([*layers[:-1], (weight, np.round(bias, 1))])


@degenerate
def zigzag(rng: Rng) -> Draft:
    """A sum of zigzags along the axes: many components on a lattice."""
    d = int(rng.integers(2, 4))
    knots = np.arange(-2, 2) + (0.5 if rng.random() < 0.5 else 0.0)
    weight = np.repeat(np.eye(d), len(knots), axis=0)
    slopes = np.array([2.0, -2.0] * (len(knots) // 2))
    slopes[0] = 1.0
    level = float(rng.choice([0.25, 0.5, 1.0, 1.5]))
    out = np.tile(slopes, d)[None]
    return Draft([(weight, -np.tile(knots, d)), (out, np.array([-level]))], -2.0, 2.0)


@degenerate
def int8_weights(rng: Rng) -> Draft:
    layers = []
    for weight, bias in random_network(rng):
        step = max(np.abs(weight).max(), np.abs(bias).max()) / 127
        layers.append((np.round(weight / step) * step, np.round(bias / step) * step))
    return Draft(layers)


@degenerate
def int4_weights(rng: Rng) -> Draft:
    layers = []
    for weight, bias in random_network(rng):
        layers.append((np.round(weight * 4), np.round(bias * 4)))
    return Draft(centred_on_integers(rng, layers))


def centred_on_integers(rng: Rng, layers: Layers) -> Layers:
    """Like :func:`centred`, with an integer last bias."""
    weight, bias = centred(rng, layers)[-1]
    return [*layers[:-1], (weight, np.round(bias))]


@degenerate
def half_weights(rng: Rng) -> Draft:
    return Draft(
        [
            (weight.astype(np.float16).astype(float), bias.astype(np.float16).astype(float))
            for weight, bias in random_network(rng)
        ]
    )


# Folds in special position to the box or to each other


@degenerate
def folds_through_corners(rng: Rng) -> Draft:
    layers = random_network(rng)
    weight, _ = layers[0]
    corners = rng.choice([-1.0, 1.0], size=weight.shape)
    return Draft(centred(rng, [(weight, -(weight * corners).sum(axis=1)), *layers[1:]]))


@degenerate
def folds_along_faces(rng: Rng) -> Draft:
    layers = random_network(rng)
    weight, bias = layers[0]
    for neuron in range(max(1, len(bias) // 2)):
        weight[neuron] = np.eye(weight.shape[1])[rng.integers(weight.shape[1])] * rng.normal()
        bias[neuron] = rng.choice([-1.0, 1.0]) * np.abs(weight[neuron]).max()
    return Draft(centred(rng, layers))


@degenerate
def folds_along_edges(rng: Rng) -> Draft:
    """Planes through an edge of the box (in 2D, lines through its corners)."""
    layers = random_network(rng)
    weight, bias = layers[0]
    for neuron in range(max(1, len(bias) // 2)):
        axes = rng.permutation(weight.shape[1])[:2]
        row = np.zeros(weight.shape[1])
        row[axes] = rng.integers(1, 4, 2) * rng.choice([-1.0, 1.0], 2)
        weight[neuron], bias[neuron] = row, np.abs(row).sum() * rng.choice([-1.0, 1.0])
    return Draft(centred(rng, layers))


@degenerate
def surface_through_corner(rng: Rng) -> Draft:
    layers = random_network(rng)
    corner = rng.choice([-1.0, 1.0], size=layers[0][0].shape[1])
    weight, bias = layers[-1]
    return Draft([*layers[:-1], (weight, bias - values_at(layers, corner[None]))])


@degenerate
def folds_through_a_point(rng: Rng) -> Draft:
    layers = random_network(rng)
    weight, _ = layers[0]
    point = rng.integers(-2, 3, weight.shape[1]) * 0.25
    layers[0] = weight, -weight @ point
    return Draft(centred(rng, layers))


@degenerate
def folds_and_surface_through_a_point(rng: Rng) -> Draft:
    layers = random_layers(rng, [int(rng.integers(2, 4)), 6, *rng.integers(4, 6, 1).tolist(), 1])
    layers = [(weight, np.zeros(len(bias))) for weight, bias in layers]
    return Draft(moved(layers, rng.integers(-2, 3, layers[0][0].shape[1]) * 0.25))


@degenerate
def folds_through_a_line(rng: Rng) -> Draft:
    layers = random_network(rng, 3)
    weight, bias = layers[0]
    weight = weight - np.outer(weight @ (axis := rng.integers(-1, 2, 3) + 0.0), axis) / max(
        axis @ axis, 1
    )
    return Draft(centred(rng, [(weight, 0 * bias), *layers[1:]]))


@degenerate
def coplanar_triples(rng: Rng) -> Draft:
    """The third fold is the sum of two others: they meet in a line."""
    layers = random_network(rng)
    weight, bias = layers[0]
    return Draft(
        centred(
            rng,
            with_neurons(rng, layers, 0, weight[:1] + weight[1:2], np.array([bias[0] + bias[1]])),
        )
    )


@degenerate
def surface_through_a_crossing(rng: Rng) -> Draft:
    """f = 0 where d folds of the first layer meet, up to rounding."""
    layers = random_network(rng)
    weight, bias = layers[0]
    d = weight.shape[1]
    if len(bias) < d:
        layers = with_neurons(rng, layers, 0, rng.normal(size=(1, d)), rng.normal(size=1) * 0.3)
        weight, bias = layers[0]
    weight[:d], bias[:d] = rng.integers(-2, 3, (d, d)) + 3 * np.eye(d), rng.integers(-1, 2, d)
    point = np.linalg.solve(weight[:d], -bias[:d]) if abs(np.linalg.det(weight[:d])) > 0.1 else 0
    last, shift = layers[-1]
    at = values_at(layers, np.broadcast_to(point, (1, d)))
    return Draft([*layers[:-1], (last, shift - at)], -2.0, 2.0)


@degenerate
def surface_along_a_fold(rng: Rng) -> Draft:
    """f = g + relu(h) with h proportional to g: bends exactly along its surface."""
    d = int(rng.integers(2, 4))
    row, bias = rng.normal(size=d), rng.normal() * 0.2
    others = rng.normal(size=(2, d))
    factor = rng.uniform(0.2, 3)
    weight = np.array([row, -row, row * factor, *others])
    biases = np.array([bias, -bias, bias * factor, *rng.normal(size=2) * 0.3])
    out = np.array([[1.0, -1.0, 0.5, 0.0, 0.0]])
    if rng.random() < 0.5:
        out[0, 3:] = rng.normal(size=2)
    return Draft([(weight, biases), (out, np.zeros(1))])


# Surfaces that touch the box, or themselves


@degenerate
def touches_box_in_a_point(rng: Rng) -> Draft:
    d = int(rng.integers(2, 4))
    return Draft(absolutes(np.eye(d), np.zeros(d), 0.5), -0.5, 0.5)


@degenerate
def touches_box_in_an_edge(rng: Rng) -> Draft:
    """A bar with a square section whose corners lie on the box; or one that ends inside."""
    matrix = np.array([[1.0, 0, 0], [0, 1, 0]])
    if rng.random() < 0.5:
        layers = absolutes(matrix, np.zeros(2), 1.0)
    else:
        planes = np.array([[1.0, 1, 0], [1, -1, 0], [-1, 1, 0], [-1, -1, 0], [0, 0, 2], [0, 0, -2]])
        layers = tree([(planes, np.full(6, -1.0))], [("max", 6)])
    return Draft(layers)


@degenerate
def touches_box_in_a_face(rng: Rng) -> Draft:
    """A cube some of whose faces lie in those of the box."""
    d = int(rng.integers(2, 4))
    rows = np.concatenate([np.eye(d), -np.eye(d)])
    offsets = -rng.choice([0.5, 1.0], 2 * d)
    offsets[0] = -1.0
    return Draft(tree([(rows, offsets)], [("max", 2 * d)]))


@degenerate
def plane_in_box_face(rng: Rng) -> Draft:
    """f = 0 on a face of the box, and nowhere else or also elsewhere."""
    d = int(rng.integers(2, 4))
    row = np.eye(d)[rng.integers(d)] * rng.choice([-1.0, 1.0])
    pair = np.array([row, -row])
    if rng.random() < 0.5:
        return Draft([(pair, np.array([1.0, -1.0])), (np.array([[1.0, -1.0]]), np.zeros(1))])
    return Draft(absolutes(row[None], np.zeros(1), 1.0))


@degenerate
def crossing_sheets(rng: Rng) -> Draft:
    """|x| - |y|: two sheets through each other along a line."""
    d = int(rng.integers(2, 4))
    a, b = rng.normal(size=(2, d)) if rng.random() < 0.5 else np.eye(d)[:2]
    weight = np.array([a, -a, b, -b])
    return Draft([(weight, np.zeros(4)), (np.array([[1.0, 1, -1, -1]]), np.zeros(1))])


@degenerate
def solids_that_touch(rng: Rng) -> Draft:
    """Two octahedra with a corner in common, or two cubes with an edge or a face."""
    d = int(rng.integers(2, 4))
    middles = np.zeros((2, d))
    middles[0, 0], middles[1, 0] = -0.25, 0.25
    if rng.random() < 0.5:
        middles[0, 1], middles[1, 1] = -0.25, 0.25
    signs = np.array(list(product([-1.0, 1.0], repeat=d)))
    rows = np.concatenate([np.eye(d), -np.eye(d)]) if rng.random() < 0.5 else signs
    n = len(rows)
    weight = np.concatenate([rows, rows])
    offsets = -(weight * np.repeat(middles, n, axis=0)).sum(axis=1) - 0.25
    return Draft(tree([(weight, offsets)], [("max", n), ("min", 2)]))


# Several components, thin and tiny things


@degenerate
def nested_shells(rng: Rng) -> Draft:
    """A zigzag of |x| + |y| + |z|: shells within shells."""
    d = int(rng.integers(2, 4))
    inner = absolutes(np.eye(d), rng.integers(-1, 2, d) * 0.125, 0.0)
    knots = np.array([0.25, 0.5, 0.75])
    weight = np.repeat(inner[1][0], 4, axis=0)
    out = np.array([[1.0, -2.0, 2.0, -2.0]])
    return Draft([inner[0], (weight, -np.array([0.0, *knots])), (out, np.array([-0.125]))])


@degenerate
def rotated_shells(rng: Rng) -> Draft:
    d = int(rng.integers(2, 4))
    inner = absolutes(rotation(rng, d), rng.normal(size=d) * 0.1, 0.0)
    weight = np.repeat(inner[1][0], 3, axis=0)
    bias = -np.array([0.0, 0.3, 0.5])
    return Draft([inner[0], (weight, bias), (np.array([[1.0, -2.0, 2.0]]), np.array([-0.2]))])


@degenerate
def several_octahedra(rng: Rng) -> Draft:
    """min of two octahedra apart from each other, and a third function."""
    d = 2
    middles = np.array([[-0.5, -0.5], [0.5, 0.5]])
    signs = np.array(list(product([-1.0, 1.0], repeat=d)))
    weight = np.concatenate([signs, signs])
    offsets = -(weight * np.repeat(middles, 4, axis=0)).sum(axis=1) - 0.25
    return Draft(tree([(weight, offsets)], [("max", 4), ("min", 2)]))


@degenerate
def tiny_surface(rng: Rng) -> Draft:
    """1e-5 across, at a random place."""
    d = int(rng.integers(2, 4))
    turn = rotation(rng, d) if rng.random() < 0.5 else np.eye(d)
    layers = absolutes(turn, -turn @ rng.uniform(-0.4, 0.4, d), 10 ** rng.uniform(-6, -4))
    return Draft(layers, -0.5, 0.5)


@degenerate
def tiny_tetrahedron(rng: Rng) -> Draft:
    layers = tree([(_unit_rows(rng, 4), np.zeros(4))], [("max", 4)])
    *before, (weight, bias) = moved(layers, rng.uniform(-0.3, 0.3, 3))
    return Draft([*before, (weight, bias - 1e-5)], -0.5, 0.5)


def _slab(rng: Rng, half: float) -> Draft:
    """|n x - c| - half, with folds across; solid for half > 0, a gap for the negative."""
    d = int(rng.integers(2, 4))
    row = rng.normal(size=d) if rng.random() < 0.7 else np.eye(d)[0]
    row /= np.linalg.norm(row)
    weight = np.array([row, -row, *rng.normal(size=(2, d))])
    offset = rng.uniform(-0.3, 0.3)
    bias = np.array([offset, -offset, *rng.uniform(-0.3, 0.3, 2)])
    share = 0.3 * half * rng.random(2) if rng.random() < 0.5 else np.zeros(2)
    return Draft([(weight, bias), (np.array([[1.0, 1.0, *share]]), np.array([-half]))])


@degenerate
def thin_sheet(rng: Rng) -> Draft:
    return _slab(rng, 0.5e-7)


@degenerate
def thinner_sheet(rng: Rng) -> Draft:
    return _slab(rng, 10 ** rng.uniform(-12, -8))


@degenerate
def thin_gap(rng: Rng) -> Draft:
    *before, (weight, bias) = _slab(rng, 0.5e-9).layers
    return Draft([*before, (-weight, -bias)])


# f = 0 where it does not change sign, and plateaus


@degenerate
def touches_zero_from_above(rng: Rng) -> Draft:
    """|g| or |x| + |y| + |z|: no surface."""
    d = int(rng.integers(2, 4))
    rows = rng.normal(size=(1, d)) if rng.random() < 0.5 else np.eye(d)
    return Draft(absolutes(rows, np.zeros(len(rows)), 0.0))


@degenerate
def touches_zero_from_below(rng: Rng) -> Draft:
    """-|g| or -|x| - |y| - |z|: no surface, for f < 0 on both sides."""
    *before, (weight, bias) = touches_zero_from_above(rng).layers
    return Draft([*before, (-weight, bias)])


@degenerate
def plateau_zero(rng: Rng) -> Draft:
    """f = relu(g) - relu(h): 0 on the region between."""
    d = int(rng.integers(2, 4))
    weight, bias = rng.normal(size=(4, d)), rng.normal(size=4) * 0.3
    out = np.array([[1.0, -1.0, *rng.choice([-1.0, 0.0, 1.0], 2)]])
    return Draft([(weight, bias), (out, np.zeros(1))])


@degenerate
def plateau_slab(rng: Rng) -> Draft:
    """relu(x - a) - relu(-x - a): 0 for |x| < a; or a solid behind a plateau."""
    d = int(rng.integers(2, 4))
    row = rng.normal(size=d) if rng.random() < 0.5 else np.eye(d)[0]
    half = rng.choice([0.25, 0.3, 1e-6])
    weight, bias = np.array([row, -row]), np.array([-half, -half])
    return Draft([(weight, bias), (np.array([[1.0, rng.choice([-1.0, -3.0])]]), np.zeros(1))])


@degenerate
def plateau_deep(rng: Rng) -> Draft:
    """relu(g) with g a small network, less a little or nothing: flat, and 0 on the flat part."""
    *before, (weight, bias) = random_network(rng)
    other = random_layers(rng, [weight.shape[1], 1])[0]
    hidden = np.concatenate([weight, other[0]]), np.concatenate([bias, other[1]])
    return Draft([*before, hidden, (np.array([[1.0, -1.0]]), np.zeros(1))])


@degenerate
def plateau_constant(rng: Rng) -> Draft:
    """Flat at -c on a region, with a surface around it."""
    *before, (weight, bias) = random_network(rng)
    return Draft(
        [*before, (weight, bias), (np.ones((1, 1)), np.array([-(10 ** rng.uniform(-9, -1))]))]
    )


@degenerate
def zero_network(rng: Rng) -> Draft:
    """f = 0 everywhere, or a constant."""
    layers = random_layers(rng, small_widths(rng))
    value = float(rng.choice([0.0, 1.0, -1.0]))
    return Draft([*layers[:-1], (0 * layers[-1][0], np.array([value]))])


# Copies and symmetry


@degenerate
def skip_connections(rng: Rng) -> Draft:
    network = dense_sdf_network(int(rng.integers(2, 4)), int(rng.integers(1, 3)))
    return Draft(arrays_of(network), -0.5, 0.5)


@degenerate
def copies_through_relu(rng: Rng) -> Draft:
    """Each layer hands on the position as relu(x) and relu(-x)."""
    d = int(rng.integers(2, 4))
    both = np.concatenate([np.eye(d), -np.eye(d)])
    back = both.T
    rows, bias = rng.normal(size=(3, d)), rng.normal(size=3) * 0.3
    first = np.concatenate([both, rows]), np.concatenate([np.zeros(2 * d), bias])
    wide = np.concatenate([both @ back, np.zeros((2 * d, 3))], axis=1)
    mixed = np.concatenate([rng.normal(size=(3, d)) @ back, rng.normal(size=(3, 3))], axis=1)
    second = (
        np.concatenate([wide, mixed]),
        np.concatenate([np.zeros(2 * d), rng.normal(size=3) * 0.3]),
    )
    out = np.concatenate([rng.normal(size=(1, d)) @ back, rng.normal(size=(1, 3))], axis=1)
    return Draft(centred(rng, [first, second, (out, np.zeros(1))]))


@degenerate
def mirror_symmetric(rng: Rng) -> Draft:
    """f(x, y, z) = f(-x, y, z): neurons in mirrored pairs."""
    (weight, bias), *rest = random_network(rng)
    mirror = np.eye(weight.shape[1])
    mirror[0, 0] = -1
    (following, last), *after = rest
    pair = np.concatenate([weight, weight @ mirror]), np.concatenate([bias, bias])
    return Draft(
        centred(rng, [pair, (np.concatenate([following, following], axis=1), last), *after])
    )


@degenerate
def fully_symmetric(rng: Rng) -> Draft:
    """A function of |x|, |y|, |z|."""
    layers = random_network(rng)
    d = layers[0][0].shape[1]
    both = np.concatenate([np.eye(d), -np.eye(d)])
    folded = [(both, np.zeros(2 * d)), (layers[0][0] @ np.abs(both.T), layers[0][1]), *layers[1:]]
    return Draft(centred(rng, folded))


@degenerate
def far_degenerate(rng: Rng) -> Draft:
    """An octahedron or a tetrahedron at 1e3 to 1e6, up to rounding of its biases."""
    layers = (octahedron if rng.random() < 0.5 else tetrahedron)(rng).layers
    offset = 10 ** rng.uniform(3, 6) * rng.normal(size=layers[0][0].shape[1])
    return Draft(moved(layers, offset), offset - 0.75, offset + 0.75)


@degenerate
def scaled_degenerate(rng: Rng) -> Draft:
    """An octahedron, a cube or a tetrahedron with all layers times one factor."""
    draft = (octahedron, cube, tetrahedron)[rng.integers(3)](rng)
    return draft._replace(layers=_scaled(draft.layers, 10 ** rng.uniform(-6, 6)))
