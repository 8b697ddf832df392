"""From labelled triangles to polygons: what lies connected in one plane is one face."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Int

from shapeopt.errors import ExtractionError
from shapeopt.extraction.halfspaces.arrangement import Borders
from shapeopt.extraction.halfspaces.union import LabelledTriangles, manifold_library
from shapeopt.mesh.planar import contains, plane_axes


class Faces(NamedTuple):
    """Polygons of a closed mesh, each with one border of distinct corners.

    Attributes:
        loops: corners, counter-clockwise seen from outside.
        planes: the plane of each.
        split: faces that had to be cut, because they have holes or touch themselves.
    """

    loops: list[list[int]]
    planes: list[int]
    split: int


def faces_of(mesh: LabelledTriangles, normals: Float[np.ndarray, "p 3"]) -> Faces:
    """Merges neighbouring triangles of one plane.

    A vertex where only two planes meet lies on a straight edge and is left out. A face with a
    hole, or one that touches itself in a vertex, is cut along edges between its own vertices into
    a few simple polygons.

    Args:
        mesh: the triangles.
        normals: unit normal of each plane.

    Raises:
        ExtractionError: if the triangles are not closed.
    """
    twin = _twins(mesh.triangles)
    region = _regions(mesh, twin)
    loops = _border_loops(mesh, twin, region)
    is_corner = _corners(mesh)
    of_region: dict[int, list[list[int]]] = {}
    for half_edges in loops:
        owner = int(region[half_edges[0] // 3])
        loop = [v for v in mesh.triangles.flat[half_edges].tolist() if is_corner[v]]
        of_region.setdefault(owner, []).append(loop)
    plane_of = np.zeros(int(region.max()) + 1, dtype=np.int64)
    plane_of[region] = mesh.planes
    found = Faces([], [], 0)
    for owner in sorted(of_region):
        # What is left with two corners or fewer has no extent; its neighbours meet without it.
        borders = [loop for loop in of_region[owner] if len(loop) >= 3]
        if not borders:
            continue
        plane = int(plane_of[owner])
        pieces = borders
        if len(borders) > 1 or len(set(borders[0])) < len(borders[0]):
            pieces = _simple_pieces(mesh.vertices, borders, normals[plane])
            found = found._replace(split=found.split + 1)
        found.loops.extend(pieces)
        found.planes.extend([plane] * len(pieces))
    return found


def faces_within(borders: Borders, normals: Float[np.ndarray, "p 3"]) -> Faces:
    """The faces with the given borders, cut in the same way.

    Args:
        borders: of all faces.
        normals: unit normal of each plane.
    """
    found = Faces([], [], 0)
    areas = _areas(borders, normals)
    of_plane: dict[int, list[int]] = {}
    for loop, plane in enumerate(borders.planes.tolist()):
        of_plane.setdefault(plane, []).append(loop)
    for plane, own in of_plane.items():
        faces: dict[int, list[int]] = {loop: [] for loop in own if areas[loop] > 0}
        for hole in own:
            if hole not in faces:
                faces[_around(borders, hole, list(faces), areas, normals[plane])].append(hole)
        for outer, holes in faces.items():
            loops = [borders.loops[loop] for loop in (outer, *holes)]
            if holes:
                loops = _simple_pieces(borders.vertices, loops, normals[plane])
                found = found._replace(split=found.split + 1)
            found.loops.extend(loops)
            found.planes.extend([plane] * len(loops))
    return found


def _areas(borders: Borders, normals: Float[np.ndarray, "p 3"]) -> Float[np.ndarray, "l"]:
    """Area within each border, negative for holes."""
    sizes = np.array([len(loop) for loop in borders.loops])
    starts = np.cumsum(sizes) - sizes
    corners = borders.vertices[np.concatenate(borders.loops)]
    following = np.arange(len(corners)) + 1
    following[starts + sizes - 1] = starts
    corners -= np.repeat(corners[starts], sizes, axis=0)
    areas = np.add.reduceat(np.cross(corners, corners[following]), starts, axis=0)
    return (areas * normals[borders.planes]).sum(axis=1) / 2


def _around(
    borders: Borders,
    hole: int,
    outer: Sequence[int],
    areas: Float[np.ndarray, "l"],
    normal: Float[np.ndarray, "3"],
) -> int:
    """The smallest of the outer borders in a plane that a hole lies within."""
    if len(outer) == 1:
        return outer[0]
    axes = plane_axes(normal)
    point = axes @ borders.vertices[borders.loops[hole][0]]
    around = [x for x in outer if contains(borders.vertices[borders.loops[x]] @ axes.T, point)]
    if not around:
        raise ExtractionError("a hole lies in no face of the union; please report the network")
    return min(around, key=lambda x: areas[x])


def _twins(triangles: Int[np.ndarray, "t 3"]) -> Int[np.ndarray, "h"]:
    """For each half-edge, 3 t + i from corner i of t to the next, the one back."""
    start = triangles.flatten()
    end = np.roll(triangles, -1, axis=1).flatten()
    count = int(start.max()) + 1
    names, back = start * count + end, end * count + start
    order = np.argsort(names)
    place = np.minimum(np.searchsorted(names[order], back), len(order) - 1)
    twin = order[place]
    if not np.array_equal(names[twin], back) or len(np.unique(twin)) < len(twin):
        raise ExtractionError("the union of the parts is not closed; please report the network")
    return twin


def _regions(mesh: LabelledTriangles, twin: Int[np.ndarray, "h"]) -> Int[np.ndarray, "t"]:
    """Number of the connected piece of one plane that each triangle is part of."""
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    one, two = np.arange(len(twin)) // 3, twin // 3
    same = mesh.planes[one] == mesh.planes[two]
    shape = (len(mesh.triangles),) * 2
    graph = coo_array((np.ones(int(same.sum()), np.int8), (one[same], two[same])), shape=shape)
    return connected_components(graph, directed=False)[1].astype(np.int64)


def _border_loops(
    mesh: LabelledTriangles, twin: Int[np.ndarray, "h"], region: Int[np.ndarray, "t"]
) -> list[Int[np.ndarray, "n"]]:
    """Half-edges of each closed border of each region, in order."""
    triangle = np.arange(len(twin)) // 3
    is_border = region[triangle] != region[twin // 3]
    step = 3 * triangle + (np.arange(len(twin)) + 1) % 3
    # From the end of a border half-edge turn about the vertex until the next one of the region.
    border = np.flatnonzero(is_border)
    following = step[border]
    while True:
        inside = ~is_border[following]
        if not inside.any():
            break
        following = np.where(inside, step[twin[following]], following)
    jump = dict(zip(border.tolist(), following.tolist(), strict=True))
    loops = []
    done: set[int] = set()
    for first in border.tolist():
        if first in done:
            continue
        loop = [first]
        while (at := jump[loop[-1]]) != first:
            loop.append(at)
        done.update(loop)
        loops.append(np.array(loop))
    return loops


def _corners(mesh: LabelledTriangles) -> Bool[np.ndarray, "v"]:
    """Whether three or more planes meet in a vertex."""
    count = int(mesh.planes.max()) + 1
    met = np.unique(mesh.triangles.flatten() * count + np.repeat(mesh.planes, 3))
    return np.bincount(met // count, minlength=len(mesh.vertices)) >= 3


def _simple_pieces(
    vertices: Float[np.ndarray, "v 3"],
    borders: Sequence[Sequence[int]],
    normal: Float[np.ndarray, "3"],
) -> list[list[int]]:
    """Cuts a flat face with several borders into simple polygons, as few as merging finds.

    Its triangles are merged across their longest common edges first, wherever the result has one
    border of distinct corners.
    """
    corner = [v for border in borders for v in border]
    axes = plane_axes(normal)
    flat = [vertices[list(border)] @ axes.T for border in borders]
    triangles = manifold_library().triangulate(flat)
    pieces = {i: [corner[j] for j in triangle] for i, triangle in enumerate(triangles.tolist())}
    owner = {side: name for name, loop in pieces.items() for side in _sides(loop)}
    inner = [(u, v) for u, v in owner if u < v and (v, u) in owner]
    inner.sort(key=lambda side: -float(np.linalg.norm(vertices[side[0]] - vertices[side[1]])))
    for u, v in inner:
        one, two = owner[u, v], owner[v, u]
        if one == two:
            continue
        a, b = pieces[one], pieces[two]
        i, j = a.index(u), b.index(v)
        # Round the first from v to u, then round the second from u to v.
        merged = a[i + 1 :] + a[: i + 1] + (b[j + 1 :] + b[: j + 1])[1:-1]
        if len(set(merged)) < len(merged):
            continue
        pieces[one] = merged
        owner.update(dict.fromkeys(_sides(merged), one))
        del pieces[two]
    return list(pieces.values())


def _sides(loop: Sequence[int]) -> list[tuple[int, int]]:
    """Directed edges of a loop."""
    return list(zip(loop, [*loop[1:], loop[0]], strict=True))
