"""The polygon mesh that is the zero set of a network."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import torch
from jaxtyping import Float, Int, Int32, Int64
from torch import Tensor

from shapeopt.complex.signs import Constraints, sign_vectors
from shapeopt.errors import InputError
from shapeopt.mesh.polygons import next_corner, vector_areas

if TYPE_CHECKING:
    import trimesh


@dataclass(frozen=True)
class SurfaceSigns:
    """Where the cells of a surface lie in the network's complex.

    Attributes:
        constraints: what the indices in the zeros mean.
        vertex_zeros: the d constraints that are 0 at each vertex; the output is one of them.
        vertex_signs: packed + signs of each vertex.
        edge_zeros: the d - 1 constraints that are 0 on each edge.
        face_signs: packed + signs of each polygon: its region's activation pattern.
        vertex_keys: 64-bit cell key of each vertex; equal keys mean the same vertex.
    """

    constraints: Constraints
    vertex_zeros: Int[Tensor, "v d"]
    vertex_signs: Int32[Tensor, "v words"]
    edge_zeros: Int[Tensor, "e d_minus_1"]
    face_signs: Int32[Tensor, "f words"]
    vertex_keys: Int64[Tensor, "v"]

    def vertex_sign_vectors(self) -> Int[Tensor, "v constraints"]:
        """Sign-vectors of the vertices, int8 of -1, 0, +1: neurons first, then the box planes."""
        return sign_vectors(self.vertex_signs, self.vertex_zeros, self.constraints)


@dataclass(frozen=True)
class PolyhedralSurface:
    """A mesh of flat convex polygons in 3D, or a polyline in 2D (which has no faces).

    Lengths are in units of the box it was extracted from. Vertices and normals carry the gradient
    to the network's weights, unless it was extracted under ``torch.no_grad()``.

    Attributes:
        vertices: positions.
        edges: the two end vertices, each edge once.
        edge_faces: the two polygons at each edge, -1 where there is none (at the box).
        face_offsets, face_vertices: polygon i has the corners
            ``face_vertices[face_offsets[i]:face_offsets[i + 1]]``, counter-clockwise seen from
            outside (f > 0).
        face_normals: unit normals of the polygons, towards f > 0. They come from the gradient of
            f in each polygon's region, so slivers have exact normals too.
        signs: the cells' sign-vectors; None if the mesh was not extracted from a network.
    """

    vertices: Float[Tensor, "v d"]
    edges: Int64[Tensor, "e 2"]
    edge_faces: Int64[Tensor, "e 2"]
    face_offsets: Int64[Tensor, "f_plus_1"]
    face_vertices: Int64[Tensor, "m"]
    face_normals: Float[Tensor, "f d"]
    signs: SurfaceSigns | None = None

    @classmethod
    def from_polygons(
        cls, vertices: Float[Tensor, "v 3"], polygons: Sequence[Sequence[int]]
    ) -> "PolyhedralSurface":
        """A surface of given flat polygons, corners counter-clockwise seen from outside.

        Raises:
            InputError: if an edge has more than two polygons.
        """
        device = vertices.device
        sizes = torch.tensor([len(polygon) for polygon in polygons], device=device)
        corners = torch.tensor([v for polygon in polygons for v in polygon], device=device)
        offsets = torch.nn.functional.pad(sizes.cumsum(0), (1, 0))
        ends = torch.stack([corners, corners[next_corner(offsets)]], dim=1).sort(dim=1).values
        edges, edge_of = torch.unique(ends, dim=0, return_inverse=True)
        faces = torch.arange(len(sizes), device=device).repeat_interleave(sizes)
        areas = vector_areas(vertices, corners, offsets)
        return cls(
            vertices,
            edges,
            pair_faces(edge_of, faces, len(edges)),
            offsets,
            corners,
            torch.nn.functional.normalize(areas, dim=1),
        )

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
        """Length of each edge. An edge of length 0 has gradient 0."""
        squared = self.edge_vectors().square().sum(dim=1)
        positive = squared > 0
        return torch.where(positive, torch.where(positive, squared, 1).sqrt(), 0)

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

        0 is flat, pi folded back. An exactly flat edge has gradient 0.
        """
        interior = torch.nonzero((self.edge_faces >= 0).all(dim=1)).flatten()
        one, two = self.face_normals[self.edge_faces[interior]].unbind(1)
        cosine = (one * two).sum(dim=1)
        sine = torch.linalg.cross(one, two, dim=1).square().sum(dim=1)
        positive = sine > 0
        sine = torch.where(positive, torch.where(positive, sine, 1).sqrt(), 0)
        return torch.atan2(sine, cosine), interior

    def triangles(self) -> Int64[Tensor, "t 3"]:
        """Every polygon cut into a fan of triangles at its first corner, in polygon order."""
        sizes = self.face_offsets.diff()
        first = self.face_offsets[:-1].repeat_interleave(sizes)
        position = torch.arange(len(self.face_vertices), device=first.device)
        following = (position + 1).clamp(max=len(position) - 1)
        fan = torch.stack([first, position, following], dim=1)
        inside = (position > first) & (position + 1 < first + sizes.repeat_interleave(sizes))
        return self.face_vertices[fan[inside]]

    def triangle_faces(self) -> Int64[Tensor, "t"]:
        """The polygon each triangle of :meth:`triangles` is part of."""
        faces = torch.arange(self.num_faces, device=self.face_offsets.device)
        return faces.repeat_interleave(self.face_offsets.diff() - 2)

    def with_vertices(self, vertices: Float[Tensor, "v d"]) -> "PolyhedralSurface":
        """The same mesh with other positions: moved and uniformly scaled, not turned."""
        return replace(self, vertices=vertices)

    def detach(self) -> "PolyhedralSurface":
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


def pair_faces(
    edge_of: Int64[Tensor, "m"], face_of: Int64[Tensor, "m"], num_edges: int
) -> Int64[Tensor, "e 2"]:
    """The (at most two) faces at each edge from a list of (edge, face) pairs; -1 pads.

    Raises:
        InputError: if an edge has more than two faces.
    """
    edge, order = torch.sort(edge_of, stable=True)
    counts = torch.bincount(edge, minlength=num_edges)
    if len(counts) and int(counts.max()) > 2:
        raise InputError("an edge has more than two polygons: the mesh is not a surface")
    is_second = torch.zeros_like(edge, dtype=torch.bool)
    is_second[1:] = edge[1:] == edge[:-1]
    faces = edge.new_full((num_edges, 2), -1)
    faces[edge, is_second.long()] = face_of[order]
    return faces
