"""The union of convex parts as triangles, each on a known plane."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Int

from shapeopt.errors import ExtractionError, InputError
from shapeopt.extraction.halfspaces.polytope import Polytope


class LabelledTriangles(NamedTuple):
    """A closed triangle mesh.

    Attributes:
        vertices: float64.
        triangles: counter-clockwise seen from outside.
        planes: the plane that each triangle lies on.
    """

    vertices: Float[np.ndarray, "v 3"]
    triangles: Int[np.ndarray, "t 3"]
    planes: Int[np.ndarray, "t"]


def union_of(parts: Sequence[Polytope], names: Sequence[Int[np.ndarray, "_"]]) -> LabelledTriangles:
    """The border of the union, by manifold3d, whose booleans are closed whatever rounding does.

    Args:
        parts: at least one.
        names: for each part the number of each of its planes.

    Raises:
        InputError: if manifold3d is not installed.
        ExtractionError: if the boolean fails.
    """
    library = manifold_library()
    solids = [solid_of(part, name) for part, name in zip(parts, names, strict=True)]
    union = library.Manifold.batch_boolean(solids, library.OpType.Add)
    if union.status() != library.Error.NoError:
        raise ExtractionError(f"the union of the parts could not be built ({union.status()})")
    mesh = union.to_mesh64()
    return LabelledTriangles(
        np.asarray(mesh.vert_properties)[:, :3].astype(np.float64),
        np.asarray(mesh.tri_verts).astype(np.int64),
        np.asarray(mesh.face_id).astype(np.int64),
    )


def solid_of(part: Polytope, names: Int[np.ndarray, "p"]):
    """A part as a solid of manifold3d, its triangles named after their planes.

    Raises:
        InputError: if manifold3d is not installed.
        ExtractionError: if it does not take the part for a solid.
    """
    library = manifold_library()
    mesh = library.Mesh64(
        np.ascontiguousarray(part.vertices),
        np.ascontiguousarray(part.triangles, dtype=np.uint64),
        face_id=names[part.planes].astype(np.uint64),
    )
    solid = library.Manifold(mesh)
    if solid.status() != library.Error.NoError:
        raise ExtractionError(f"a convex part is no solid ({solid.status()}); please report it")
    return solid


def manifold_library():
    """The module manifold3d.

    Raises:
        InputError: if it is not installed.
    """
    try:
        import manifold3d
    except ImportError as error:
        raise InputError(
            "unions of convex parts need manifold3d: pip install 'shapeopt[lowpoly]'"
        ) from error
    return manifold3d
