"""Tracing as an extractor of surfaces, which stays warm with a network in training."""

import weakref
from collections.abc import Sequence
from functools import partial

import torch
from jaxtyping import Float
from torch import Tensor, nn

from shapeopt.complex.box import Box
from shapeopt.complex.surface import PolyhedralSurface
from shapeopt.complex.zero_set import ZeroSet
from shapeopt.errors import ExtractionError, InputError
from shapeopt.extraction.extractor import Backend, Extractor, check_backend
from shapeopt.extraction.finish import finish
from shapeopt.extraction.tracing.assemble import assemble
from shapeopt.extraction.tracing.plain import ZeroCellSolver
from shapeopt.extraction.tracing.seeds import RESOLUTION, SCALE_RESOLUTION, find_seeds, sample_grid
from shapeopt.extraction.tracing.solver import zero_cell_solver
from shapeopt.extraction.tracing.trace import cells_at, follow, in_double
from shapeopt.extraction.tracing.warm_start import retrace, solve_again
from shapeopt.extraction.tracing.zero_cells import ZeroCells
from shapeopt.networks.affine import AffineLayer


class Tracing(Extractor):
    """Follows the surface alone, from seeds: many times faster on large networks.

    It finds the components that have a seed. Called again for the same network it goes on from
    the last surface, at a fraction of the cost while the weights change little; vertices then come
    in another order than from a cold start.

    Args:
        seeds: points on or near the surface; or the resolution of a grid of sign tests over the
            box that finds them, in cells along a side. Parts and gaps thinner than half a cell
            can then be missed.
        search_every: calls between two searches of the seeds. A component that appears in
            between is found by the next search.
        backend: see :data:`shapeopt.extraction.extractor.Backend`.

    Raises:
        InputError: for a number of cells or calls below 1, or a backend that does not exist.
    """

    def __init__(
        self,
        *,
        seeds: Float[Tensor, "n d"] | int = RESOLUTION,
        search_every: int = 100,
        backend: Backend = "auto",
    ):
        if isinstance(seeds, int) and seeds < 1:
            raise InputError(f"Tracing: seeds is {seeds}; it must be at least 1 cell along a side")
        if search_every < 0:
            raise InputError(f"Tracing: search_every is {search_every}; it must not be negative")
        check_backend(backend)
        self.seeds = seeds
        self.search_every = search_every
        self.backend = backend
        self.reset()

    def reset(self) -> None:
        """Forgets the last surface: the next call starts from the seeds alone."""
        self._network: weakref.ref[nn.Module] | None = None
        self._box: Box | None = None
        self._last: tuple[ZeroCells, ZeroSet] | None = None
        self._scale: Tensor | None = None
        self._calls_to_search = 0

    def surface_of(
        self, network: nn.Module, layers: Sequence[AffineLayer], box: Box
    ) -> PolyhedralSurface:
        """See :meth:`Extractor.surface_of`."""
        if not self._knows(network, box):
            self.reset()
            self._network, self._box = weakref.ref(network), box
        try:
            return self._trace(layers, box)
        except ExtractionError:
            if self._last is None:
                raise
            self._last, self._scale, self._calls_to_search = None, None, 0
            return self._trace(layers, box)

    def _knows(self, network: nn.Module, box: Box) -> bool:
        """Whether the last call was for the same network and box."""
        if self._network is None or self._network() is not network or self._box is None:
            return False
        last = self._box
        return (last.lower.device, last.lower.dtype) == (box.lower.device, box.lower.dtype) and (
            torch.equal(last.lower, box.lower) and torch.equal(last.upper, box.upper)
        )

    def _trace(self, layers: Sequence[AffineLayer], box: Box) -> PolyhedralSurface:
        """Goes on from the surface of the last call, and from seeds if a search is due."""
        constant, domain = in_double(layers, box)
        if self._scale is None:
            self._scale = sample_grid(constant, domain, SCALE_RESOLUTION).scale
        solver = zero_cell_solver(constant, domain, self._scale, self.backend)
        cells, solved = None, None
        if self._last is not None:
            solved = solve_again(solver, self._last[1])
            cells = retrace(solver, *self._last, solved)
            cells = cells if len(cells) else None
        self._calls_to_search -= 1
        if cells is None or self._calls_to_search < 0:
            cells = self._search(solver, cells)
        found = assemble(solver, cells)
        self._last = cells, found
        rows_at = partial(solved.rows_at, solver) if solved is not None else None
        return finish(layers, box, found, rows_at)

    def _search(self, solver: ZeroCellSolver, cells: ZeroCells | None) -> ZeroCells:
        """The cells and all those connected to a seed."""
        self._calls_to_search = self.search_every
        seeds = find_seeds(solver.layers, solver.box, self.seeds, may_be_empty=cells is not None)
        return follow(solver, cells_at(solver, seeds, cells))
