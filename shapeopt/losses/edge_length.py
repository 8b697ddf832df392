"""Length of the surface's edges."""

from dataclasses import dataclass
from typing import Literal

from jaxtyping import Float
from torch import Tensor

from shapeopt.complex.surface import PolyhedralSurface
from shapeopt.errors import InputError
from shapeopt.losses.base import GeometryLoss


@dataclass(frozen=True)
class EdgeLength(GeometryLoss):
    """``sum l^power`` or ``mean l^power`` over the edges of length l, in box lengths^power.

    The sum makes folds leave the surface: fewer and shorter edges. The mean is for measuring: it
    jumps up whenever short edges vanish, so minimising it does not make it small for long.

    Attributes:
        power: 1 for lengths, 2 to press on long edges most.
        reduction: "sum" or "mean" over the edges.
    """

    power: float = 1.0
    reduction: Literal["sum", "mean"] = "sum"

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.power < 1:
            raise InputError(
                f"EdgeLength: power is {self.power}; below 1 the gradient of a short edge is "
                "unbounded, so it must be at least 1"
            )
        if self.reduction not in ("sum", "mean"):
            raise InputError(f"EdgeLength: reduction is {self.reduction!r}; use 'sum' or 'mean'")

    def __call__(self, surface: PolyhedralSurface) -> Float[Tensor, ""]:
        powers = surface.edge_lengths() ** self.power
        return powers.sum() if self.reduction == "sum" else powers.mean()
