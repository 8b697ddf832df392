"""Tracing as an extractor of surfaces, which stays warm with a network in training."""

import weakref
from collections.abc import Sequence
from dataclasses import dataclass
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
from shapeopt.extraction.tracing.warm_start import SolvedVertices, retrace, solve_again
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
        InputError: for fewer than 1 cell, a negative number of calls, or a backend that does not
            exist.
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
        self._last: _Last | None = None

    def surface_of(
        self, network: nn.Module, layers: Sequence[AffineLayer], box: Box
    ) -> PolyhedralSurface:
        """See :meth:`Extractor.surface_of`."""
        if self._last is not None and not self._last.is_of(network, box):
            self.reset()
        try:
            return self._trace(network, layers, box)
        except ExtractionError:
            if self._last is None:
                raise
            self.reset()
            return self._trace(network, layers, box)

    def _trace(
        self, network: nn.Module, layers: Sequence[AffineLayer], box: Box
    ) -> PolyhedralSurface:
        """The surface, warm if there is a last one; it becomes the last one itself."""
        constant, domain = in_double(layers, box)
        last = self._last
        scale = last.scale if last else sample_grid(constant, domain, SCALE_RESOLUTION).scale
        solver = zero_cell_solver(constant, domain, scale, self.backend)
        solved = solve_again(solver, last.found) if last else None
        cells, calls_to_search = self._cells(solver, solved)
        found = assemble(solver, cells)
        self._last = _Last(weakref.ref(network), box, scale, cells, found, calls_to_search)
        rows_at = partial(solved.rows_at, solver) if solved is not None else None
        return finish(layers, box, found, rows_at)

    def _cells(
        self, solver: ZeroCellSolver, solved: SolvedVertices | None
    ) -> tuple[ZeroCells, int]:
        """The cells connected to the last surface, and to seeds if a search is due.

        Returns:
            The cells, and how many calls can go by before the next search.
        """
        cells, last = None, self._last
        if last is not None and solved is not None:
            cells = retrace(solver, last.cells, last.found, solved)
            if len(cells) and last.calls_to_search > 0:
                return cells, last.calls_to_search - 1
            cells = cells if len(cells) else None
        seeds = find_seeds(solver.layers, solver.box, self.seeds, may_be_empty=cells is not None)
        return follow(solver, cells_at(solver, seeds, cells)), self.search_every


@dataclass(frozen=True)
class _Last:
    """What a call leaves to the next one.

    Attributes:
        network: that the surface is of; it may have been deleted since.
        box: the domain.
        scale: size of the hidden neurons' values, measured at the cold start.
        cells: of the zero set.
        found: the mesh that they make.
        calls_to_search: calls that can go by before the next search of the seeds.
    """

    network: weakref.ref[nn.Module]
    box: Box
    scale: Float[Tensor, "hidden"]
    cells: ZeroCells
    found: ZeroSet
    calls_to_search: int

    def is_of(self, network: nn.Module, box: Box) -> bool:
        """Whether the network and the box are the same; its weights may have changed."""
        mine, given = self.box.lower, box.lower
        return (
            self.network() is network
            and (mine.device, mine.dtype) == (given.device, given.dtype)
            and torch.equal(mine, given)
            and torch.equal(self.box.upper, box.upper)
        )
