"""From the polygons of a trace to the mesh."""

import torch
from jaxtyping import Int64
from torch import Tensor

from shapeopt.complex.surface import SurfaceSigns
from shapeopt.complex.zero_set import ZeroSet
from shapeopt.errors import ExtractionError
from shapeopt.extraction.tracing.plain import ZeroCellSolver
from shapeopt.extraction.tracing.zero_cells import ZeroCells


def assemble(solver: ZeroCellSolver, pieces: ZeroCells) -> ZeroSet:
    """Puts the pieces together by their keys. Vertices come out sorted by key.

    Raises:
        ExtractionError: if the pieces do not fit together.
    """
    keys = pieces.keys.index_select(0, pieces.facet_cells)
    turns = solver.turning_to_zero(pieces.facets, pieces.is_plus)
    if solver.box.dimension == 3:
        return _polygon_mesh(solver, pieces, keys, turns)
    return _polyline(solver, pieces, keys + turns)


def _polygon_mesh(
    solver: ZeroCellSolver, pieces: ZeroCells, keys: Int64[Tensor, "m"], turns: Int64[Tensor, "m"]
) -> ZeroSet:
    """Corners of equal key are one vertex, facets of equal key one edge."""
    following = pieces.next_facets
    previous = torch.empty_like(following)
    previous[following] = torch.arange(len(following), device=following.device)
    vertex_keys, corners_of, first_corner, vertex = distinct(keys + turns + turns[previous])
    _, facets_of, first_facet, edge = distinct(keys + turns)

    facet = facets_of[first_facet]
    is_inner = pieces.facets[facet] < solver.constraints.output
    other = facets_of[(first_facet + is_inner).clamp_(max=len(facets_of) - 1)]
    ends = torch.stack([vertex, vertex[following]], dim=1)
    # The two polygons at an edge run through it in opposite directions.
    agree = (edge[other] == edge[facet]) & (ends[other] == ends[facet].flip(1)).all(dim=1)
    counts = first_facet.diff(append=first_facet.new_tensor([len(facets_of)]))
    if not bool(((counts == 1 + is_inner.long()) & (agree | ~is_inner)).all()):
        raise disagreement("polygons")
    piece = pieces.facet_cells
    corner = corners_of[first_corner]
    lines = torch.stack([pieces.facets[previous[corner]], pieces.facets[corner]], dim=1)
    lines = lines.sort(dim=1).values  # the same from whichever polygon
    signs = solver.without(pieces.signs[piece[corner]], lines)
    return ZeroSet(
        pieces.corners[corner],
        ends[facet],
        torch.stack([piece[facet], torch.where(is_inner, piece[other], -1)], dim=1),
        pieces.offsets,
        vertex,
        SurfaceSigns(
            solver.constraints,
            solver.with_output(lines),
            signs,
            solver.with_output(pieces.facets[facet][:, None]),
            pieces.signs,
            vertex_keys,
        ),
        torch.full_like(pieces.keys, -1),
        is_oriented=True,
    )


def _polyline(solver: ZeroCellSolver, pieces: ZeroCells, facet_keys: Int64[Tensor, "m"]) -> ZeroSet:
    """Facets of equal key are one vertex."""
    vertex_keys, facets_of, first_facet, vertex = distinct(facet_keys)
    facet = facets_of[first_facet]
    is_inner = pieces.facets[facet] < solver.constraints.output
    counts = first_facet.diff(append=first_facet.new_tensor([len(facets_of)]))
    if not torch.equal(counts, 1 + is_inner.long()):
        raise disagreement("segments")
    lines = pieces.facets[facet][:, None]
    signs = solver.without(pieces.signs[pieces.facet_cells[facet]], lines)
    none = facet.new_empty(0)
    return ZeroSet(
        pieces.corners[facet],
        vertex.view(-1, 2),
        facet.new_full((len(pieces), 2), -1),
        facet.new_zeros(1),
        none,
        SurfaceSigns(
            solver.constraints,
            solver.with_output(lines),
            signs,
            solver.with_output(facet.new_empty(len(pieces), 0)),
            pieces.signs[:0],
            vertex_keys,
        ),
        none,
        is_oriented=True,
    )


def disagreement(pieces: str) -> ExtractionError:
    return ExtractionError(
        f"two {pieces} of the zero set disagree about where they meet: folds of the network "
        "coincide, or nearly so. extract_surface(method='subdivide') handles such networks"
    )


def distinct(
    keys: Int64[Tensor, "n"],
) -> tuple[Int64[Tensor, "k"], Int64[Tensor, "n"], Int64[Tensor, "k"], Int64[Tensor, "n"]]:
    """The distinct keys, the order that sorts them, where each starts there, each one's rank."""
    ordered, order = torch.sort(keys)
    is_first = torch.ones_like(ordered, dtype=torch.bool)
    is_first[1:] = ordered[1:] != ordered[:-1]
    first = torch.nonzero(is_first).flatten()
    rank = torch.empty_like(order)
    rank[order] = is_first.cumsum(0) - 1
    return ordered[first], order, first, rank
