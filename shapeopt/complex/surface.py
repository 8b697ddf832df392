"""The polygon mesh that is the zero set of a network, and where its cells lie in the complex."""

from dataclasses import dataclass

from jaxtyping import Bool, Int, Int32, Int64
from torch import Tensor

from shapeopt.complex.signs import Constraints, sign_vectors
from shapeopt.mesh.polygon_mesh import PolygonMesh
from shapeopt.mesh.polygons import fan_triangles


@dataclass(frozen=True)
class SurfaceSigns:
    """Where the cells of a surface lie in the network's complex.

    Attributes:
        constraints: what the indices in the zeros mean.
        vertex_zeros: the d constraints that are 0 at each vertex; the output is one of them.
        vertex_plus_bits: packed + signs of each vertex.
        edge_zeros: the d - 1 constraints that are 0 on each edge.
        face_plus_bits: packed + signs of each polygon: its region's activation pattern.
        vertex_keys: 64-bit cell key of each vertex; equal keys mean the same vertex.
    """

    constraints: Constraints
    vertex_zeros: Int[Tensor, "v d"]
    vertex_plus_bits: Int32[Tensor, "v words"]
    edge_zeros: Int[Tensor, "e d_minus_1"]
    face_plus_bits: Int32[Tensor, "f words"]
    vertex_keys: Int64[Tensor, "v"]

    def vertex_sign_vectors(self) -> Int[Tensor, "v constraints"]:
        """Sign-vectors of the vertices, int8 of -1, 0, +1: neurons first, then the box planes."""
        return sign_vectors(self.vertex_plus_bits, self.vertex_zeros, self.constraints)


@dataclass(frozen=True)
class PolyhedralSurface(PolygonMesh):
    """The zero set of a network: flat polygons in 3D, or a polyline in 2D.

    Each polygon lies in one region, and is convex; or in several that f has one affine map in.

    Lengths are in units of the box it was extracted from. Vertices and normals carry the gradient
    to the network's weights, unless it was extracted under ``torch.no_grad()``. Normals come from
    the gradient of f in each polygon's region, so slivers have exact ones too.

    Attributes:
        signs: the cells' sign-vectors; of a polygon in several regions those of one of them.
        is_joined: the polygons in several regions; None if there are none.
    """

    signs: SurfaceSigns
    is_joined: Bool[Tensor, "f"] | None = None

    def triangles(self) -> Int64[Tensor, "t 3"]:
        """Every polygon cut into triangles of its corners, in polygon order: convex ones into a
        fan at the first corner."""
        if self.is_joined is None:
            return fan_triangles(self.face_vertices, self.face_offsets)
        return self.fans_or_ears(self.is_joined)
