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
from dataclasses import replace

import torch
from jaxtyping import Float, Int64
from torch import Tensor

from shapeopt.complex.differentiate import (
    affine_gradients,
    carries_gradient,
    differentiable_vertices,
)
from shapeopt.complex.pieces import Pieces, PieceSolver, piece_solver
from shapeopt.complex.seeds import (
    RESOLUTION,
    SCALE_RESOLUTION,
    Samples,
    grid_seeds,
    projected_seeds,
    sample_grid,
)
from shapeopt.complex.subdivision import Box
from shapeopt.complex.surface import PolyhedralSurface, SurfaceSigns
from shapeopt.complex.zero_set import EmptySurfaceError
from shapeopt.errors import ExtractionError
from shapeopt.networks import AffineLayer

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
                raise _disagreement("polygons")


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


def mesh_of(solver: PieceSolver, pieces: Pieces) -> PolyhedralSurface:
    """Puts the pieces together by their keys. Vertices come out sorted by key; normals are missing.

    Raises:
        ExtractionError: if the pieces do not fit together.
    """
    keys = pieces.keys.index_select(0, pieces.facet_pieces)
    turns = solver.turning_to_zero(pieces.facets, pieces.is_plus)
    if solver.box.dimension == 3:
        return _polygon_mesh(solver, pieces, keys, turns)
    return _polyline(solver, pieces, keys + turns)


def attach(
    mesh: PolyhedralSurface,
    layers: Sequence[AffineLayer],
    box: Box,
    rows: Float[Tensor, "v d d"] | None = None,
) -> PolyhedralSurface:
    """The mesh in the dtype and with the graph of the layers, and with its normals.

    Args:
        rows: gradients of the constraints that are 0 at each vertex, if known.
    """
    signs = mesh.signs
    assert signs is not None
    vertices = mesh.vertices.to(box.lower.dtype)
    if carries_gradient(layers):
        where = signs.constraints, vertices, signs.vertex_zeros, signs.vertex_signs
        rows = None if rows is None else rows.to(vertices.dtype)
        vertices = differentiable_vertices(layers, box, *where, rows)
    gradients = affine_gradients(layers, signs.constraints, signs.face_signs)
    normals = torch.nn.functional.normalize(gradients, dim=1)
    return replace(mesh, vertices=vertices, face_normals=normals)


def _polygon_mesh(
    solver: PieceSolver, pieces: Pieces, keys: Int64[Tensor, "m"], turns: Int64[Tensor, "m"]
) -> PolyhedralSurface:
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
        raise _disagreement("polygons")
    piece = pieces.facet_pieces
    corner = corners_of[first_corner]
    lines = torch.stack([pieces.facets[previous[corner]], pieces.facets[corner]], dim=1)
    lines = lines.sort(dim=1).values  # the same from whichever polygon
    signs = solver.without(pieces.signs[piece[corner]], lines)
    return PolyhedralSurface(
        pieces.corners[corner],
        ends[facet],
        torch.stack([piece[facet], torch.where(is_inner, piece[other], -1)], dim=1),
        pieces.offsets,
        vertex,
        pieces.corners[:0],
        SurfaceSigns(
            solver.constraints,
            solver.with_output(lines),
            signs,
            solver.with_output(pieces.facets[facet][:, None]),
            pieces.signs,
            vertex_keys,
        ),
    )


def _polyline(
    solver: PieceSolver, pieces: Pieces, facet_keys: Int64[Tensor, "m"]
) -> PolyhedralSurface:
    """Facets of equal key are one vertex."""
    vertex_keys, facets_of, first_facet, vertex = distinct(facet_keys)
    facet = facets_of[first_facet]
    is_inner = pieces.facets[facet] < solver.constraints.output
    counts = first_facet.diff(append=first_facet.new_tensor([len(facets_of)]))
    if not torch.equal(counts, 1 + is_inner.long()):
        raise _disagreement("segments")
    lines = pieces.facets[facet][:, None]
    signs = solver.without(pieces.signs[pieces.facet_pieces[facet]], lines)
    none = facet.new_empty(0)
    return PolyhedralSurface(
        pieces.corners[facet],
        vertex.view(-1, 2),
        facet.new_full((len(pieces), 2), -1),
        facet.new_zeros(1),
        none,
        pieces.corners[:0],
        SurfaceSigns(
            solver.constraints,
            solver.with_output(lines),
            signs,
            solver.with_output(facet.new_empty(len(pieces), 0)),
            pieces.signs[:0],
            vertex_keys,
        ),
    )


def _disagreement(pieces: str) -> ExtractionError:
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
