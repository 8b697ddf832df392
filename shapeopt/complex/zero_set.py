"""The cells of a zero set as an extractor finds them: positions and combinatorics alone."""

from dataclasses import dataclass

from jaxtyping import Float, Int64
from torch import Tensor

from shapeopt.complex.surface import SurfaceSigns


@dataclass(frozen=True)
class ZeroSet:
    """What becomes a :class:`PolyhedralSurface` once normals and gradients are attached.

    Attributes:
        vertices, edges, edge_faces, face_offsets, face_vertices: as in the surface. Polygons run
            either way round unless ``is_oriented``.
        signs: the cells' sign-vectors.
        face_planes: the box plane each polygon lies in, counted from 0; -1 for one of f = 0.
        has_caps: whether there may be polygons in a box plane.
        is_oriented: whether every polygon is counter-clockwise seen from f > 0.
        slopes: the gradient of f on each polygon, without graph, if it is known.
    """

    vertices: Float[Tensor, "v d"]
    edges: Int64[Tensor, "e 2"]
    edge_faces: Int64[Tensor, "e 2"]
    face_offsets: Int64[Tensor, "f_plus_1"]
    face_vertices: Int64[Tensor, "m"]
    signs: SurfaceSigns
    face_planes: Int64[Tensor, "f"]
    has_caps: bool
    is_oriented: bool
    slopes: Float[Tensor, "f d"] | None = None

    @property
    def num_vertices(self) -> int:
        """Number of vertices."""
        return len(self.vertices)

    @property
    def num_edges(self) -> int:
        """Number of edges."""
        return len(self.edges)

    @property
    def num_faces(self) -> int:
        """Number of polygons."""
        return len(self.face_offsets) - 1
