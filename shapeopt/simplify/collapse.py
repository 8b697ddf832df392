"""Fewer triangles for a mesh: edges are collapsed, the cheapest first."""

import numpy as np
import torch

from shapeopt.errors import InputError
from shapeopt.mesh.polygon_mesh import PolygonMesh


def collapse_edges(
    mesh: PolygonMesh, triangles: int | None = None, error: float | None = None
) -> PolygonMesh:
    """Collapses edges until few enough triangles are left, or all others cost too much.

    A vertex remembers the planes of the triangles it has come from, as a quadric (Garland and
    Heckbert, *Surface simplification using quadric error metrics*, SIGGRAPH 1997). The planes
    are the polygons' own, so a sliver counts as what it is part of. The cost of a collapse is the
    squared distance to these planes, summed over their areas. A collapse that would turn a triangle
    over, or make the surface touch itself in an edge, is left out: what was a closed manifold stays
    one.

    Args:
        mesh: closed, in 3D; it is triangulated first. Nothing is differentiated.
        triangles: to stop at; None for no number.
        error: largest root mean square distance to these planes after a collapse, in units of the
            vertices; None for no bound.

    Raises:
        InputError: for a mesh that is not closed, fewer than 4 triangles, a negative error, and
            if neither is given.
    """
    if triangles is None and error is None:
        raise InputError("give a number of triangles, an error, or both")
    if triangles is not None and triangles < 4:
        raise InputError(f"triangles is {triangles}; a closed surface has at least 4")
    if error is not None and not (np.isfinite(error) and error >= 0):
        raise InputError(f"error is {error}; it must be a length, 0 or more")
    if not mesh.is_closed:
        raise InputError("only closed surfaces are collapsed")
    # Imported here, so that importing the package does not load the compiler.
    from shapeopt.simplify.collapse_compiled import collapse

    points = mesh.vertices.detach().double().cpu().numpy().copy()
    corners = mesh.triangles().cpu().numpy().copy()
    normals = mesh.face_normals.detach().double().cpu().numpy()
    normals = normals[mesh.triangle_faces().cpu().numpy()]
    error = np.inf if error is None else error
    is_left = collapse(points, corners, normals, triangles or 4, error)
    used, place = np.unique(corners[is_left], return_inverse=True)
    polygons = place.reshape(-1, 3).tolist()
    return PolygonMesh.from_polygons(torch.from_numpy(points[used]), polygons)
