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
from jaxtyping import Bool, Float, Int64
from torch import Tensor

from shapeopt.complex.zero_set import ZeroSet
from shapeopt.extraction.tracing.plain import ZeroCellSolver
from shapeopt.extraction.tracing.trace import Starts, follow
from shapeopt.extraction.tracing.zero_cells import ZeroCells

FARTHEST = 1e-9
"""What the solution of a vertex may be off by, in a box of size 1."""


class SolvedVertices(NamedTuple):
    """Vertices solved from their zeros and signs, sorted by key.

    Attributes:
        keys: their cell keys.
        positions: where their zeros meet now.
        holds: whether their other signs hold there, by a safe margin.
        rows: gradients of their zeros, in the order of ``vertex_zeros``.
    """

    keys: Int64[Tensor, "v"]
    positions: Float[Tensor, "v d"]
    holds: Bool[Tensor, "v"]
    rows: Float[Tensor, "v d d"]

    def rows_of(self, found: ZeroSet) -> Float[Tensor, "w d d"]:
        """The rows at vertices of which none is missing here."""
        keys = found.signs.vertex_keys
        return self.rows if keys is self.keys else self.rows[torch.searchsorted(self.keys, keys)]


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
    kept, plus_bits, middles = solver.retained(old, corner, solved.holds, solved.positions)
    return follow(solver, Starts(plus_bits, middles), kept)


def solve_again(
    solver: ZeroCellSolver, found: ZeroSet, chosen: Int64[Tensor, "v"] | None = None
) -> SolvedVertices:
    """Solves the equations of (chosen) vertices of a zero set with the solver's weights.

    From the middle of the box, and not from where the vertices were: so it is the weights alone
    that decide about every bit.
    """
    signs = found.signs
    every = signs.vertex_zeros.long(), signs.vertex_plus_bits, signs.vertex_keys
    zeros, plus_bits, keys = every if chosen is None else (part[chosen] for part in every)
    middle = ((solver.box.lower + solver.box.upper) / 2).expand(len(keys), -1)
    return SolvedVertices(keys, *solver.solve_vertices(middle.contiguous(), zeros, plus_bits))


def solved_at(
    solver: ZeroCellSolver, found: ZeroSet, solved: SolvedVertices | None
) -> SolvedVertices:
    """All vertices of a zero set solved, given those that are."""
    if solved is None:
        return solve_again(solver, found)
    keys = found.signs.vertex_keys
    place = torch.searchsorted(solved.keys, keys).clamp_(max=len(solved.keys) - 1)
    new = torch.nonzero(solved.keys[place] != keys).flatten()
    every = SolvedVertices(keys, *(part[place] for part in solved[1:]))
    for part, of_new in zip(every[1:], solve_again(solver, found, new)[1:], strict=True):
        part[new] = of_new
    return every


def moved(found: ZeroSet, solved: SolvedVertices) -> ZeroSet:
    """The zero set with its vertices where they are solved to be; where that leads far away,
    through folds that are parallel up to rounding, they stay."""
    is_near = (solved.positions - found.vertices).norm(dim=1) < FARTHEST
    vertices = torch.where(is_near[:, None], solved.positions, found.vertices)
    return replace(found, vertices=vertices)
