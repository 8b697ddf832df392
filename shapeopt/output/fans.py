"""Polygons that any program reads right: most cut one into a fan of triangles at its first corner.

That is wrong where a triangle of the fan lies outside the polygon. Such a polygon starts at another
corner; where none has a right fan, it is written in pieces.
"""

from itertools import pairwise

import numpy as np
from jaxtyping import Float, Int

from shapeopt.mesh.planar import plane_axes
from shapeopt.output.mesh_arrays import MeshArrays

CLEAR = 1e-9
"""Twice the area of a triangle over its polygon's squared extent: with more it is no sliver."""
ROUNDING = 1e-12
"""A triangle turned over by less than this is one without area."""


def right_fans(mesh: MeshArrays) -> tuple[MeshArrays, Int[np.ndarray, " g"]]:
    """The mesh with faces whose fans at the first corner are right, and the polygon of each.

    Edges and triangles stay those of the polygons; no vertex is added.

    Args:
        mesh: of simple polygons that are flat, or nearly.
    """
    normals = mesh.normals()
    first = mesh.offsets[:-1] - 2 * np.arange(len(normals))  # triangle of each polygon
    faces = [[mesh.corners[a:b].tolist()] for a, b in pairwise(mesh.offsets.tolist())]
    for i in np.flatnonzero(_least_of_fans(mesh, normals) < CLEAR).tolist():
        (ring,) = faces[i]
        triangles = mesh.triangle_vertices[first[i] : first[i] + len(ring) - 2]
        flat = (mesh.vertices[ring] - mesh.vertices[ring[0]]) @ plane_axes(normals[i]).T
        points = dict(zip(ring, flat, strict=True))
        faces[i] = _pieces(points, ring, triangles.tolist())
    flattened = [ring for pieces in faces for ring in pieces]
    owners = np.repeat(np.arange(len(faces)), [len(pieces) for pieces in faces])
    offsets = np.cumsum([0, *map(len, flattened)])
    corners = np.array([corner for ring in flattened for corner in ring], dtype=np.int64)
    return mesh._replace(offsets=offsets, corners=corners), owners


def _least_of_fans(mesh: MeshArrays, normals: Float[np.ndarray, "f 3"]) -> Float[np.ndarray, " f"]:
    """Per polygon the least triangle of the fan at its first corner, see `CLEAR`.

    One without a normal has no area, and no fan is better than another: infinite.
    """
    points, owner = mesh.vertices[mesh.corners], mesh.owners
    arms = points - points[mesh.offsets[:-1]][owner]
    crosses = np.cross(arms[:-1], arms[1:])
    # Pairs of neighbours in one polygon; with its first corner they have no area.
    inside = (owner[1:] == owner[:-1]) & (np.arange(len(crosses)) != mesh.offsets[owner[:-1]])
    extent, least = np.zeros(len(normals)), np.full(len(normals), np.inf)
    np.maximum.at(extent, owner, (arms**2).sum(axis=1))
    heights = (crosses * normals[owner[:-1]]).sum(axis=1) / np.maximum(extent[owner[:-1]], 1e-300)
    np.minimum.at(least, owner[:-1][inside], heights[inside])
    return np.where(normals.any(axis=1), least, np.inf)


Points = dict[int, Float[np.ndarray, "2"]]


def _pieces(points: Points, ring: list[int], triangles: list[list[int]]) -> list[list[int]]:
    """The polygon itself from its best corner; or, made of its triangles, a few with right fans."""
    whole, least = _from_best_corner(points, ring)
    if least > -ROUNDING:
        return [whole]
    piece_at = {side: triangle for triangle in triangles for side in _sides(triangle)}
    diagonals = [(a, b) for a, b in piece_at if a < b and (b, a) in piece_at]
    for a, b in diagonals:
        joined, least = _from_best_corner(points, _joined(piece_at[a, b], piece_at[b, a], a, b))
        if least > CLEAR:
            del piece_at[a, b], piece_at[b, a]
            piece_at |= dict.fromkeys(_sides(joined), joined)
    return list({id(piece): piece for piece in piece_at.values()}.values())


def _sides(ring: list[int]) -> list[tuple[int, int]]:
    return list(zip(ring, ring[1:] + ring[:1], strict=True))


def _joined(one: list[int], two: list[int], a: int, b: int) -> list[int]:
    """Two pieces without the side that one runs from a to b and two from b to a."""
    start, stop = one.index(b), two.index(a)
    return [*one[start:], *one[:start], *(two[stop:] + two[:stop])[1:-1]]


def _from_best_corner(points: Points, ring: list[int]) -> tuple[list[int], float]:
    """The ring from the corner whose fan has the largest least triangle, see `CLEAR`; and that."""
    flat = np.array([points[corner] for corner in ring])
    n = len(ring)
    arms = flat[(np.arange(n)[:, None] + np.arange(1, n)) % n] - flat[:, None]
    one, two = arms[:, :-1], arms[:, 1:]
    least = (one[..., 0] * two[..., 1] - one[..., 1] * two[..., 0]).min(axis=1)
    least /= max(float((arms**2).sum(axis=2).max()), 1e-300)
    best = int(least.argmax())
    return [*ring[best:], *ring[:best]], float(least[best])
