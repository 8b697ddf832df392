"""The surface faces the way the cloud does."""

from dataclasses import dataclass

from jaxtyping import Float
from torch import Tensor

from shapeopt.losses.base import FitLoss
from shapeopt.losses.batch import Batch


@dataclass(frozen=True)
class Normals(FitLoss):
    """``mean |grad f(p) - n|`` over the cloud points and their unit normals; no unit.

    Gropp et al., *Implicit Geometric Regularization* (ICML 2020), eq. 2, second term.
    """

    def __call__(self, batch: Batch) -> Float[Tensor, ""]:
        return (batch.cloud_gradients - batch.cloud_normals).norm(dim=1).mean()
