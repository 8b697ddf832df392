"""f grows like a distance."""

from dataclasses import dataclass

from jaxtyping import Float
from torch import Tensor

from shapeopt.losses.base import FitLoss
from shapeopt.losses.batch import Batch


@dataclass(frozen=True)
class Eikonal(FitLoss):
    """``mean (|grad f(x)| - 1)^2`` over the space points; no unit.

    Gropp et al., *Implicit Geometric Regularization* (ICML 2020), eq. 3.
    """

    def __call__(self, batch: Batch) -> Float[Tensor, ""]:
        return (batch.space_gradients.norm(dim=1) - 1).square().mean()
