"""From the cells of a zero set to the surface: orientation, normals, and the gradient."""

from collections.abc import Sequence

import torch
from jaxtyping import Float, Int64
from torch import Tensor

from shapeopt.complex.box import Box
from shapeopt.complex.differentiate import (
    affine_gradients,
    carries_gradient,
    differentiable_vertices,
)
from shapeopt.complex.surface import PolyhedralSurface
from shapeopt.complex.zero_set import ZeroSet
from shapeopt.mesh.polygons import orient
from shapeopt.mesh.safe_norm import unit
from shapeopt.networks.affine import AffineLayer


def finish(
    layers: Sequence[AffineLayer],
    box: Box,
    found: ZeroSet,
    rows: Float[Tensor, "v d d"] | None = None,
) -> PolyhedralSurface:
    """The surface in the dtype and with the graph of the layers.

    Args:
        layers: of the network; their graph goes on into vertices and normals.
        box: the domain.
        found: the cells, in any dtype.
        rows: gradients of the constraints that are 0 at each vertex, if known.
    """
    signs = found.signs
    vertices = found.vertices.to(box.lower.dtype)
    if carries_gradient(layers):
        where = signs.constraints, vertices, signs.vertex_zeros, signs.vertex_plus_bits
        rows = None if rows is None else rows.to(vertices.dtype)
        vertices = differentiable_vertices(layers, box, *where, rows)
    gradients = affine_gradients(layers, signs.constraints, signs.face_plus_bits)
    normals = unit(_with_plane_normals(gradients, found.face_planes))
    corners = found.face_vertices
    if not found.is_oriented:
        corners = orient(
            vertices.detach(),
            corners,
            found.face_offsets,
            normals.detach(),
            found.edge_faces,
            found.edges,
        )
    return PolyhedralSurface(
        vertices, found.edges, found.edge_faces, found.face_offsets, corners, normals, signs
    )


def _with_plane_normals(
    gradients: Float[Tensor, "f d"], planes: Int64[Tensor, "f"]
) -> Float[Tensor, "f d"]:
    """The gradients of f; on a cap, the outward normal of the box plane instead."""
    if not bool((planes >= 0).any()):
        return gradients
    side = (planes % 2 * 2 - 1).to(gradients.dtype)
    axis = planes.clamp(min=0) // 2
    axes = torch.eye(gradients.shape[1], dtype=gradients.dtype, device=gradients.device)
    return torch.where(planes[:, None] >= 0, side[:, None] * axes[axis], gradients)
