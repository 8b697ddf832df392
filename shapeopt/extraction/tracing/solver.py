"""The door to the two implementations of finding cells of the zero set."""

from collections.abc import Sequence

from shapeopt.complex.box import Box
from shapeopt.extraction.extractor import Backend, is_compiled
from shapeopt.extraction.tracing.plain import Scale, ZeroCellSolver
from shapeopt.networks.affine import AffineLayer


def zero_cell_solver(
    layers: Sequence[AffineLayer], box: Box, scale: Scale, backend: Backend
) -> ZeroCellSolver:
    """The solver for the box's dimension and device; arguments as for :class:`ZeroCellSolver`."""
    if not is_compiled(backend, box.lower.device, exists=box.dimension == 3):
        return ZeroCellSolver(layers, box, scale)
    # Imported here, so that importing the package does not load the compiler.
    from shapeopt.extraction.tracing.compiled import CompiledZeroCellSolver

    return CompiledZeroCellSolver(layers, box, scale)
