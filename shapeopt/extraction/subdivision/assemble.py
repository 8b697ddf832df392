"""From the skeleton of a complex to the mesh of its zero set."""

from collections.abc import Sequence

import torch
from jaxtyping import Float, Int64
from torch import Tensor

from shapeopt.complex.box import Box
from shapeopt.complex.cells import Cells, collect_cells
from shapeopt.complex.differentiate import (
    affine_gradients,
    carries_gradient,
    differentiable_vertices,
)
from shapeopt.complex.skeleton import Skeleton
from shapeopt.complex.surface import PolyhedralSurface, SurfaceSigns, pair_faces
from shapeopt.errors import EmptySurfaceError
from shapeopt.mesh.polygons import order_corners, orient
from shapeopt.networks.affine import AffineLayer


def zero_set(
    layers: Sequence[AffineLayer], box: Box, skeleton: Skeleton, cap: bool
) -> PolyhedralSurface:
    """The cells of a 2D or 3D skeleton on which the output is 0, as a mesh.

    Args:
        layers: the layers the skeleton was made with; their graph goes on into the mesh.
        box: the domain of the skeleton.
        skeleton: of the whole complex, or at least of all cells at the zero set.
        cap: add the 2-cells in the box planes with f < 0; the skeleton must hold them.

    Raises:
        EmptySurfaceError: if there are none.
    """
    output = skeleton.constraints.output
    edges = torch.nonzero((skeleton.edge_zeros == output).any(dim=1)).flatten()
    if len(edges) == 0:
        raise _empty_surface(layers, box, skeleton)
    polygons = collect_cells(skeleton, 2, edges, within=output)
    if cap:
        polygons = Cells.concatenate([polygons, *_caps(skeleton)])
        edges = torch.unique(polygons.edges)
    return _assemble(layers, box, skeleton, edges, polygons)


def _caps(skeleton: Skeleton) -> list[Cells]:
    """For each box plane, its 2-cells with f < 0."""
    constraints = skeleton.constraints
    output_word = constraints.num_words - 1
    caps = []
    for plane in range(constraints.num_neurons, constraints.num_constraints):
        in_plane = torch.nonzero((skeleton.edge_zeros == plane).any(dim=1)).flatten()
        cells = collect_cells(skeleton, 2, in_plane, within=plane)
        caps.append(cells.select(torch.nonzero(cells.signs[:, output_word] == 0).flatten()))
    return caps


def _assemble(
    layers: Sequence[AffineLayer],
    box: Box,
    skeleton: Skeleton,
    edges: Int64[Tensor, "e"],
    polygons: Cells,
) -> PolyhedralSurface:
    """Renumbers the chosen cells, orders and orients the polygons, attaches the gradient."""
    constraints = skeleton.constraints
    kept, ends = torch.unique(skeleton.edges[edges].long(), return_inverse=True)
    zeros, signs = skeleton.vertex_zeros[kept], skeleton.vertex_signs[kept]
    vertices = skeleton.vertices[kept]
    if carries_gradient(layers):
        vertices = differentiable_vertices(layers, box, constraints, vertices, zeros, signs)

    polygon_edges = torch.searchsorted(edges, polygons.edges)
    edge_faces = pair_faces(polygon_edges, polygons.edge_cells(), len(edges))
    normals = _outward_normals(layers, polygons, skeleton)
    offsets = polygons.edge_offsets
    corners = order_corners(ends[polygon_edges], offsets)
    if constraints.dimension == 3:
        corners = orient(vertices.detach(), corners, offsets, normals.detach(), edge_faces, ends)
    return PolyhedralSurface(
        vertices,
        ends,
        edge_faces,
        offsets,
        corners,
        normals,
        SurfaceSigns(
            constraints,
            zeros,
            signs,
            skeleton.edge_zeros[edges],
            polygons.signs,
            skeleton.keys.of_cells(signs, zeros, constraints),
        ),
    )


def _outward_normals(
    layers: Sequence[AffineLayer], polygons: Cells, skeleton: Skeleton
) -> Float[Tensor, "f d"]:
    """Unit gradients of f; on a cap, the normal of the box plane."""
    constraints = skeleton.constraints
    normals = affine_gradients(layers, constraints, polygons.signs)
    if polygons.zeros.shape[1] == 1:
        plane = polygons.zeros[:, 0].long() - constraints.num_neurons
        side = (plane % 2 * 2 - 1).to(normals.dtype)
        axis = plane.clamp(min=0) // 2
        unit = torch.eye(constraints.dimension, dtype=normals.dtype, device=normals.device)
        normals = torch.where(plane[:, None] >= 0, side[:, None] * unit[axis], normals)
    return torch.nn.functional.normalize(normals, dim=1)


def _empty_surface(
    layers: Sequence[AffineLayer], box: Box, skeleton: Skeleton
) -> EmptySurfaceError:
    """The error for a network without zeros, with the range of f: its extremes are at vertices.

    Pruning may have stopped early, and left few of them; then the range is that of the vertices
    so far and the corners of the box.
    """
    ends = torch.stack([box.lower, box.upper])
    corners = torch.cartesian_prod(*ends.unbind(1)).view(-1, box.dimension)
    values = torch.cat([skeleton.vertices, corners])
    for layer in layers[:-1]:
        values = torch.addmm(layer.bias, values, layer.weight.T).relu()
    values = torch.addmm(layers[-1].bias, values, layers[-1].weight.T).detach()
    low, high = float(values.min()), float(values.max())
    side = "outside (f > 0)" if low >= 0 else "inside (f < 0)"
    return EmptySurfaceError(
        f"the network has no zero in the box {box.lower.tolist()} to {box.upper.tolist()}: "
        f"f ranges from {low:.4g} to {high:.4g}, so the whole box is {side}. "
        "Try a larger box (bounds=), or train longer: subtracting "
        f"{(low + high) / 2:.4g} from the last bias would put a surface into the box"
    )
