"""Tracing again after the weights have changed a little, as in every step of training.

Most of the surface's combinatorics outlives an optimiser step. A vertex is solved anew from its own
equations, with the new weights and the old signs. If all its other signs still hold there, it is a
vertex of the new surface, and the regions around it meet the zero set. Hence

* a polygon all of whose corners still hold is a polygon of the new surface, corner for corner:
  between two corners that hold on one line there can be no other;
* any other polygon with a corner that holds is walked again, and what lies behind its edges
  follows wave by wave.

Only polygons around changes are walked. The result is exactly the surface of the components that
are followed. Components that appear elsewhere, and one that no vertex of outlives a step, are found
by the next search.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Bool, Float, Int64
from torch import Tensor, nn

from shapeopt.complex.box import Bounds, Box
from shapeopt.complex.differentiate import carries_gradient
from shapeopt.complex.surface import PolyhedralSurface
from shapeopt.errors import ExtractionError
from shapeopt.extraction.extract import prepare_surface
from shapeopt.extraction.tracing.assemble import attach, mesh_of
from shapeopt.extraction.tracing.plain import PieceSolver
from shapeopt.extraction.tracing.seeds import RESOLUTION, SCALE_RESOLUTION, grid_seeds, sample_grid
from shapeopt.extraction.tracing.solver import piece_solver
from shapeopt.extraction.tracing.trace import find_seeds, follow, in_double, pieces_at
from shapeopt.extraction.tracing.zero_cells import Pieces
from shapeopt.networks.affine import AffineLayer


class SurfaceTracer:
    """The exact surface of a network whose weights change step by step.

    Calling it gives the same as ``extract_surface(network, bounds, method="trace")``, at a fraction
    of the cost while the weights change little.

    Args:
        network, bounds, dtype: as for :func:`shapeopt.extract_surface`.
        seeds: resolution of the grid that is searched for components, in cells along a side.
        search_every: calls from one search to the next. A component that appears in between is
            found by the next one.

    The calls raise what :func:`shapeopt.extract_surface` raises.
    """

    def __init__(
        self,
        network: nn.Module,
        bounds: Bounds = (-0.5, 0.5),
        *,
        seeds: int = RESOLUTION,
        search_every: int = 100,
        dtype: torch.dtype | None = None,
    ):
        self.network = network
        self.bounds = bounds
        self.seeds = seeds
        self.search_every = search_every
        self.dtype = dtype
        self.reset()

    def reset(self) -> None:
        """Forgets the last surface: the next call starts from the seeds alone."""
        self._last: tuple[Pieces, PolyhedralSurface] | None = None
        self._scale: Tensor | None = None
        self._calls_to_search = 0

    def __call__(self) -> PolyhedralSurface:
        """The surface of the network as it is now."""
        layers, box = prepare_surface(self.network, self.bounds, self.dtype)
        try:
            return self._trace(layers, box)
        except ExtractionError:
            if self._last is None:
                raise
            self.reset()
            return self._trace(layers, box)

    def _trace(self, layers: Sequence[AffineLayer], box: Box) -> PolyhedralSurface:
        """Goes on from the surface of the last call, and from seeds if a search is due."""
        constant, domain = in_double(layers, box)
        if self._scale is None:
            self._scale = sample_grid(constant, domain, SCALE_RESOLUTION).scale
        solver = piece_solver(constant, domain, self._scale)
        pieces, solved = None, None
        if self._last is not None:
            solved = solve_again(solver, self._last[1])
            pieces = retrace(solver, *self._last, solved)
        self._calls_to_search -= 1
        if pieces is None or len(pieces) == 0 or self._calls_to_search < 0:
            samples = sample_grid(constant, domain, self.seeds)
            self._calls_to_search = self.search_every
            if pieces is None or len(pieces) == 0:
                seeds = find_seeds(solver, samples, self.seeds)
            else:
                seeds = grid_seeds(constant, samples, self.seeds)
            pieces = follow(solver, pieces_at(solver, seeds, pieces))
        mesh = mesh_of(solver, pieces)
        self._last = pieces, mesh
        rows = None
        if solved is not None and carries_gradient(layers):
            rows = solved.rows_at(solver, mesh)
        return attach(mesh, layers, box, rows)


class WarmExtractor:
    """``extract(network)`` for a training: a :class:`SurfaceTracer` that stays with the network.

    Vertices come in another order than from a cold start, so sums over them differ by rounding: a
    resumed training follows the same path as an uninterrupted one, but not bit for bit.

    Args:
        bounds, seeds, search_every, dtype: as for :class:`SurfaceTracer`.
    """

    def __init__(
        self,
        bounds: Bounds = (-0.5, 0.5),
        *,
        seeds: int = RESOLUTION,
        search_every: int = 100,
        dtype: torch.dtype | None = None,
    ):
        self._options: dict[str, Any] = {
            "bounds": bounds,
            "seeds": seeds,
            "search_every": search_every,
            "dtype": dtype,
        }
        self._tracer: SurfaceTracer | None = None

    def __call__(self, network: nn.Module) -> PolyhedralSurface:
        """The surface of the network, warm if the last call was for the same one."""
        if self._tracer is None or self._tracer.network is not network:
            self._tracer = SurfaceTracer(network, **self._options)
        return self._tracer()


@dataclass(frozen=True)
class SolvedVertices:
    """Vertices solved again from their old zeros and signs, sorted by key.

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

    def rows_at(self, solver: PieceSolver, mesh: PolyhedralSurface) -> Float[Tensor, "w d d"]:
        """Gradients of the zeros at the vertices of a mesh; only those not solved are computed."""
        signs = mesh.signs
        assert signs is not None
        place = torch.searchsorted(self.keys, signs.vertex_keys).clamp_(max=len(self.keys) - 1)
        is_known = (self.keys[place] == signs.vertex_keys) & self.holds[place]
        new = torch.nonzero(~is_known).flatten()
        return self.rows[place].index_copy_(0, new, solve_again(solver, mesh, new).rows)


def retrace(
    solver: PieceSolver, old: Pieces, mesh: PolyhedralSurface, solved: SolvedVertices
) -> Pieces:
    """The pieces of the components that the old pieces lay on, for the solver's weights.

    Args:
        old: pieces for slightly different weights.
        mesh: the mesh they make.
        solved: its vertices for the new weights.
    """
    corner = mesh.face_vertices if solver.box.dimension == 3 else mesh.edges.flatten()
    holds = solved.holds.index_select(0, corner)
    positions = solved.positions.index_select(0, corner)
    held = old.sums(holds)
    is_kept = held == old.offsets.diff()
    kept = old.select(torch.nonzero(is_kept).flatten(), positions)

    partly = torch.nonzero((held > 0) & ~is_kept).flatten()
    # The middle of the corners that hold lies in the new polygon, which is convex.
    some = old.select(partly, torch.where(holds[:, None], positions, 0))
    changed = solver.solve(some.signs, some.sums(some.corners) / held[partly, None])
    return Pieces.concatenate([kept, follow(solver, changed, kept.keys)])


def solve_again(
    solver: PieceSolver, mesh: PolyhedralSurface, chosen: Int64[Tensor, "v"] | None = None
) -> SolvedVertices:
    """Solves the equations of (chosen) vertices of a mesh with the solver's weights."""
    signs = mesh.signs
    assert signs is not None
    every = (
        mesh.vertices,
        signs.vertex_zeros.long(),
        signs.vertex_signs,
        signs.vertex_keys,
    )
    vertices, zeros, packed, keys = every if chosen is None else (part[chosen] for part in every)
    return SolvedVertices(keys, *solver.solve_vertices(vertices, zeros, packed))
