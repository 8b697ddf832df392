"""The surface passes through the cloud."""

from dataclasses import dataclass

from jaxtyping import Float
from torch import Tensor

from shapeopt.losses.base import FitLoss
from shapeopt.losses.batch import Batch


@dataclass(frozen=True)
class OnSurface(FitLoss):
    """``mean |f(p)|`` over the cloud points, in box lengths.

    Gropp et al., *Implicit Geometric Regularization* (ICML 2020), eq. 2, first term.
    """

    def __call__(self, batch: Batch) -> Float[Tensor, ""]:
        return batch.cloud_values.abs().mean()
