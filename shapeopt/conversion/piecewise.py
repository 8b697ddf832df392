"""A function of one number as a sum of ReLUs."""

from collections.abc import Callable

import torch
from jaxtyping import Float
from torch import Tensor, nn

from shapeopt.errors import InputError

GRID = 4_001
"""Places in the range at which a function is compared with its pieces."""

MOST_PIECES = 200

OF_GRID = 0.05
"""Weight of the whole range, beside that of what is seen, when pieces are fitted."""


class PiecewiseLinear(nn.Module):
    """Applies to each number a function that is affine between knots.

    It is ``values[0] + sum of bends * relu(x - knots)``: constant below the first knot, and the
    last piece goes on beyond the last one. So layers see the layer before them alone. The numbers
    are constants, no parameters.

    Args:
        knots: increasing, at least two.
        values: at the knots.
    """

    def __init__(self, knots: Float[Tensor, "k"], values: Float[Tensor, "k"]):
        super().__init__()
        slopes = values.diff() / knots.diff()
        bends = slopes.diff(prepend=slopes.new_zeros(1))
        self.register_buffer("start", values[0].clone())
        self.register_buffer("folds", knots[:-1][bends != 0])
        self.register_buffer("bends", bends[bends != 0])
        self.start: Tensor
        self.folds: Tensor
        self.bends: Tensor

    def forward(self, x: Tensor) -> Tensor:
        """Elementwise."""
        return torch.relu(x[..., None] - self.folds) @ self.bends + self.start


def fit_pieces(
    function: Callable[[Tensor], Tensor], seen: Float[Tensor, "n"], tolerance: float
) -> PiecewiseLinear:
    """A piecewise-linear function in place of another.

    Knots are where a greedy walk finds as few chords as it can, each within twice the tolerance of
    the function. The values at the knots are then fitted by least squares to what is seen, so that
    errors are about half as large and cancel: chords of a convex function are all above it.

    Args:
        function: elementwise, of float64.
        seen: numbers that it is applied to, float64; their range is that of the pieces.
        tolerance: about the largest difference in the range.

    Raises:
        InputError: if it takes more than 200 pieces.
    """
    grid = torch.linspace(seen.min().item(), seen.max().item(), GRID, dtype=torch.float64)
    values = function(grid)
    knots = [0]
    while knots[-1] < GRID - 1:
        if len(knots) > MOST_PIECES:
            raise InputError(
                f"it takes more than {MOST_PIECES} pieces between {grid[0]:.3g} and "
                f"{grid[-1]:.3g} for a difference of {tolerance:.3g}; give a larger tolerance"
            )
        knots.append(_farthest(grid, values, knots[-1], 2 * tolerance))
    places = torch.cat([grid, seen])
    weight = torch.cat([grid.new_full((GRID,), OF_GRID / GRID), torch.ones_like(seen) / len(seen)])
    hats = _hats(places, grid[knots]) * weight.sqrt()[:, None]
    target = function(places) * weight.sqrt()
    fitted = torch.linalg.lstsq(hats, target[:, None]).solution[:, 0]
    # An almost constant end, as of a softplus, needs no ReLU for its slope.
    if abs(fitted[1] - fitted[0]) < tolerance / 10:
        fitted[0] = fitted[1]
    return PiecewiseLinear(grid[knots], fitted)


def _hats(places: Float[Tensor, "n"], knots: Float[Tensor, "k"]) -> Float[Tensor, "n k"]:
    """The piecewise-linear functions that are 1 at one knot and 0 at the others."""
    piece = (torch.searchsorted(knots, places) - 1).clamp(0, len(knots) - 2)
    share = (places - knots[piece]) / (knots[piece + 1] - knots[piece])
    hats = places.new_zeros(len(places), len(knots))
    hats.scatter_(1, piece[:, None], 1 - share[:, None])
    return hats.scatter_(1, piece[:, None] + 1, share[:, None])


def _farthest(
    grid: Float[Tensor, "n"], values: Float[Tensor, "n"], start: int, tolerance: float
) -> int:
    """The last place up to which one chord from the start is near enough, by bisection."""

    def is_near(end: int) -> bool:
        part, at = values[start : end + 1], grid[start : end + 1]
        slope = (part[-1] - part[0]) / (at[-1] - at[0])
        chord = part[0] + slope * (at - at[0])
        return bool((part - chord).abs().amax() <= tolerance)

    reach = 1
    while start + 2 * reach < len(grid) and is_near(start + 2 * reach):
        reach *= 2
    good, bad = start + reach, min(start + 2 * reach, len(grid))
    while bad - good > 1:
        middle = (good + bad) // 2
        good, bad = (middle, bad) if is_near(middle) else (good, middle)
    return good
