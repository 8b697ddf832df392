"""No surface where there is no cloud."""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from shapeopt.errors import InputError
from shapeopt.losses.base import FitLoss
from shapeopt.losses.batch import Batch


@dataclass(frozen=True)
class OffSurface(FitLoss):
    """``mean exp(-sharpness |f(x)|)`` over the space points; no unit.

    Sitzmann et al., *SIREN* (NeurIPS 2020), eq. 6, last term.

    Attributes:
        sharpness: inverse of the distance from the surface that still counts, per box length.
    """

    sharpness: float = 100.0

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.sharpness <= 0:
            raise InputError(f"OffSurface: sharpness is {self.sharpness}; it must be positive")

    def __call__(self, batch: Batch) -> Float[Tensor, ""]:
        return torch.exp(-self.sharpness * batch.space_values.abs()).mean()
