"""From the cells of a trace to the mesh, or in 2D the polyline."""

from dataclasses import replace

import torch
from jaxtyping import Int64
from torch import Tensor

from shapeopt.complex.signs import without_plus
from shapeopt.complex.simplices import box_planes
from shapeopt.complex.surface import SurfaceSigns
from shapeopt.complex.zero_set import ZeroSet
from shapeopt.errors import ExtractionError
from shapeopt.extraction.tracing.plain import ZeroCellSolver
from shapeopt.extraction.tracing.zero_cells import ZeroCells


def assemble(solver: ZeroCellSolver, cells: ZeroCells) -> ZeroSet:
    """Puts the cells together by their keys. Vertices come out sorted by key, and exactly on the
    planes of the box that they lie on.

    Raises:
        ExtractionError: if the cells do not fit together.
    """
    found = _put_together(solver, cells)
    of_vertices = found.signs.vertex_zeros, found.signs.vertex_plus_bits
    planes = box_planes(solver.constraints, *of_vertices, solver.simplices)
    return replace(found, vertices=solver.box.put_on_planes(found.vertices, planes))


def _put_together(solver: ZeroCellSolver, cells: ZeroCells) -> ZeroSet:
    if solver.is_compiled and solver.simplices is None:
        # Imported here, so that importing the package does not load the compiler.
        from shapeopt.extraction.tracing.assemble_compiled import mesh_of_polygons

        mesh = mesh_of_polygons(cells, solver.constraints, solver.keys, solver.bits)
        if mesh is None:
            raise disagreement("polygons")
        return mesh
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
    turned = keys + turns
    vertices, edges = solver.distinct(turned + turns[previous]), solver.distinct(turned)
    vertex, facet, other = vertices.rank, edges.first, edges.second
    is_inner = solver.is_inner(cells, facet)
    ends = torch.stack([vertex, vertex[following]], dim=1)
    # The two polygons at an edge run through it in opposite directions.
    agree = (ends[other] == ends[facet].flip(1)).all(dim=1)
    if not bool(((edges.counts == 1 + is_inner.long()) & (agree | ~is_inner)).all()):
        raise disagreement("polygons")
    polygon = cells.facet_cells
    corner = vertices.first
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
            vertices.keys,
        ),
        torch.full_like(cells.keys, -1),
        has_caps=False,
        is_oriented=True,
        slopes=cells.slopes,
    )


def _polyline_of_segments(
    solver: ZeroCellSolver, cells: ZeroCells, facet_keys: Int64[Tensor, "m"]
) -> ZeroSet:
    """2D: ends of equal key are one vertex."""
    vertices = solver.distinct(facet_keys)
    facet = vertices.first
    is_inner = solver.is_inner(cells, facet)
    if not torch.equal(vertices.counts, 1 + is_inner.long()):
        raise disagreement("segments")
    zeros = cells.facet_constraints[facet][:, None]
    none = facet.new_empty(0)
    return ZeroSet(
        cells.corners[facet],
        vertices.rank.view(-1, 2),
        facet.new_full((len(cells), 2), -1),
        facet.new_zeros(1),
        none,
        SurfaceSigns(
            solver.constraints,
            solver.with_output(zeros),
            without_plus(cells.plus_bits[cells.facet_cells[facet]], zeros, solver.constraints),
            solver.with_output(facet.new_empty(len(cells), 0)),
            cells.plus_bits[:0],
            vertices.keys,
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
