"""Tracing: the zero set alone, cell by cell, without the rest of the complex.

f is affine in each region, so the zero set meets a region in one convex polygon (in 2D, a
segment). Behind each of its edges lies the region whose signs differ in that edge's neuron alone,
and in it the next polygon:

        +---------+---------+
        |         |         |      P: polygon in the region of signs s, with edges on the
        |    P    i    Q    |      neurons i, j, k, l. Behind i: the signs s with i's turned,
        |         |         |      and in them the polygon Q.
        +----j----+---------+

From seeds, a whole front of polygons advances at once; on one thread of a CPU one polygon after the
other, in the same order. New polygons are told from known ones by their cell keys (see
``shapeopt.complex.signs``). They are the keys that edge subdivision gives, so both methods name
equal cells equally.

Each polygon decides its corners by itself: every edge is decided twice, and most vertices four
times. The mesh is put together from keys, and any disagreement is noticed. Signs are decided in
float64 whatever the type of the network: in float32 about one vertex in ten thousand would be
decided differently by two polygons, and in float64 there is nothing left to repair on a network
in general position.
"""

from typing import NamedTuple

import torch
from jaxtyping import Float, Int32
from torch import Tensor

from shapeopt.extraction.tracing.assemble import disagreement
from shapeopt.extraction.tracing.plain import ZeroCellSolver
from shapeopt.extraction.tracing.zero_cells import ZeroCells

FRONTS_TO_CHECK = 64
"""Fronts from one check to the next that none has come round to cells left behind."""


class Starts(NamedTuple):
    """Where to start from: regions that the zero set meets, and a point of it in each.

    Attributes:
        plus_bits: packed + signs of each region, f not among them.
        points: one on each region's polygon (in 2D: segment), or on its border.
    """

    plus_bits: Int32[Tensor, "n words"]
    points: Float[Tensor, "n d"]


def starts_at(
    solver: ZeroCellSolver, points: Float[Tensor, "n d"], known: ZeroCells | None = None
) -> Starts:
    """The cells that the points of the zero set lie on, each once, but for the known ones."""
    plus_bits = solver.plus_bits_at(points)
    found = solver.distinct(solver.cell_keys(plus_bits))
    one = found.first
    if known is not None:
        one = one[~torch.isin(found.keys, known.keys)]
    return Starts(plus_bits[one], points[one])


def follow(
    solver: ZeroCellSolver,
    starts: Starts,
    known: ZeroCells | None = None,
    *,
    fronts_to_check: int = FRONTS_TO_CHECK,
) -> ZeroCells:
    """The known cells, those to start from, and all that are connected to them.

    Args:
        known: cells that need no visit, and lead to nothing new.
        fronts_to_check: fronts from one check to the next that they do not go round in circles.

    Raises:
        ExtractionError: for a region in which the zero set is not bounded by lines; and if the
            fronts come round to cells that they have left behind.
    """
    if known is not None and len(starts.points) == 0:
        return known
    none = starts.plus_bits.new_empty(0, dtype=torch.int64)
    seen_before = none if known is None else known.keys
    found = solver.follow(*starts, seen_before)
    if found is not None:
        return found if known is None else ZeroCells.concatenate([known, found])
    fronts = [solver.solve(*starts)]
    seen = solver.seen(seen_before)
    while True:
        last = fronts[-1]
        facets = seen.facets_to_new(last.keys, solver.keys_behind(last))
        if len(facets) == 0:
            return ZeroCells.concatenate(fronts if known is None else [known, *fronts])
        fronts.append(solver.solve(*solver.across(last, facets)))
        if len(fronts) % fronts_to_check == 0:
            keys = torch.cat([front.keys for front in fronts])
            if len(keys.unique()) < len(keys):
                raise disagreement("polygons")
