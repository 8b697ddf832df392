"""The surface with only the folds that bend f, from the exact one.

Polygons that share an edge and lie in cells of equal gradient are one, unless together they have a
border that is not one simple loop; then they stay apart. Vertices are where three or more sides
meet, polygons that are left or planes of the box. In 2D segments take the place of polygons, and
vertices are where f bends or the box ends.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from fractions import Fraction
from itertools import combinations

import numpy as np

from tests.oracle.exact import Cell, Corner, ExactSurface, Facet, edges_of


@dataclass
class Counted:
    """What an extractor's surface is compared with.

    Attributes:
        vertices: positions from the middle of the box, ``[v, d]``.
        areas: of the polygons, sorted; in 2D lengths.
    """

    vertices: np.ndarray
    areas: np.ndarray


def with_all_folds(found: ExactSurface) -> Counted:
    """The exact surface as it is."""
    corners = list(dict.fromkeys(corner for polygon in found.polygons for corner in polygon))
    return _counted(found, corners, found.areas)


def coarse(found: ExactSurface) -> Counted:
    """The exact surface without the folds that do not bend f."""
    gradients = [gradient(cell) for cell in found.owners]
    beside: dict[frozenset[Corner], list[int]] = {}
    for index, polygon in enumerate(found.polygons):
        for edge in edges_of(polygon):
            beside.setdefault(edge, []).append(index)
    group = list(range(len(found.polygons)))
    for indices in beside.values():
        if len(indices) == 2 and gradients[indices[0]] == gradients[indices[1]]:
            one, two = (group[i] for i in indices)
            group = [one if name == two else name for name in group]
    for name in set(group):
        members = [i for i, other in enumerate(group) if other == name]
        if not _has_one_border([found.polygons[i] for i in members]):
            for i in members:
                group[i] = i
    sides: dict[Corner, set] = {}
    for index, polygon in enumerate(found.polygons):
        for corner in polygon:
            sides.setdefault(corner, set(corner.planes)).add(group[index])
    least = 2 if len(found.box[0]) == 2 else 3
    vertices = [corner for corner, names in sides.items() if len(names) >= least]
    areas = [
        math.fsum(area for area, other in zip(found.areas, group, strict=True) if other == name)
        for name in set(group)
    ]
    return _counted(found, vertices, areas)


def gradient(cell: Cell) -> tuple[Fraction, ...]:
    """Of f on a cell, times a factor that is the same on all cells.

    In homogeneous coordinates f is linear: it is known from as many independent corners.
    """
    size = len(cell.corners[0].point)
    for corners in combinations(cell.corners, size):
        rows = [[*map(Fraction, corner.point), Fraction(corner.f)] for corner in corners]
        if (solution := _solved(rows)) is not None:
            return tuple(solution[:-1])
    raise AssertionError("a cell without a volume")


def _solved(rows: list[list[Fraction]]) -> list[Fraction] | None:
    """Of linear equations with the right-hand side last; None if they are dependent."""
    size = len(rows)
    for column in range(size):
        pivot = next((i for i in range(column, size) if rows[i][column]), None)
        if pivot is None:
            return None
        rows[column], rows[pivot] = rows[pivot], rows[column]
        rows[column] = [entry / rows[column][column] for entry in rows[column]]
        for i, row in enumerate(rows):
            if i != column and (factor := row[column]):
                rows[i] = [a - factor * b for a, b in zip(row, rows[column], strict=True)]
    return [row[-1] for row in rows]


def _has_one_border(polygons: list[Facet]) -> bool:
    """Whether the edges of one of the polygons alone form one loop without a repeated corner."""
    if len(polygons[0]) == 2:
        return True
    directed = {
        (start, end)
        for polygon in polygons
        for start, end in zip(polygon, [*polygon[1:], polygon[0]], strict=True)
    }
    border = [(start, end) for start, end in directed if (end, start) not in directed]
    following = dict(border)
    if len(following) < len(border):
        return False
    at, steps = following[border[0][0]], 1
    while at is not border[0][0]:
        at, steps = following[at], steps + 1
    return steps == len(border)


def _counted(found: ExactSurface, corners: list[Corner], areas: list[float]) -> Counted:
    """In units of the box."""
    dimension, size = len(found.box[0]), float(found.size)
    places = found.places(tuple(corners)).reshape(-1, dimension)
    return Counted(size * places, np.sort(areas) * size ** (dimension - 1))
