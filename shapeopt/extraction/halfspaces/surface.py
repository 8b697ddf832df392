"""The union's surface: a mesh whose vertices are functions of the planes."""

from dataclasses import dataclass
from functools import cached_property
from itertools import combinations

import numpy as np
import torch
from jaxtyping import Float, Int, Int64
from torch import Tensor

from shapeopt.complex.differentiate import inverse_of
from shapeopt.extraction.halfspaces.union import manifold_library
from shapeopt.mesh.planar import plane_axes
from shapeopt.mesh.polygon_mesh import PolygonMesh
from shapeopt.mesh.polygons import fan_triangles

LONGEST_STEP = 1e-3
"""Bound on what recomputing moves a vertex by, in box lengths; rounding moves it far less, except
where planes are all but parallel."""


@dataclass(frozen=True)
class UnionSurface(PolygonMesh):
    """The border of a union of convex parts: polygons that are flat exactly, convex or not.

    Vertices and normals carry the gradient to the planes, unless it was made under
    ``torch.no_grad()``. Normals are those of the planes, so slivers have exact ones, too.

    Attributes:
        face_planes: plane of each polygon, ``part * planes_per_part + plane``; for a face in the
            domain's border the numbers after these.
        num_split: faces that were cut into several polygons because they have holes.
    """

    face_planes: Int64[Tensor, "f"]
    num_split: int

    def triangles(self) -> Int64[Tensor, "t 3"]:
        """Every polygon cut into triangles of its corners, two fewer than corners, in order."""
        return self._triangles

    @cached_property
    def _triangles(self) -> Int64[Tensor, "t 3"]:
        fans = fan_triangles(self.face_vertices, self.face_offsets)
        owner = self.triangle_faces()
        a, b, c = self.vertices.detach()[fans].unbind(1)
        normals = self.face_normals.detach()[owner]
        heights = (torch.linalg.cross(b - a, c - a, dim=1) * normals).sum(dim=1)
        bent = torch.zeros(self.num_faces, dtype=torch.bool, device=fans.device)
        bent[owner[heights < 0]] = True
        library = manifold_library()
        points = self.vertices.detach().double().cpu().numpy()
        corners = self.face_vertices.cpu().numpy()
        offsets = self.face_offsets.tolist()
        result = fans.cpu().numpy().copy()
        for face in torch.nonzero(bent).flatten().tolist():
            start, stop = offsets[face], offsets[face + 1]
            own = corners[start:stop]
            axes = plane_axes(self.face_normals[face].detach().double().cpu().numpy())
            cut = library.triangulate([points[own] @ axes.T])
            # The earlier faces have two fewer triangles each than corners.
            result[start - 2 * face : stop - 2 * (face + 1)] = own[cut]
        return torch.from_numpy(result).to(fans.device)


def meeting_planes(
    pairs: Int[np.ndarray, "n 2"], normals: Float[np.ndarray, "p 3"], num_vertices: int
) -> Int[np.ndarray, "v 3"]:
    """The three planes that define each vertex: of more than three, the least dependent.

    Args:
        pairs: vertex and plane, wherever a plane passes through a vertex, sorted, each once.
        normals: of all planes.
    """
    counts = np.bincount(pairs[:, 0], minlength=num_vertices)
    starts = np.concatenate([[0], np.cumsum(counts)])
    chosen = pairs[np.minimum(starts[:-1, None] + np.arange(3), len(pairs) - 1), 1]
    for vertex in np.flatnonzero(counts > 3):
        planes = pairs[starts[vertex] : starts[vertex + 1], 1]
        triples = np.array(list(combinations(planes, 3)))
        chosen[vertex] = triples[np.abs(np.linalg.det(normals[triples])).argmax()]
    return chosen


def differentiable_meetings(
    vertices: Float[Tensor, "v 3"],
    normals: Float[Tensor, "p 3"],
    offsets: Float[Tensor, "p"],
    planes: Int64[Tensor, "v 3"],
    damping: float = 0.0,
) -> Float[Tensor, "v 3"]:
    """Vertices as functions of the planes that meet in them.

    At fixed combinatorics a vertex x solves three equations F(x) = n . x - d = 0. With the known
    x0 and M = dF/dx, both held constant, ``x0 - M^-1 F(x0)`` is the vertex, and its gradient that
    of the implicit function theorem, as in :mod:`shapeopt.complex.differentiate`.

    Args:
        vertices: positions, held constant.
        normals, offsets: of all planes, with graph; normals of unit length.
        planes: that meet in each vertex.
        damping: replaces ``M^-1`` in the gradient by ``M^T (M M^T + damping^2)^-1``. Where planes
            are all but parallel a vertex moves many times as far as they do; damping bounds that
            to 1 / (2 damping). Values stay as they are. 0 is the exact gradient.
    """
    rows = normals.detach()[planes]
    residual = (normals[planes] * vertices.detach()[:, None]).sum(dim=2) - offsets[planes]
    inverse = inverse_of(rows)
    regular = inverse.abs().amax(dim=(1, 2)) < torch.finfo(rows.dtype).eps ** -0.75
    inverse = torch.where(regular[:, None, None], inverse, 0)
    correction = (inverse @ residual.detach()[:, :, None]).squeeze(2)
    long = correction.norm(dim=1, keepdim=True) > LONGEST_STEP
    value = vertices.detach() - torch.where(long, 0, correction)
    if damping:
        eye = damping**2 * torch.eye(3, dtype=rows.dtype, device=rows.device)
        inverse = rows.transpose(1, 2) @ torch.linalg.inv(rows @ rows.transpose(1, 2) + eye)
    # What is added is 0 and carries the gradient.
    return value - (inverse @ (residual - residual.detach())[:, :, None]).squeeze(2)
