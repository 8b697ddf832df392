"""Telling how far an extraction has come, and the error when its books do not balance."""

from collections.abc import Callable

from shapeopt.errors import ExtractionError

Progress = Callable[[int, int, int], None]
"""Called after each neuron with its layer, its place in the layer, and the vertices so far."""


class Inconsistent(ExtractionError):
    """Rounding decided signs in a way that no arrangement of folds has."""


def inconsistent(layer: int) -> Inconsistent:
    """The error for a cut face that does not have exactly two cut edges."""
    return Inconsistent(
        f"a face cut by a neuron of layer {layer} does not have exactly two cut edges: rounding "
        "decided a sign in two ways, or two cells share a 64-bit key; please report the network"
    )
