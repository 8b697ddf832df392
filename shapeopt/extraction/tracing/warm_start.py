"""Tracing again after the weights have changed a little, as in every step of training.

Most of the surface's combinatorics outlives an optimiser step. A vertex is solved anew from its own
equations, with the new weights and the old signs. If all its other signs still hold there, it is a
vertex of the new surface, and the regions around it meet the zero set. Hence

* a polygon all of whose corners still hold is a polygon of the new surface, corner for corner:
  between two corners that hold on one line there can be no other;
* any other polygon with a corner that holds is walked again, and what lies behind its edges
  follows front by front.

Only polygons around changes are walked. The result is exactly the surface of the components that
are followed. Components that appear elsewhere, and one of which no vertex outlives a step, are
found by the next search.
"""

from dataclasses import replace
from typing import NamedTuple

import torch
from jaxtyping import Int64
from torch import Tensor

from shapeopt.complex.at_vertices import AtVertices
from shapeopt.complex.differentiate import outputs_at
from shapeopt.complex.zero_set import ZeroSet
from shapeopt.extraction.tracing.plain import Solved, ZeroCellSolver
from shapeopt.extraction.tracing.trace import Starts, follow
from shapeopt.extraction.tracing.zero_cells import ZeroCells

FARTHEST = 1e-9
"""What each coordinate of a vertex's solution may be off by, in a box of size 1."""


class SolvedVertices(NamedTuple):
    """Vertices solved from their zeros and signs, sorted by key.

    Attributes:
        keys: their cell keys.
        where: they are now, and what is known of the network there.
    """

    keys: Int64[Tensor, "v"]
    where: Solved

    def known_at(self, found: ZeroSet) -> AtVertices:
        """What is known at vertices of which none is missing here."""
        keys, rows, outputs = found.signs.vertex_keys, self.where.rows, self.where.outputs
        if keys is not self.keys:
            place = torch.searchsorted(self.keys, keys)
            rows, outputs = rows.index_select(0, place), outputs.index_select(0, place)
        return AtVertices(rows, outputs)


def retrace(
    solver: ZeroCellSolver, old: ZeroCells, found: ZeroSet, solved: SolvedVertices
) -> ZeroCells:
    """The cells of the components that the old cells lay on, for the solver's weights.

    Args:
        old: cells for slightly different weights.
        found: the zero set they make.
        solved: its vertices for the new weights.
    """
    corner = found.face_vertices if solver.box.dimension == 3 else found.edges.flatten()
    # The middle of the corners that hold lies in the new polygon, which is convex.
    holds, positions = solved.where.holds, solved.where.positions
    kept, plus_bits, middles = solver.retained(old, corner, holds, positions)
    return follow(solver, Starts(plus_bits, middles), kept)


def solve_again(
    solver: ZeroCellSolver,
    found: ZeroSet,
    outputs_in: torch.dtype | None = None,
    chosen: Int64[Tensor, "v"] | None = None,
) -> SolvedVertices:
    """Solves the equations of (chosen) vertices of a zero set with the solver's weights.

    From the middle of the box, and not from where the vertices were: so it is the weights alone
    that decide about every bit.
    """
    signs = found.signs
    every = signs.vertex_zeros.long(), signs.vertex_plus_bits, signs.vertex_keys
    zeros, plus_bits, keys = every if chosen is None else (part[chosen] for part in every)
    middle = ((solver.box.lower + solver.box.upper) / 2).expand(len(keys), -1)
    solved = solver.solve_vertices(middle.contiguous(), zeros, plus_bits, outputs_in)
    return SolvedVertices(keys, solved)


def solved_at(
    solver: ZeroCellSolver,
    found: ZeroSet,
    solved: SolvedVertices | None,
    outputs_in: torch.dtype | None = None,
) -> SolvedVertices:
    """All vertices of a zero set solved, given those that are."""
    if solved is None:
        return solve_again(solver, found, outputs_in)
    keys = found.signs.vertex_keys
    place = torch.searchsorted(solved.keys, keys).clamp_(max=len(solved.keys) - 1)
    new = torch.nonzero(solved.keys[place] != keys).flatten()
    every = Solved(*(part.index_select(0, place) for part in solved.where))
    of_new = solve_again(solver, found, outputs_in, new).where
    for part, some in zip(every, of_new, strict=True):
        part.index_copy_(0, new, some)
    return SolvedVertices(keys, every)


def moved(
    solver: ZeroCellSolver, found: ZeroSet, vertices: SolvedVertices
) -> tuple[ZeroSet, SolvedVertices]:
    """The zero set with its vertices where they are solved to be; where that leads far away,
    through folds that are parallel up to rounding, they stay. And what is known where they are."""
    positions, outputs = vertices.where.positions, vertices.where.outputs
    is_near = (positions - found.vertices).abs_() < FARTHEST
    if not bool(is_near.all()):
        far = torch.nonzero(~is_near.all(dim=1)).flatten()
        stay = found.vertices[far]
        positions = positions.index_copy(0, far, stay)
        if outputs.shape[1]:
            bits = found.signs.vertex_plus_bits[far]
            there = outputs_at(solver.layers, solver.constraints, stay, bits)
            outputs = outputs.index_copy(0, far, there.to(outputs.dtype))
    where = vertices.where._replace(positions=positions, outputs=outputs)
    return replace(found, vertices=positions), vertices._replace(where=where)
