"""A zero set made anew from some of its own cells, joined."""

from typing import NamedTuple

import torch
from jaxtyping import Int64
from torch import Tensor

from shapeopt.complex.surface import SurfaceSigns
from shapeopt.complex.zero_set import ZeroSet
from shapeopt.mesh.polygons import pair_faces
from shapeopt.mesh.ragged import owners_of


class Loops(NamedTuple):
    """Boundaries of polygons, side by side: where each starts, its corners and its edges."""

    faces: Int64[Tensor, "f"]
    offsets: Int64[Tensor, "f_plus_1"]
    corners: Int64[Tensor, "m"]
    edges: Int64[Tensor, "m"]


def select(
    found: ZeroSet,
    ends: Int64[Tensor, "e 2"],
    edges: Int64[Tensor, "k"],
    loops: Loops | None = None,
) -> ZeroSet:
    """The chosen edges with their new ends, the loops round the faces, and the vertices in use."""
    vertices, ends = torch.unique(ends[edges], return_inverse=True)
    if loops is None:
        face_vertices, face_offsets, faces = (
            found.face_vertices,
            found.face_offsets,
            found.face_planes.new_empty(0),
        )
        edge_faces = found.edge_faces[edges]
    else:
        face_vertices = torch.searchsorted(vertices, loops.corners)
        face_offsets, faces = loops.offsets, loops.faces
        edge_faces = pair_faces(loops.edges, owners_of(loops.offsets), len(edges))
    signs = found.signs
    return ZeroSet(
        found.vertices[vertices],
        ends,
        edge_faces,
        face_offsets,
        face_vertices,
        SurfaceSigns(
            signs.constraints,
            signs.vertex_zeros[vertices],
            signs.vertex_plus_bits[vertices],
            signs.edge_zeros[edges],
            signs.face_plus_bits[faces],
            signs.vertex_keys[vertices],
        ),
        found.face_planes[faces],
        found.has_caps,
        found.is_oriented,
    )
