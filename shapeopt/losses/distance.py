"""Regression to a signed distance."""

import math
from dataclasses import dataclass

from jaxtyping import Float
from torch import Tensor

from shapeopt.errors import InputError
from shapeopt.losses.base import FitLoss
from shapeopt.losses.batch import Batch


@dataclass(frozen=True)
class Distance(FitLoss):
    """``mean |f(x) - d(x)| near / (near + |d(x)|)`` over the space points, in box lengths.

    d is the pseudo signed distance to the oriented cloud. L1, as in Park et al., *DeepSDF*
    (CVPR 2019), eq. 4. Instead of their clamping, an error counts less the further away it is: a
    small network then spends its folds at the surface, and still keeps the sign elsewhere.

    Attributes:
        near: distance at which an error counts half, in box lengths; ``inf`` counts all alike.
    """

    near: float = math.inf

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.near > 0:
            raise InputError(f"Distance: near is {self.near}; it must be positive")

    def __call__(self, batch: Batch) -> Float[Tensor, ""]:
        errors = (batch.space_values - batch.space_distances).abs()
        # 1 / (1 + |d| / near) is the same as near / (near + |d|), and 1 for an infinite near.
        return (errors / (1 + batch.space_distances.abs() / self.near)).mean()
