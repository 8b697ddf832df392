"""Tracing as an extractor of surfaces, which stays warm with a network in training."""

import warnings
import weakref
from dataclasses import dataclass, replace

import torch
from jaxtyping import Float
from torch import Tensor, nn

from shapeopt.complex.box import Box
from shapeopt.complex.differentiate import carries_gradient
from shapeopt.complex.surface import PolyhedralSurface
from shapeopt.complex.zero_set import ZeroSet
from shapeopt.errors import ExtractionError, InputError
from shapeopt.extraction.collapse import has_copies
from shapeopt.extraction.condition import Conditioned
from shapeopt.extraction.extractor import Backend, Extractor, check_backend, is_compiled
from shapeopt.extraction.finish import finish
from shapeopt.extraction.no_zero import NoZero
from shapeopt.extraction.subdivision.extractor import Subdivision
from shapeopt.extraction.tracing.assemble import assemble
from shapeopt.extraction.tracing.plain import Scale, ZeroCellSolver
from shapeopt.extraction.tracing.seeds import (
    RESOLUTION,
    find_seeds,
    measured_scale,
    subdivided_seeds,
)
from shapeopt.extraction.tracing.solver import zero_cell_solver
from shapeopt.extraction.tracing.trace import follow, starts_at
from shapeopt.extraction.tracing.warm_start import moved, retrace, solve_again, solved_at
from shapeopt.extraction.tracing.zero_cells import ZeroCells
from shapeopt.networks.affine import without_graph


