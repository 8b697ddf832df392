"""What a file holds, checked, before anything is made of it."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int

from shapeopt.errors import InputError
from shapeopt.mesh.planar import is_simple, plane_axes, triangulate


@dataclass(frozen=True)
class RawCloud:
    """What a file holds, in its own units and place.

    Attributes:
        points: [n, 3] float64. As read, a mesh's vertices; for training, samples of its triangles.
        normals: [n, 3] as in the file (of a mesh: of the triangles), or None.
        mesh: (vertices [v, 3] float64, faces [t, 3] int64) if the file holds a mesh.
        comments: the comment lines of a .ply header.
    """

    points: np.ndarray
    normals: np.ndarray | None = None
    mesh: tuple[np.ndarray, np.ndarray] | None = None
    comments: tuple[str, ...] = ()


@dataclass(frozen=True)
class Polygons:
    """Polygon i has the corners ``corners[sizes[:i].sum():][:sizes[i]]``, vertices from 0."""

    sizes: Int[np.ndarray, " f"]
    corners: Int[np.ndarray, " m"]

    @staticmethod
    def of(polygons: Sequence[Iterable[int]]) -> "Polygons":
        """From a list of polygons.

        Raises:
            InputError: a number of more than 64 bits.
        """
        lists = [list(polygon) for polygon in polygons]
        sizes = np.array([len(polygon) for polygon in lists], dtype=np.int64)
        try:
            corners = np.array([v for polygon in lists for v in polygon], dtype=np.int64)
        except OverflowError:
            raise InputError("a face names a vertex that is not there, damaged?") from None
        return Polygons(sizes, corners)

    @staticmethod
    def of_triangles(triangles: Int[np.ndarray, "t 3"]) -> "Polygons":
        """From rows of three."""
        return Polygons(np.full(len(triangles), 3), triangles.reshape(-1).astype(np.int64))


def cloud_or_mesh(
    vertices: Float[np.ndarray, "n 3"],
    polygons: Polygons,
    normals: Float[np.ndarray, "n 3"] | None = None,
    comments: tuple[str, ...] = (),
) -> RawCloud:
    """A mesh if there are polygons, and otherwise a cloud, with its normals if it has some.

    Raises:
        InputError: no points; a polygon of fewer than three corners, or with a corner that is not
            there.
    """
    if len(vertices) == 0:
        raise InputError("holds no points, damaged or cut short?")
    if len(polygons.sizes) == 0:
        return RawCloud(vertices, normals, comments=comments)
    few = polygons.sizes < 3
    if few.any():
        at = int(few.argmax())
        raise InputError(
            f"face {at} (counted from 0) has {polygons.sizes[at]} corners; damaged or cut short?"
        )
    bad = (polygons.corners < 0) | (polygons.corners >= len(vertices))
    if bad.any():
        face = int(np.repeat(np.arange(len(polygons.sizes)), polygons.sizes)[bad.argmax()])
        raise InputError(
            f"face {face} names vertex {polygons.corners[bad.argmax()]} (both counted from 0) of "
            f"{len(vertices)}, which is not there; damaged or cut short?"
        )
    return RawCloud(vertices, mesh=(vertices, triangles_of(vertices, polygons)), comments=comments)


def triangles_of(vertices: Float[np.ndarray, "n 3"], polygons: Polygons) -> Int[np.ndarray, "t 3"]:
    """Every polygon cut into two fewer triangles than corners, in the order of the polygons.

    A fan where it is right, which is in convex polygons; ears are clipped in others.
    """
    sizes = polygons.sizes
    starts = np.cumsum(sizes) - sizes
    first = np.repeat(starts, sizes - 2)
    counts = np.cumsum(sizes - 2) - (sizes - 2)
    step = np.arange(len(first)) - np.repeat(counts, sizes - 2)
    places = np.stack([first, first + step + 1, first + step + 2], axis=1)
    triangles = polygons.corners[places]
    for polygon in _folded_fans(vertices, triangles, sizes):
        corners = polygons.corners[starts[polygon] : starts[polygon] + sizes[polygon]]
        cut = slice(counts[polygon], counts[polygon] + sizes[polygon] - 2)
        triangles[cut] = _clipped(vertices, corners, triangles[cut])
    return triangles


def _folded_fans(
    vertices: Float[np.ndarray, "n 3"],
    triangles: Int[np.ndarray, "t 3"],
    sizes: Int[np.ndarray, " f"],
) -> list[int]:
    """Polygons whose fan has triangles that face against each other."""
    owner = np.repeat(np.arange(len(sizes)), sizes - 2)
    with np.errstate(all="ignore"):
        a, b, c = (vertices[triangles[:, i]] for i in range(3))
        areas = np.cross(b - a, c - a)
        total = np.zeros((len(sizes), 3))
        np.add.at(total, owner, areas)
        against = (areas * total[owner]).sum(axis=1) < 0
    return np.unique(owner[against]).tolist()


def _clipped(
    vertices: Float[np.ndarray, "n 3"],
    corners: Int[np.ndarray, " k"],
    fan: Int[np.ndarray, "t 3"],
) -> Int[np.ndarray, "t 3"]:
    """Triangles of a polygon that is not convex; its fan if in the plane it crosses itself."""
    points = vertices[corners] - vertices[corners[0]]
    normal = np.cross(points, np.roll(points, -1, axis=0)).sum(axis=0)
    length = np.linalg.norm(normal)
    if not 0 < length < np.inf:
        return fan
    flat = points @ plane_axes(normal / length).T
    return corners[np.array(triangulate(flat))] if is_simple(flat) else fan


def whole_numbers(rows: np.ndarray, what: str) -> Int[np.ndarray, "..."]:
    """Whole numbers that came as floating-point ones.

    Raises:
        InputError: one of them is not whole, or too large.
    """
    with np.errstate(invalid="ignore"):
        whole = rows.astype(np.int64)
    if not (np.abs(rows) < 2**53).all() or not (whole == rows).all():
        raise InputError(f"{what} must be whole numbers; damaged?")
    return whole
