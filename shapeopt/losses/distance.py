"""Regression to a signed distance."""

from dataclasses import dataclass

from jaxtyping import Float
from torch import Tensor

from shapeopt.losses.base import FitLoss
from shapeopt.losses.batch import Batch


@dataclass(frozen=True)
class Distance(FitLoss):
    """``mean |f(x) - d(x)|`` over the space points, in box lengths.

    d is the pseudo signed distance to the oriented cloud. L1, as in Park et al., *DeepSDF*
    (CVPR 2019), eq. 4, here without clamping.
    """

    def __call__(self, batch: Batch) -> Float[Tensor, ""]:
        return (batch.space_values - batch.space_distances).abs().mean()
