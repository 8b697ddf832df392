"""Whether two shapes can be in the same units and place."""

import warnings

import numpy as np
from jaxtyping import Float

RATIOS = {
    10.0: "as with millimetres and centimetres",
    100.0: "as with centimetres and metres",
    1000.0: "as with millimetres and metres",
    25.4: "as with millimetres and inches",
    12.0: "as with inches and feet",
    39.37: "as with inches and metres",
    304.8: "as with millimetres and feet",
}
SUSPICIOUS = 8.0
"""Times that one of two shapes must be larger than the other; results of a bad training are not."""


def unlike(surface: Float[np.ndarray, "n 3"], truth: Float[np.ndarray, "m 3"]) -> str | None:
    """A hint that a surface and the truth have other units or lie apart; None if they need not.

    Args:
        surface, truth: points of each, in what should be the same units.
    """
    ours, theirs = (float(np.ptp(points, axis=0).max()) for points in (surface, truth))
    ratio = max(ours, theirs) / max(min(ours, theirs), 1e-300)
    if ratio > SUSPICIOUS:
        known = [words for value, words in RATIOS.items() if abs(ratio / value - 1) < 0.1]
        which = "larger" if ours > theirs else "smaller"
        return (
            f"the surface is {ratio:.4g} times {which} than the truth"
            f"{', ' + known[0] if known else ''}: bring both to the same units"
        )
    gap = np.maximum(
        surface.min(axis=0) - truth.max(axis=0), truth.min(axis=0) - surface.max(axis=0)
    )
    if gap.max() > max(ours, theirs):
        return (
            f"the surface and the truth lie {gap.max() / max(ours, theirs):.3g} times their size "
            "apart: bring both to the same place"
        )
    return None


def warn_if_unlike(surface: Float[np.ndarray, "n 3"], truth: Float[np.ndarray, "m 3"]) -> None:
    """Warns with the hint of `unlike`, if there is one."""
    if hint := unlike(surface, truth):
        warnings.warn(hint, stacklevel=3)
