"""The surface of a small network in exact arithmetic: the judge that extractors are held to.

Shares no code and no idea with the extractors. The box is a convex polytope. It is cut by the
first neuron into at most two, each of these by the second neuron, and so on, the output last: what
is left are convex cells on which the network is affine. A cell is the list of its facets, a facet
the list of its corners; there are no sign-vectors, keys, tolerances or edges to be paired.

All numbers are integers. A weight is an integer times a power of two, and a common power does not
change the sign of a pre-activation, since a ReLU passes positive factors on. A point is
(x, y, z, w) with w > 0 and stands for (x / w, y / w, z / w); the point of the segment u v where a
neuron is 0 is |value at v| u + |value at u| v, whatever the factors. Every value at a point is
found by running the network there.

The surface is the boundary of {f < 0} within the open box: the facets with a cell of f < 0 on one
side and a cell of f >= 0 on the other.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from functools import cached_property
from itertools import pairwise

import numpy as np
from torch import nn

Point = tuple[int, ...]
"""Homogeneous coordinates, the last one positive, without a common divisor."""


@dataclass(eq=False)
class Corner:
    """A vertex of cells. There is one object for each point, so identity is equality.

    Attributes:
        point: where it lies.
        values: pre-activations of all neurons there, the output last, times positive factors.
        planes: the planes of the box it lies on, as (axis, side).
    """

    point: Point
    values: list[int]
    planes: frozenset[tuple[int, int]]

    @property
    def f(self) -> int:
        """The output there, times a positive factor."""
        return self.values[-1]


Facet = tuple[Corner, ...]
"""In 3D the corners of a polygon, counter-clockwise seen from outside its cell; in 2D a segment,
with the cell to its left."""


@dataclass
class Cell:
    """A convex cell, with the facets around it."""

    facets: list[Facet]

    @cached_property
    def corners(self) -> list[Corner]:
        """Its corners, each once."""
        return list(dict.fromkeys(corner for facet in self.facets for corner in facet))

    def sign(self, neuron: int) -> int:
        """Of a neuron that has cut it: -1, 0 if it is 0 everywhere, or 1."""
        values = [corner.values[neuron] for corner in self.corners]
        return (max(values) > 0) - (min(values) < 0)


class ExactNetwork:
    """Linear, ReLU, ..., Linear with weights and biases as the rationals that the floats are.

    Args:
        network: the modules.
        shift: to add to the output.
    """

    def __init__(self, network: nn.Sequential, shift: Fraction | int = 0):
        linear = [module for module in network if isinstance(module, nn.Linear)]
        self.dimension = linear[0].in_features
        self.widths = [module.out_features for module in linear]
        self.layers: list[list[list[int]]] = []
        factor = 1
        for module in linear:
            rows = [[Fraction(weight) for weight in row] for row in module.weight.detach().tolist()]
            biases = [Fraction(bias) for bias in module.bias.detach().tolist()]
            if module is linear[-1]:
                biases[0] += shift
            # The layers before are `factor` times too large, and so must this bias be.
            rows = [[*row, bias * factor] for row, bias in zip(rows, biases, strict=True)]
            common = math.lcm(*(entry.denominator for row in rows for entry in row))
            self.layers.append([[int(entry * common) for entry in row] for row in rows])
            factor *= common

    def values_at(self, point: Point) -> list[int]:
        """All pre-activations at a point, times positive factors."""
        *inputs, w = point
        found: list[int] = []
        for layer in self.layers:
            values = [
                sum(map(int.__mul__, row, inputs), row[-1] * w)  # the row is longer by the bias
                for row in layer
            ]
            found += values
            inputs = [max(value, 0) for value in values]
        return found


class Cutter:
    """Makes the corners of a network's cells in a box, each once."""

    def __init__(self, network: ExactNetwork, lower: Sequence[float], upper: Sequence[float]):
        self.network = network
        self.lower = [Fraction(x) for x in lower]
        self.upper = [Fraction(x) for x in upper]
        self.crossings: dict[frozenset[Corner], Corner] = {}

    def corner(self, point: Iterable[int]) -> Corner:
        """The corner at a point that has none yet."""
        point = tuple(point)
        divisor = math.gcd(*point)
        point = tuple(x // divisor for x in point)
        planes = {
            (axis, side)
            for axis in range(self.network.dimension)
            for side, bound in enumerate((self.lower[axis], self.upper[axis]))
            if point[axis] * bound.denominator == bound.numerator * point[-1]
        }
        return Corner(point, self.network.values_at(point), frozenset(planes))

    def box(self) -> Cell:
        """The box as a cell."""
        corners = {}
        for sides in np.ndindex(*[2] * self.network.dimension):
            position = [(self.lower, self.upper)[side][axis] for axis, side in enumerate(sides)]
            w = math.lcm(*(x.denominator for x in position))
            corners[sides] = self.corner([*(int(x * w) for x in position), w])
        if self.network.dimension == 2:
            ring = [corners[sides] for sides in ((0, 0), (1, 0), (1, 1), (0, 1))]
            return Cell(list(_sides(ring)))
        facets = []
        for axis in range(3):
            for side in range(2):
                ring = []
                for one, two in ((0, 0), (1, 0), (1, 1), (0, 1)):
                    at = [side, one, two] if side else [side, two, one]
                    ring.append(corners[tuple(np.roll(at, axis).tolist())])
                facets.append(tuple(ring))
        return Cell(facets)

    def cut(self, cell: Cell, neuron: int) -> list[Cell]:
        """The parts of a cell where a neuron that is affine on it is negative, and positive."""
        values = [corner.values[neuron] for corner in cell.corners]
        if min(values) >= 0 or max(values) <= 0:
            return [cell]
        return [self.part(cell, neuron, side) for side in (-1, 1)]

    def part(self, cell: Cell, neuron: int, side: int) -> Cell:
        """The part of a cell on one side of the neuron, which changes sign on it."""
        facets = []
        follower: dict[Corner, Corner] = {}
        in_plane = cell_dimension(cell) == 3
        for facet in cell.facets:
            if not any(corner.values[neuron] * side > 0 for corner in facet):
                continue
            kept = list(self.clipped(facet, neuron, side))
            facets.append(tuple(kept))
            # The new facet runs through its edges the other way.
            edges = _sides(kept) if in_plane else [(kept[0], kept[1])]
            for start, end in edges:
                if in_plane and start.values[neuron] == end.values[neuron] == 0:
                    follower[end] = start
        if in_plane:
            ring = [next(iter(follower))]
            while (corner := follower[ring[-1]]) is not ring[0]:
                ring.append(corner)
            return Cell([*facets, tuple(ring)])
        (start,) = [facet[1] for facet in facets if facet[1].values[neuron] == 0]
        (end,) = [facet[0] for facet in facets if facet[0].values[neuron] == 0]
        return Cell([*facets, (start, end)])

    def clipped(self, facet: Facet, neuron: int, side: int) -> Iterator[Corner]:
        """The corners of the part of a facet on one side of the neuron."""
        edges = list(_sides(facet)) if len(facet) > 2 else [(facet[0], facet[1])]
        for start, end in edges:
            if start.values[neuron] * side >= 0:
                yield start
            if start.values[neuron] * end.values[neuron] < 0:
                yield self.crossing(start, end, neuron)
        if len(facet) == 2 and facet[1].values[neuron] * side >= 0:
            yield facet[1]

    def crossing(self, start: Corner, end: Corner, neuron: int) -> Corner:
        """Where the neuron is 0 between two corners at which it has opposite signs."""
        ends = frozenset((start, end))
        if ends not in self.crossings:
            # Values carry the w of their points, which is what makes this the right mixture.
            a, b = abs(end.values[neuron]), abs(start.values[neuron])
            pairs = zip(start.point, end.point, strict=True)
            self.crossings[ends] = self.corner(a * u + b * v for u, v in pairs)
        return self.crossings[ends]


def cell_dimension(cell: Cell) -> int:
    """2 or 3."""
    return len(cell.facets[0][0].point) - 1


def cells_of(network: ExactNetwork, lower: Sequence[float], upper: Sequence[float]) -> list[Cell]:
    """The convex cells of the box on which the network is affine and its output has one sign."""
    cutter = Cutter(network, lower, upper)
    cells = [cutter.box()]
    for neuron in range(sum(network.widths)):
        cells = [part for cell in cells for part in cutter.cut(cell, neuron)]
    return cells


@dataclass
class ExactSurface:
    """The boundary of {f < 0} in the open box, and what else there is to know of f = 0.

    Lengths are in units of the box's longest side, relative to its centre, where they are floats:
    each is the exact number, rounded once.

    Attributes:
        polygons: its facets, counter-clockwise seen from f >= 0; in 2D segments.
        owners: the cell with f < 0 behind each.
        corners: all corners of all cells.
        box: lower and upper corner.
        volume: of {f < 0} in the box; in 2D its area.
        zero_volume: of {f = 0} in the box.
        wall_area: of the facets in the box's own faces on which f = 0, with f < 0 behind.
        sheet_area: of the facets with f = 0 between two cells with f < 0, counted once.
        ridge_area: of the facets with f = 0 between two cells with f > 0, counted once.
    """

    polygons: list[Facet]
    owners: list[Cell]
    corners: list[Corner] = field(repr=False)
    box: tuple[list[Fraction], list[Fraction]]
    volume: float
    zero_volume: float
    wall_area: float
    sheet_area: float
    ridge_area: float

    @property
    def size(self) -> Fraction:
        """Longest side of the box."""
        return max(high - low for low, high in zip(*self.box, strict=True))

    @cached_property
    def areas(self) -> list[float]:
        """Of each polygon; in 2D the lengths."""
        return [facet_area(polygon, self.size) for polygon in self.polygons]

    @property
    def area(self) -> float:
        """Of the surface; in 2D its length."""
        return math.fsum(self.areas)

    @cached_property
    def edge_counts(self) -> Counter[frozenset[Corner]]:
        """How many polygons each edge has; in 2D, how many segments each vertex has."""
        return Counter(edge for polygon in self.polygons for edge in edges_of(polygon))

    @property
    def is_closed(self) -> bool:
        """Whether each edge has an even number of polygons, or lies in a face of the box."""
        return all(
            count % 2 == 0 or frozenset.intersection(*(corner.planes for corner in edge))
            for edge, count in self.edge_counts.items()
        )

    @property
    def leaves_box(self) -> bool:
        """Whether some edge lies in a face of the box."""
        return any(
            frozenset.intersection(*(corner.planes for corner in edge)) for edge in self.edge_counts
        )

    @property
    def is_manifold(self) -> bool:
        """Whether no edge has more than two polygons."""
        return max(self.edge_counts.values(), default=0) <= 2

    @property
    def touches(self) -> bool:
        """Whether f is 0 somewhere in the closed box where it does not change sign."""
        surface = {corner for polygon in self.polygons for corner in polygon}
        return any(corner.f == 0 and corner not in surface for corner in self.corners)

    @cached_property
    def num_components(self) -> int:
        """Parts of the surface that are connected through edges (in 2D: vertices)."""
        group = list(range(len(self.polygons)))

        def root(i: int) -> int:
            while group[i] != i:
                group[i] = i = group[group[i]]
            return i

        first: dict[frozenset[Corner], int] = {}
        for index, polygon in enumerate(self.polygons):
            for edge in edges_of(polygon):
                group[root(index)] = root(first.setdefault(edge, index))
        return sum(group[i] == i for i in range(len(group)))

    def places(self, polygon: Facet) -> np.ndarray:
        """Corners ``[n, d]`` from the centre of the box, in units of its longest side."""
        centre = [(low + high) / 2 for low, high in zip(*self.box, strict=True)]
        return np.array([place(corner.point, centre, self.size) for corner in polygon])


def exact_surface(
    network: nn.Sequential | ExactNetwork,
    lower: Sequence[float],
    upper: Sequence[float],
    *,
    shift: Fraction | int = 0,
) -> ExactSurface:
    """The surface of a network of Linear, ReLU, ..., Linear with 2 or 3 inputs and one output.

    Args:
        network: the modules; every Linear has a bias. Or any network in exact arithmetic.
        lower, upper: corners of the box.
        shift: to add to the output of modules.
    """
    exact = network if isinstance(network, ExactNetwork) else ExactNetwork(network, shift)
    cells = cells_of(exact, lower, upper)
    box = [Fraction(x) for x in lower], [Fraction(x) for x in upper]
    size = max(high - low for low, high in zip(*box, strict=True))
    around: dict[frozenset[Corner], list[tuple[Facet, Cell]]] = {}
    for cell in cells:
        for facet in cell.facets:
            around.setdefault(frozenset(facet), []).append((facet, cell))
    polygons, owners = [], []
    wall, sheet, ridge = [], [], []
    for sides in around.values():
        facet = sides[0][0]
        in_wall = bool(frozenset.intersection(*(corner.planes for corner in facet)))
        assert len(sides) == (1 if in_wall else 2), "the cells do not fit together"
        if any(corner.f for corner in facet):
            continue
        signs = [cell.sign(-1) for _, cell in sides]
        if signs == [-1]:
            wall.append(facet)
        elif signs == [-1, -1]:
            sheet.append(facet)
        elif signs == [1, 1]:
            ridge.append(facet)
        elif -1 in signs:
            facet, cell = sides[signs.index(-1)]
            polygons.append(facet)
            owners.append(cell)
    return ExactSurface(
        polygons,
        owners,
        list(dict.fromkeys(corner for cell in cells for corner in cell.corners)),
        box,
        volume=math.fsum(cell_volume(cell, size) for cell in cells if cell.sign(-1) < 0),
        zero_volume=math.fsum(cell_volume(cell, size) for cell in cells if cell.sign(-1) == 0),
        wall_area=math.fsum(facet_area(facet, size) for facet in wall),
        sheet_area=math.fsum(facet_area(facet, size) for facet in sheet),
        ridge_area=math.fsum(facet_area(facet, size) for facet in ridge),
    )


def edges_of(polygon: Facet) -> list[frozenset[Corner]]:
    """Edges of a polygon; in 2D, where it is a segment, its two ends."""
    if len(polygon) == 2:
        return [frozenset((corner,)) for corner in polygon]
    return [frozenset(ends) for ends in _sides(polygon)]


def place(point: Point, centre: Sequence[Fraction], size: Fraction) -> list[float]:
    """(point - centre) / size, rounded once."""
    *x, w = point
    return [float((Fraction(a, w) - c) / size) for a, c in zip(x, centre, strict=True)]


def difference(start: Point, end: Point, size: Fraction) -> list[float]:
    """(end - start) / size, rounded once."""
    below = start[-1] * end[-1] * size.numerator
    return [
        (b * start[-1] - a * end[-1]) * size.denominator / below
        for a, b in zip(start[:-1], end[:-1], strict=True)
    ]


def facet_area(facet: Facet, size: Fraction) -> float:
    """Area of a polygon, or length of a segment, in units of the size."""
    arms = np.array([difference(facet[0].point, corner.point, size) for corner in facet[1:]])
    if len(facet) == 2:
        return math.hypot(*arms[0])
    return float(np.linalg.norm(np.cross(arms[:-1], arms[1:]).sum(axis=0))) / 2


def cell_volume(cell: Cell, size: Fraction) -> float:
    """Volume of a 3D cell, or area of a 2D one, in units of the size."""
    apex = cell.corners[0].point
    arms = {corner: difference(apex, corner.point, size) for corner in cell.corners}
    total = 0.0
    for first, *rest in cell.facets:
        if len(rest) == 1:
            (a, b), (c, d) = arms[first], arms[rest[0]]
            total += (a * d - b * c) / 2
            continue
        for second, third in pairwise(rest):
            total += float(np.dot(arms[first], np.cross(arms[second], arms[third]))) / 6
    return total


def _sides(ring: Sequence[Corner]) -> Iterator[tuple[Corner, Corner]]:
    return zip(ring, [*ring[1:], ring[0]], strict=True)
