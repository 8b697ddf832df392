"""Tracing: the zero set alone, polygon by polygon, without the rest of the complex.

f is affine in each region, so the zero set meets a region in one convex polygon (in 2D, a
segment). Behind each of its edges lies the region whose signs differ in that edge's neuron alone,
and in it the next polygon:

        +---------+---------+
        |         |         |      P: polygon in the region of signs s, with edges on the
        |    P    i    Q    |      neurons i, j, k, l. Behind i: the signs s with i's turned,
        |         |         |      and in them the polygon Q.
        +----j----+---------+

From seeds, a whole frontier of polygons advances at once. New polygons are told from known ones
by their cell keys (see ``signs.py``). They are the keys that edge subdivision gives, so both
methods name equal cells equally.

Each polygon decides its corners by itself: every edge is decided twice, and most vertices four
times. The mesh is put together from keys, and any disagreement is noticed. Signs are decided in
float64 whatever the type of the network: in float32 about one vertex in ten thousand would be
decided differently by two polygons, and in float64 there is nothing left to repair on a network
in general position.
"""

from collections.abc import Sequence

import torch
from jaxtyping import Float, Int64
from torch import Tensor

from shapeopt.complex.box import Box
from shapeopt.complex.surface import PolyhedralSurface
from shapeopt.errors import EmptySurfaceError
from shapeopt.extraction.tracing.assemble import attach, disagreement, distinct, mesh_of
from shapeopt.extraction.tracing.plain import PieceSolver
from shapeopt.extraction.tracing.seeds import (
    RESOLUTION,
    SCALE_RESOLUTION,
    Samples,
    grid_seeds,
    projected_seeds,
    sample_grid,
)
from shapeopt.extraction.tracing.solver import piece_solver
from shapeopt.extraction.tracing.zero_cells import Pieces
from shapeopt.networks.affine import AffineLayer

WAVES_TO_CHECK = 64
"""Waves from one check to the next that none has come round to pieces left behind."""


def trace(
    layers: Sequence[AffineLayer], box: Box, seeds: Float[Tensor, "n d"] | int = RESOLUTION
) -> PolyhedralSurface:
    """The components of the zero set that have a seed, as a mesh.

    Args:
        layers: affine layers with one output; their graph goes on into the mesh.
        box: the domain, in 2 or 3 dimensions, of the dtype and on the device of the layers.
        seeds: points on or near the zero set; or the resolution of the grid of sign tests that
            finds them (see ``seeds.py`` for what it can miss).

    Raises:
        ExtractionError: if polygons disagree on their common edge, which takes folds that
            coincide up to rounding.
        EmptySurfaceError: (an InputError) if no seed leads to the zero set.
    """
    constant, domain = in_double(layers, box)
    samples = sample_grid(constant, domain, seeds if isinstance(seeds, int) else SCALE_RESOLUTION)
    solver = piece_solver(constant, domain, samples.scale)
    points = find_seeds(solver, samples, seeds)
    mesh = mesh_of(solver, follow(solver, pieces_at(solver, points)))
    return attach(mesh, layers, box)


def in_double(layers: Sequence[AffineLayer], box: Box) -> tuple[list[AffineLayer], Box]:
    """The same in float64 and without graph, to decide signs with."""
    constant = [
        AffineLayer(layer.weight.detach().double(), layer.bias.detach().double())
        for layer in layers
    ]
    return constant, Box(box.lower.detach().double(), box.upper.detach().double())


def find_seeds(
    solver: PieceSolver, samples: Samples, seeds: Float[Tensor, "n d"] | int
) -> Float[Tensor, "n d"]:
    """Points of the zero set, from given points near it or from a grid of samples.

    Raises:
        EmptySurfaceError: if there are none.
    """
    if isinstance(seeds, int):
        points = grid_seeds(solver.layers, samples, seeds)
        searched = f"on a grid of {seeds} cells along each side of it"
    else:
        points = projected_seeds(solver.layers, solver.box, seeds.double())
        searched = f"from the {len(seeds)} given seeds, and at points of a grid over it"
    if len(points):
        return points
    low, high = float(samples.values.min()), float(samples.values.max())
    box = f"{solver.box.lower.tolist()} to {solver.box.upper.tolist()}"
    raise EmptySurfaceError(
        f"no zero of the network was found in the box {box}; {searched} f ranges from {low:.4g} "
        f"to {high:.4g}. Try a larger box (bounds=), a finer grid (seeds=), or "
        "method='subdivide', which misses nothing"
    )


def pieces_at(
    solver: PieceSolver, points: Float[Tensor, "n d"], others: Pieces | None = None
) -> Pieces:
    """The pieces that the points of the zero set lie on, and the others, each once."""
    if others is not None and len(points) == 0:
        return others
    signs = solver.patterns(points)
    keys, order, first, _ = distinct(solver.piece_keys(signs))
    one = order[first]
    if others is None:
        return solver.solve(signs[one], points[one])
    one = one[~torch.isin(keys, others.keys)]
    return Pieces.concatenate([others, solver.solve(signs[one], points[one])])


def follow(solver: PieceSolver, found: Pieces, known: Int64[Tensor, "k"] | None = None) -> Pieces:
    """The given pieces and all that are connected to them, not going into known ones.

    Args:
        known: keys of further pieces that need no visit, and lead to nothing new.

    Raises:
        ExtractionError: if the waves come round to pieces that they have left behind.
    """
    waves = [found]
    before = found.keys[:0] if known is None else known
    while True:
        last = waves[-1]
        # A neighbour of a wave's piece lies in the wave before, in the wave itself or in the next.
        near = torch.cat([before, last.keys]).sort().values
        facets = _new_neighbours(solver, last, near)
        if len(facets) == 0:
            return Pieces.concatenate(waves)
        behind = solver.flipped(last.signs[last.facet_pieces[facets]], last.facets[facets])
        before = last.keys if known is None else torch.cat([known, last.keys])
        waves.append(solver.solve(behind, last.facet_middles()[facets]))
        if len(waves) % WAVES_TO_CHECK == 0:
            keys = torch.cat([wave.keys for wave in waves])
            if len(keys.unique()) < len(keys):
                raise disagreement("polygons")


def _new_neighbours(
    solver: PieceSolver, pieces: Pieces, known: Int64[Tensor, "k"]
) -> Int64[Tensor, "n"]:
    """Facets behind which pieces lie that are not known yet, one facet for each such piece."""
    inner = torch.nonzero(pieces.facets < solver.constraints.output).flatten()
    turned = solver.keys.plus[pieces.facets[inner]]
    keys = pieces.keys[pieces.facet_pieces[inner]]
    keys = keys + torch.where(pieces.is_plus[inner], -turned, turned)
    keys, order = torch.sort(keys)
    is_new = torch.ones_like(keys, dtype=torch.bool)
    is_new[1:] = keys[1:] != keys[:-1]
    place = torch.searchsorted(known, keys).clamp_(max=len(known) - 1)
    is_new &= known[place] != keys
    return inner[order[is_new]]
