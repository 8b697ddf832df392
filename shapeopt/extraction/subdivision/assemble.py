"""From the skeleton of a complex to the cells of its zero set."""

from collections.abc import Sequence

import torch
from jaxtyping import Int64
from torch import Tensor

from shapeopt.complex.box import Box
from shapeopt.complex.cells import Cells, collect_cells
from shapeopt.complex.skeleton import Skeleton
from shapeopt.complex.surface import SurfaceSigns
from shapeopt.complex.zero_set import ZeroSet
from shapeopt.extraction.no_zero import no_zero_among
from shapeopt.mesh.polygons import order_corners, pair_faces
from shapeopt.networks.affine import AffineLayer


def zero_set(
    layers: Sequence[AffineLayer],
    box: Box,
    skeleton: Skeleton,
    *,
    cap: bool = False,
    compiled: bool = False,
    is_block: bool = False,
) -> ZeroSet:
    """The cells of a 2D or 3D skeleton on which the output is 0, as they lie.

    Args:
        layers: the layers the skeleton was made with.
        box: the domain of the skeleton.
        skeleton: of the whole complex, or at least of all cells at the zero set.
        cap: add the 2-cells in the box planes with f < 0; the skeleton must hold them.
        compiled: by the compiled implementation where there is one: on a CPU in 3D without caps.
        is_block: the box is a part of the domain: where all of it is inside there are caps alone.

    Raises:
        NoZero: if there are none.
    """
    output = skeleton.constraints.output
    edges = _edges_on(skeleton, output, compiled)
    is_cap_alone = cap and is_block and len(edges) == 0
    if len(edges) == 0 and not is_cap_alone:
        # The extremes of f are at vertices. Where pruning stopped early few of them are left.
        raise no_zero_among(layers, box, skeleton.vertices)
    if compiled and box.dimension == 3 and not cap:
        # Imported here, so that importing the package does not load the compiler.
        from shapeopt.extraction.subdivision.assemble_compiled import polygons_of

        return polygons_of(skeleton, edges)
    polygons = collect_cells(skeleton, 2, edges, within=output)
    if cap:
        polygons = Cells.concatenate([polygons, *_caps(skeleton)])
        edges = torch.unique(polygons.edges)
        if len(edges) == 0:
            raise no_zero_among(layers, box, skeleton.vertices)
    return _assemble(skeleton, edges, polygons, cap)


def _edges_on(skeleton: Skeleton, constraint: int, compiled: bool) -> Int64[Tensor, "e"]:
    """The edges on which the constraint is 0."""
    if compiled:
        # Imported here, so that importing the package does not load the compiler.
        from shapeopt.extraction.subdivision.assemble_compiled import edges_on

        return torch.from_numpy(edges_on(skeleton.edge_zeros.numpy(), constraint))
    return torch.nonzero((skeleton.edge_zeros == constraint).any(dim=1)).flatten()


def _caps(skeleton: Skeleton) -> list[Cells]:
    """For each box plane, its 2-cells with f < 0."""
    constraints = skeleton.constraints
    output_word = constraints.num_words - 1
    is_plus = skeleton.vertex_plus_bits[:, output_word] != 0
    in_planes = (skeleton.edge_zeros >= constraints.num_neurons).any(dim=1)
    edges = torch.nonzero(in_planes & ~is_plus[skeleton.edges.long()].any(dim=1)).flatten()
    zeros = skeleton.edge_zeros[edges]
    caps = []
    for plane in range(constraints.num_neurons, constraints.num_constraints):
        cells = collect_cells(skeleton, 2, edges[(zeros == plane).any(dim=1)], within=plane)
        # At an edge with f = 0 there is a cell with f > 0, too.
        caps.append(cells.select(torch.nonzero(cells.plus_bits[:, output_word] == 0).flatten()))
    return caps


def _assemble(
    skeleton: Skeleton,
    edges: Int64[Tensor, "e"],
    polygons: Cells,
    has_caps: bool,
) -> ZeroSet:
    """Renumbers the chosen cells and orders the corners of the polygons."""
    constraints = skeleton.constraints
    kept, ends = torch.unique(skeleton.edges[edges].long(), return_inverse=True)
    zeros, plus_bits = skeleton.vertex_zeros[kept], skeleton.vertex_plus_bits[kept]
    polygon_edges = torch.searchsorted(edges, polygons.edges)
    planes = torch.full_like(polygons.keys, -1)
    if polygons.zeros.shape[1] == 1:
        planes = (polygons.zeros[:, 0].long() - constraints.num_neurons).clamp(min=-1)
    return ZeroSet(
        skeleton.vertices[kept],
        ends,
        pair_faces(polygon_edges, polygons.edge_cells(), len(edges)),
        polygons.edge_offsets,
        order_corners(ends[polygon_edges], polygons.edge_offsets),
        SurfaceSigns(
            constraints,
            zeros,
            plus_bits,
            skeleton.edge_zeros[edges],
            polygons.plus_bits,
            skeleton.keys.of_cells(plus_bits, zeros, constraints),
        ),
        planes,
        has_caps,
        is_oriented=constraints.dimension == 2,
    )
