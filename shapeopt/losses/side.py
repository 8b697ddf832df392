"""Points away from the cloud on their right side of the surface."""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from shapeopt.losses.base import FitLoss
from shapeopt.losses.batch import Batch


@dataclass(frozen=True)
class Side(FitLoss):
    """``mean max(0, margin - f(x) sign d(x))`` over the space points with ``|d(x)| > margin``, else
    0; box lengths.

    A hinge: it asks for the sign alone, and a little more. A regression has no more to gain from
    a point on the wrong side than from one as far off on the right side, so a small network leaves
    webs in narrow gaps, and specks where f is nearly 0.

    Attributes:
        margin: distance beyond which points count, and what ``|f|`` is to be there, box lengths.
    """

    margin: float = 0.01

    def __post_init__(self) -> None:
        super().__post_init__()
        self._check_positive("margin")

    def __call__(self, batch: Batch) -> Float[Tensor, ""]:
        distances = batch.space_distances
        missing = (self.margin - batch.space_values * distances.sign()).relu()
        return torch.where(distances.abs() > self.margin, missing, 0).mean()
