"""From the cells of a trace to the mesh, or in 2D the polyline."""

import torch
from jaxtyping import Int64
from torch import Tensor

from shapeopt.complex.signs import without_plus
from shapeopt.complex.surface import SurfaceSigns
from shapeopt.complex.zero_set import ZeroSet
from shapeopt.errors import ExtractionError
from shapeopt.extraction.tracing.plain import ZeroCellSolver
from shapeopt.extraction.tracing.zero_cells import ZeroCells


def assemble(solver: ZeroCellSolver, cells: ZeroCells) -> ZeroSet:
    """Puts the cells together by their keys. Vertices come out sorted by key.

    Raises:
        ExtractionError: if the cells do not fit together.
    """
    keys = cells.keys.index_select(0, cells.facet_cells)
    turns = solver.turning_to_zero(cells)
    if solver.box.dimension == 3:
        return _mesh_of_polygons(solver, cells, keys, turns)
    return _polyline_of_segments(solver, cells, keys + turns)


def _mesh_of_polygons(
    solver: ZeroCellSolver, cells: ZeroCells, keys: Int64[Tensor, "m"], turns: Int64[Tensor, "m"]
) -> ZeroSet:
    """3D: corners of equal key are one vertex, facets of equal key one edge."""
    following = cells.next_facets
    previous = torch.empty_like(following)
    previous[following] = torch.arange(len(following), device=following.device)
    vertex_keys, corners_of, first_corner, vertex = distinct(keys + turns + turns[previous])
    _, facets_of, first_facet, edge = distinct(keys + turns)

    facet = facets_of[first_facet]
    is_inner = solver.is_inner(cells, facet)
    other = facets_of[(first_facet + is_inner).clamp_(max=len(facets_of) - 1)]
    ends = torch.stack([vertex, vertex[following]], dim=1)
    # The two polygons at an edge run through it in opposite directions.
    agree = (edge[other] == edge[facet]) & (ends[other] == ends[facet].flip(1)).all(dim=1)
    counts = torch.nn.functional.pad(first_facet, (0, 1), value=len(facets_of)).diff()
    if not bool(((counts == 1 + is_inner.long()) & (agree | ~is_inner)).all()):
        raise disagreement("polygons")
    polygon = cells.facet_cells
    corner = corners_of[first_corner]
    zeros = cells.facet_constraints[torch.stack([previous[corner], corner], dim=1)]
    zeros = zeros.sort(dim=1).values  # the same from whichever polygon
    return ZeroSet(
        cells.corners[corner],
        ends[facet],
        torch.stack([polygon[facet], torch.where(is_inner, polygon[other], -1)], dim=1),
        cells.offsets,
        vertex,
        SurfaceSigns(
            solver.constraints,
            solver.with_output(zeros),
            without_plus(cells.plus_bits[polygon[corner]], zeros, solver.constraints),
            solver.with_output(cells.facet_constraints[facet][:, None]),
            cells.plus_bits,
            vertex_keys,
        ),
        torch.full_like(cells.keys, -1),
        has_caps=False,
        is_oriented=True,
    )


def _polyline_of_segments(
    solver: ZeroCellSolver, cells: ZeroCells, facet_keys: Int64[Tensor, "m"]
) -> ZeroSet:
    """2D: ends of equal key are one vertex."""
    vertex_keys, facets_of, first_facet, vertex = distinct(facet_keys)
    facet = facets_of[first_facet]
    is_inner = solver.is_inner(cells, facet)
    counts = torch.nn.functional.pad(first_facet, (0, 1), value=len(facets_of)).diff()
    if not torch.equal(counts, 1 + is_inner.long()):
        raise disagreement("segments")
    zeros = cells.facet_constraints[facet][:, None]
    none = facet.new_empty(0)
    return ZeroSet(
        cells.corners[facet],
        vertex.view(-1, 2),
        facet.new_full((len(cells), 2), -1),
        facet.new_zeros(1),
        none,
        SurfaceSigns(
            solver.constraints,
            solver.with_output(zeros),
            without_plus(cells.plus_bits[cells.facet_cells[facet]], zeros, solver.constraints),
            solver.with_output(facet.new_empty(len(cells), 0)),
            cells.plus_bits[:0],
            vertex_keys,
        ),
        none,
        has_caps=False,
        is_oriented=True,
    )


def disagreement(cells: str) -> ExtractionError:
    return ExtractionError(
        f"two {cells} of the zero set disagree about where they meet: folds of the network "
        "coincide, or nearly so. extract_surface(method='subdivide') handles such networks"
    )


def distinct(
    keys: Int64[Tensor, "n"],
) -> tuple[Int64[Tensor, "k"], Int64[Tensor, "n"], Int64[Tensor, "k"], Int64[Tensor, "n"]]:
    """The distinct keys, the order that sorts them, where each starts there, each one's rank."""
    ordered, order = torch.sort(keys)
    is_first = torch.ones_like(ordered, dtype=torch.bool)
    torch.ne(ordered[1:], ordered[:-1], out=is_first[1:])
    first = torch.nonzero(is_first).flatten()
    rank = torch.empty_like(order)
    rank[order] = is_first.cumsum(0) - 1
    return ordered[first], order, first, rank
