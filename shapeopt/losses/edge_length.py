"""Length of the surface's edges."""

import math
from dataclasses import dataclass
from typing import Literal

from jaxtyping import Float
from torch import Tensor

from shapeopt.errors import InputError
from shapeopt.losses.base import GeometryLoss
from shapeopt.mesh.polygon_mesh import PolygonMesh


@dataclass(frozen=True)
class EdgeLength(GeometryLoss):
    """``sum |l - target|^power`` or its mean over the edges of length l, in box lengths^power.

    The sum makes folds leave the surface: fewer and, with target 0, shorter edges. The mean with
    target 0 is for measuring: it jumps up whenever short edges vanish, so minimising it does not
    make it small for long. The mean with a target makes edges alike.

    Attributes:
        power: 1 for lengths, 2 to press most on the edges farthest from the target.
        reduction: "sum" or "mean" over the edges.
        target: length every edge should have, box lengths.
    """

    power: float = 1.0
    reduction: Literal["sum", "mean"] = "sum"
    target: float = 0.0

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.power >= 1:
            raise InputError(
                f"EdgeLength: power is {self.power}; below 1 the gradient of a short edge is "
                "unbounded, so it must be at least 1"
            )
        if self.reduction not in ("sum", "mean"):
            raise InputError(f"EdgeLength: reduction is {self.reduction!r}; use 'sum' or 'mean'")
        if not 0 <= self.target < math.inf:
            raise InputError(f"EdgeLength: target is {self.target}; it must be a length, 0 or more")

    def __call__(self, surface: PolygonMesh) -> Float[Tensor, ""]:
        powers = (surface.edge_lengths() - self.target).abs() ** self.power
        return powers.sum() if self.reduction == "sum" else powers.mean()
