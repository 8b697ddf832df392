"""Telling how far an extraction has come, and the error when its books do not balance."""

from collections.abc import Callable

from shapeopt.errors import ExtractionError

Progress = Callable[[int, int, int], None]
"""Called after each neuron with its layer, its place in the layer, and the vertices so far."""


def inconsistent(layer: int) -> ExtractionError:
    """The error for a cut face that does not have exactly two cut edges."""
    return ExtractionError(
        f"a face cut by a neuron of layer {layer} does not have exactly two cut edges: "
        "two cells share a 64-bit key; please report the network"
    )
