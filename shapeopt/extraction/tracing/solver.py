"""The door to the two implementations of finding cells of the zero set."""

from collections.abc import Sequence

from jaxtyping import Float
from torch import Tensor

from shapeopt.complex.box import Box
from shapeopt.extraction.tracing.plain import PieceSolver
from shapeopt.networks.affine import AffineLayer


def piece_solver(
    layers: Sequence[AffineLayer], box: Box, scale: Float[Tensor, "hidden"]
) -> "PieceSolver":
    """The solver for the box's dimension and device; arguments as for :class:`PieceSolver`."""
    if box.lower.device.type == "cpu" and box.dimension == 3:
        # Imported here, so that importing the package does not load the compiler.
        from shapeopt.extraction.tracing.compiled import CpuPieceSolver

        return CpuPieceSolver(layers, box, scale)
    return PieceSolver(layers, box, scale)
