"""A mesh of flat polygons, wherever it comes from."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, TypeVar

import torch
from jaxtyping import Bool, Float, Int64
from torch import Tensor

from shapeopt.errors import InputError
from shapeopt.mesh.planar import plane_axes, triangulate
from shapeopt.mesh.polygons import fan_triangles, next_corner, pair_faces, vector_areas
from shapeopt.mesh.ragged import offsets_of, owners_of, positions_of
from shapeopt.mesh.safe_norm import safe_norm, unit

if TYPE_CHECKING:
    import trimesh

Mesh = TypeVar("Mesh", bound="PolygonMesh")


@dataclass(frozen=True)
class PolygonMesh:
    """Flat polygons in 3D, convex or not; or, without any, a polyline in 2D.

    Any device; gradients flow from all measures to ``vertices`` and ``face_normals``.

    Attributes:
        vertices: positions.
        edges: the two end vertices, each edge once.
        edge_faces: the two polygons at each edge, -1 where there is none (at the border).
        face_offsets, face_vertices: polygon i has the corners
            ``face_vertices[face_offsets[i]:face_offsets[i + 1]]``, counter-clockwise seen from
            outside.
        face_normals: unit normals of the polygons, pointing outside.
    """

    vertices: Float[Tensor, "v d"]
    edges: Int64[Tensor, "e 2"]
    edge_faces: Int64[Tensor, "e 2"]
    face_offsets: Int64[Tensor, "f_plus_1"]
    face_vertices: Int64[Tensor, "m"]
    face_normals: Float[Tensor, "f d"]

    @staticmethod
    def from_polygons(
        vertices: Float[Tensor, "v 3"], polygons: Sequence[Sequence[int]]
    ) -> "PolygonMesh":
        """A mesh of given flat polygons, corners counter-clockwise seen from outside.

        A polygon without area gets the normal 0.

        Raises:
            InputError: if an edge has more than two polygons.
        """
        device = vertices.device
        numbers = partial(torch.tensor, dtype=torch.int64, device=device)
        sizes = numbers([len(polygon) for polygon in polygons])
        corners = numbers([v for polygon in polygons for v in polygon])
        offsets = offsets_of(sizes)
        ends = torch.stack([corners, corners[next_corner(offsets)]], dim=1).sort(dim=1).values
        # As single numbers: many times faster than by rows.
        names, edge_of = torch.unique(ends[:, 0] * len(vertices) + ends[:, 1], return_inverse=True)
        edges = torch.stack([names // len(vertices), names % len(vertices)], dim=1)
        edge_faces = pair_faces(edge_of, owners_of(offsets), len(edges))
        normals = unit(vector_areas(vertices, corners, offsets))
        return PolygonMesh(vertices, edges, edge_faces, offsets, corners, normals)

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

    @property
    def euler_characteristic(self) -> int:
        """V - E + F: 2 for a closed surface without handles, 1 for a disc."""
        return self.num_vertices - self.num_edges + self.num_faces

    @property
    def is_closed(self) -> bool:
        """Whether no edge (in 2D: no vertex) lies at the border of the surface."""
        if self.vertices.shape[1] == 2:
            ends = torch.bincount(self.edges.flatten(), minlength=self.num_vertices)
            return bool((ends == 2).all())
        return bool((self.edge_faces >= 0).all())

    def edge_vectors(self) -> Float[Tensor, "e d"]:
        """From each edge's first vertex to its second."""
        start, end = self.vertices[self.edges].unbind(1)
        return end - start

    def edge_lengths(self) -> Float[Tensor, "e"]:
        """Length of each edge. An edge of length 0 has gradient 0.

        In 3D on a CPU it is differentiable once.
        """
        if _has_compiled(self.vertices):
            # Imported here, so that importing the package does not load the compiler.
            from shapeopt.mesh.geometry_compiled import EdgeLengths

            return EdgeLengths.apply(self.vertices, self.edges)
        return safe_norm(self.edge_vectors())

    def face_areas(self) -> Float[Tensor, "f"]:
        """Area of each polygon, exact because it is flat: vector area along the unit normal."""
        areas = vector_areas(self.vertices, self.face_vertices, self.face_offsets)
        # The direction is the normal's: held constant, its change is at right angles to itself.
        return (areas * self.face_normals.detach()).sum(dim=1)

    def area(self) -> Float[Tensor, ""]:
        """Total area."""
        return self.face_areas().sum()

    def volume(self) -> Float[Tensor, ""]:
        """Enclosed volume by the divergence theorem.

        Raises:
            InputError: if the surface is not closed; extract it with ``cap=True``.
        """
        if not self.is_closed:
            raise InputError(
                "an open surface encloses no volume; extract it with cap=True, or in a larger box"
            )
        areas = vector_areas(self.vertices, self.face_vertices, self.face_offsets)
        # Relative to the middle, which keeps the terms small; any point gives the same sum.
        apex = self.vertices.detach().mean(dim=0)
        corner = self.vertices[self.face_vertices[self.face_offsets[:-1]]] - apex
        return (corner * areas).sum() / 3

    def dihedral_angles(self) -> tuple[Float[Tensor, "i"], Int64[Tensor, "i"]]:
        """Angle between the normals across each interior edge, in radians, and those edges.

        0 is flat, pi folded back. An exactly flat edge has gradient 0. On a CPU the angles are
        differentiable once.
        """
        interior = torch.nonzero((self.edge_faces >= 0).all(dim=1)).flatten()
        if _has_compiled(self.face_normals):
            # Imported here, so that importing the package does not load the compiler.
            from shapeopt.mesh.geometry_compiled import DihedralAngles

            return DihedralAngles.apply(self.face_normals, self.edge_faces[interior]), interior
        one, two = self.face_normals[self.edge_faces[interior]].unbind(1)
        cosine, sine = (one * two).sum(dim=1), safe_norm(torch.linalg.cross(one, two, dim=1))
        # Beside a polygon without a normal both are 0, and the edge counts as flat.
        return torch.atan2(sine, torch.where((cosine == 0) & (sine == 0), 1, cosine)), interior

    def triangles(self) -> Int64[Tensor, "t 3"]:
        """Every polygon cut into triangles of its corners, in polygon order.

        A fan at the first corner where the polygon is convex; elsewhere ears are clipped.
        """
        return self.fans_or_ears(torch.ones(self.num_faces, dtype=torch.bool))

    def fans_or_ears(self, may_bend: Bool[Tensor, "f"]) -> Int64[Tensor, "t 3"]:
        """The triangles, given which polygons may not be convex."""
        fans = fan_triangles(self.face_vertices, self.face_offsets)
        owner = self.triangle_faces()
        a, b, c = self.vertices.detach()[fans].unbind(1)
        heights = torch.linalg.cross(b - a, c - a, dim=1) * self.face_normals.detach()[owner]
        bent = torch.zeros(self.num_faces, dtype=torch.bool, device=fans.device)
        bent[owner[heights.sum(dim=1) < 0]] = True
        bent &= may_bend.to(bent.device)
        if not bool(bent.any()):
            return fans
        places = torch.nonzero(bent[owner]).flatten()
        chosen = torch.nonzero(bent).flatten()
        return fans.index_copy(0, places, self.clipped_ears(chosen))

    def clipped_ears(self, faces: Int64[Tensor, "k"]) -> Int64[Tensor, "t 3"]:
        """Triangles inside the given polygons, which need not be convex, in their order."""
        offsets, places = positions_of(self.face_offsets, faces)
        corners = self.face_vertices[places]
        points = self.vertices.detach()[corners].double().cpu().numpy()
        normals = self.face_normals.detach()[faces].double().cpu().numpy()
        bounds = offsets.tolist()
        triangles = [
            (start + torch.tensor(triangle)).tolist()
            for start, stop, normal in zip(bounds, bounds[1:], normals, strict=False)
            for triangle in triangulate(points[start:stop] @ plane_axes(normal).T)
        ]
        return corners[torch.tensor(triangles, dtype=torch.int64, device=corners.device)].view(
            -1, 3
        )

    def triangle_faces(self) -> Int64[Tensor, "t"]:
        """The polygon each triangle of :meth:`triangles` is part of."""
        faces = torch.arange(self.num_faces, device=self.face_offsets.device)
        return faces.repeat_interleave(self.face_offsets.diff() - 2)

    def scaled_and_moved(self: Mesh, scale: float | int, offset: Float[Tensor, "d"]) -> Mesh:
        """The same mesh at ``scale * x + offset``, in float64: normals stay what they are.

        Args:
            scale: positive.
            offset: in units of the result; any device.

        Raises:
            InputError: if the scale is not positive.
        """
        if not scale > 0:
            raise InputError(f"scale is {scale}; it must be positive")
        moved = self.vertices.double() * scale + offset.to(self.vertices.device).double()
        return replace(self, vertices=moved, face_normals=self.face_normals.double())

    def detach(self: Mesh) -> Mesh:
        """The same mesh without graph."""
        return replace(
            self, vertices=self.vertices.detach(), face_normals=self.face_normals.detach()
        )

    def to_trimesh(self) -> "trimesh.Trimesh":
        """A triangulated copy for the trimesh library, which knows no polygons."""
        import trimesh

        return trimesh.Trimesh(
            self.vertices.detach().double().cpu().numpy(),
            self.triangles().cpu().numpy(),
            process=False,
        )


def _has_compiled(vectors: Float[Tensor, "n d"]) -> bool:
    """Whether ``geometry_compiled.py`` knows such vectors."""
    is_known = vectors.dtype in (torch.float32, torch.float64) and vectors.shape[1] == 3
    return is_known and vectors.device.type == "cpu"
