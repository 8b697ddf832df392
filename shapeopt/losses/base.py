"""The two kinds of loss: a weight and a small callable."""

import math
from abc import ABC, abstractmethod
from dataclasses import dataclass

from jaxtyping import Float
from torch import Tensor

from shapeopt.complex.surface import PolyhedralSurface
from shapeopt.errors import InputError
from shapeopt.losses.batch import Batch


@dataclass(frozen=True)
class _Weighted:
    weight: float

    def __post_init__(self) -> None:
        if not math.isfinite(self.weight):
            raise InputError(f"{type(self).__name__}: weight is {self.weight}, not a number")


@dataclass(frozen=True)
class FitLoss(_Weighted, ABC):
    """Measures the network on points in space. On in both phases.

    Attributes:
        weight: factor of this loss in the total.
    """

    @abstractmethod
    def __call__(self, batch: Batch) -> Float[Tensor, ""]:
        """The unweighted loss."""


@dataclass(frozen=True)
class GeometryLoss(_Weighted, ABC):
    """Measures the exact surface, differentiable through its vertices. On in the shape phase.

    Attributes:
        weight: factor of this loss in the total.
    """

    @abstractmethod
    def __call__(self, surface: PolyhedralSurface) -> Float[Tensor, ""]:
        """The unweighted loss."""