class Tracing(Extractor):
    """Follows the surface alone, from seeds: many times faster on large networks.

    Called again for the same network it goes on from the last surface, at a fraction of the cost
    while the weights change little. The order of vertices and polygons is that of their keys, and
    on a CPU a surface that carries a gradient is that of a cold start to the last bit.
    Where it finds nothing, or cannot follow the surface since folds coincide in a way that its
    polygons decide differently, edge subdivision is used instead, and a warning says so; but an
    encoded network is refused there.

    Args:
        seeds: points on or near the surface; or the resolution of a grid of sign tests over the
            box that finds them, in cells along a side. Of a component without a seed nothing is
            found: parts and gaps thinner than half a cell can be missed.
        complete: take seeds from edge subdivision, which misses nothing, at its price.
        search_every: calls between two searches for seeds. A component that appears in between is
            found by the next search.
        all_folds: cut the surface by the folds that do not bend f, too.
        backend: see :data:`shapeopt.extraction.extractor.Backend`.

    Raises:
        InputError: for fewer than 1 cell, a negative number of calls, a backend that does not
            exist, or seeds given to a complete search.
    """

    def __init__(
        self,
        *,
        seeds: Float[Tensor, "n d"] | int = RESOLUTION,
        complete: bool = False,
        search_every: int = 100,
        all_folds: bool = False,
        backend: Backend = "auto",
    ):
        if isinstance(seeds, int) and seeds < 1:
            raise InputError(f"Tracing: seeds is {seeds}; it must be at least 1 cell along a side")
        if complete and not isinstance(seeds, int):
            raise InputError("Tracing: complete=True finds its own seeds; give one or the other")
        if search_every < 0:
            raise InputError(f"Tracing: search_every is {search_every}; it must not be negative")
        check_backend(backend)
        self.seeds = seeds
        self.complete = complete
        self.search_every = search_every
        self.all_folds = all_folds
        self.backend = backend
        self.reset()

    @property
    def is_complete(self) -> bool:
        """Whether seeds come from a complete search; between two searches that does not hold."""
        return self.complete and (self._last is None or self._last.is_searched(self.search_every))

    def reset(self) -> None:
        """Forgets the last surface: the next call starts from the seeds alone."""
        self._last: _Last | None = None

    def surface_of(self, network: nn.Module, unit: Conditioned) -> PolyhedralSurface:
        """See :meth:`Extractor.surface_of`."""
        if self._last is not None and not self._last.is_of(network, unit.box):
            self.reset()
        was_warm = self._last is not None
        try:
            return self._trace(network, unit)
        except (ExtractionError, NoZero) as error:
            self.reset()
            if was_warm:
                return self.surface_of(network, unit)
            if unit.layers[0].encoding is not None:
                raise (_not_followed() if isinstance(error, ExtractionError) else error) from None
            return self._subdivide(network, unit, error)

    def _trace(self, network: nn.Module, unit: Conditioned) -> PolyhedralSurface:
        """The surface, warm if there is a last one; it becomes the last one itself."""
        constant, box, last = without_graph(unit.layers), unit.box, self._last
        scale = last.scale if last else measured_scale(constant, box)
        solver = zero_cell_solver(constant, box, scale, self.backend)
        # A GPU computes what a gradient needs in less time than it takes to pick what is known.
        keeps = carries_gradient(unit.layers) and box.lower.device.type == "cpu"
        outputs_in = unit.weights_in if keeps else None
        solved = solve_again(solver, last.found, outputs_in) if last else None
        cells = None
        if last is not None and solved is not None:
            cells = retrace(solver, last.cells, last.found, solved)
            cells = cells if len(cells) else None
        are_new = cells is None
        calls_to_search = last.calls_to_search - 1 if last else -1
        if cells is None or calls_to_search < 0:
            seeds = self._find_seeds(solver, unit, may_be_empty=cells is not None)
            cells = follow(solver, starts_at(solver, seeds, cells), cells)
            calls_to_search = self.search_every
        cells = solver.in_order(cells)
        found, known_at = assemble(solver, cells), None
        if not are_new:  # the slopes of the cells that were kept are those of other weights
            found = replace(found, slopes=None)
        if keeps:
            solved = solved_at(solver, found, solved, outputs_in)
            found, solved = moved(solver, found, solved)
            known_at = solved.known_at
        self._last = _Last(weakref.ref(network), box, scale, cells, found, calls_to_search)
        compiled = is_compiled(self.backend, box.lower.device, exists=box.dimension == 3)
        surface = finish(
            unit.layers,
            box,
            found,
            known_at,
            all_folds=self.all_folds,
            compiled=compiled,
            sums_in=unit.weights_in,
        )
        if has_copies(surface.vertices.detach(), compiled=compiled):
            raise ExtractionError(
                "two sheets of the zero set lie on each other: it runs along a fold of the network"
            )
        return surface

    def _find_seeds(
        self, solver: ZeroCellSolver, unit: Conditioned, may_be_empty: bool
    ) -> Float[Tensor, "n d"]:
        if self.complete:
            return subdivided_seeds(solver, self.backend)
        seeds = self.seeds if isinstance(self.seeds, int) else unit.apply_points(self.seeds)
        encoding = unit.layers[0].encoding
        if encoding is not None and isinstance(seeds, int):
            seeds = max(seeds, encoding.finest)
        return find_seeds(solver, seeds, may_be_empty=may_be_empty)

    def _subdivide(
        self, network: nn.Module, unit: Conditioned, error: ExtractionError | NoZero
    ) -> PolyhedralSurface:
        """The surface by edge subdivision, after tracing has failed with the error.

        From given seeds the error is raised: a surface beyond them is not wanted.
        """
        if not isinstance(self.seeds, int):
            raise error
        if isinstance(error, ExtractionError):
            warnings.warn(f"edge subdivision was used instead of tracing: {error}", stacklevel=4)
        subdivision = Subdivision(all_folds=self.all_folds, backend=self.backend)
        return subdivision.surface_of(network, unit)


def _not_followed() -> ExtractionError:
    return ExtractionError(
        "the surface of the encoded network cannot be followed: folds coincide with each other or "
        "with planes of the lattice, and polygons disagree there. Weights that are not rounded, or "
        "a step of training, move them apart"
    )


@dataclass(frozen=True)
class _Last:
    """What a call leaves to the next one.

    Attributes:
        network: that the surface is of; it may have been deleted since.
        box: the domain.
        scale: measured at the cold start.
        cells: of the zero set.
        found: the mesh that they make.
        calls_to_search: calls that can go by before the next search of the seeds.
    """

    network: weakref.ref[nn.Module]
    box: Box
    scale: Scale
    cells: ZeroCells
    found: ZeroSet
    calls_to_search: int

    def is_searched(self, search_every: int) -> bool:
        """Whether the last call searched for seeds."""
        return self.calls_to_search == search_every

    def is_of(self, network: nn.Module, box: Box) -> bool:
        """Whether the network and the box are the same; its weights may have changed."""
        mine, given = self.box, box
        return (
            self.network() is network
            and (mine.lower.device, mine.lower.dtype) == (given.lower.device, given.lower.dtype)
            and torch.equal(
                torch.cat([mine.lower, mine.upper]), torch.cat([given.lower, given.upper])
            )
        )
