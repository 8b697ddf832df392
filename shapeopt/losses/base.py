"""The three kinds of loss: a weight and a small callable."""

import math
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass

from jaxtyping import Float
from torch import Tensor

from shapeopt.data.cloud import PointCloud
from shapeopt.errors import InputError
from shapeopt.losses.batch import Batch
from shapeopt.mesh.polygon_mesh import PolygonMesh


@dataclass(frozen=True)
class _Weighted:
    weight: float

    def __post_init__(self) -> None:
        if not math.isfinite(self.weight):
            raise InputError(f"{type(self).__name__}: weight is {self.weight}, not a number")

    def _check_positive(self, name: str) -> None:
        """Raises InputError unless the setting of this name is a positive number, or None."""
        value = getattr(self, name)
        if value is not None and not (math.isfinite(value) and value > 0):
            raise InputError(f"{type(self).__name__}: {name} is {value}; it must be positive")

    def _check_vector(self, name: str) -> None:
        """Raises InputError unless the setting of this name is three finite numbers."""
        value: Sequence[float] = getattr(self, name)
        if len(value) != 3 or not all(math.isfinite(x) for x in value):
            raise InputError(f"{type(self).__name__}: {name} is {value}; it must be three numbers")

    def _check_direction(self, name: str) -> None:
        """Raises InputError unless the setting of this name is three numbers, not all 0."""
        self._check_vector(name)
        if not any(getattr(self, name)):
            raise InputError(f"{type(self).__name__}: {name} must have a direction, not be all 0")


class _OfData(_Weighted):
    """Of what differs from the data, which nobody wants more of."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.weight < 0:
            raise InputError(
                f"{type(self).__name__}: weight is {self.weight}, which would drive the network "
                "away from its data; 0 turns the loss off"
            )


@dataclass(frozen=True)
class FitLoss(_OfData, ABC):
    """Measures the network on points in space. On in both phases.

    Attributes:
        weight: factor of this loss in the total, not negative.
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

    def begun_with(self, polygons: float) -> "GeometryLoss":
        """The loss for a shape phase whose first surface has so many expected polygons.

        The same, unless the loss compares with that surface.
        """
        return self

    @abstractmethod
    def __call__(self, surface: PolygonMesh) -> Float[Tensor, ""]:
        """The unweighted loss."""


@dataclass(frozen=True)
class SurfaceFitLoss(_OfData, ABC):
    """Measures the exact surface against the cloud. On in the shape phase.

    Attributes:
        weight: factor of this loss in the total, not negative.
    """

    @abstractmethod
    def __call__(self, surface: PolygonMesh, batch: Batch, cloud: PointCloud) -> Float[Tensor, ""]:
        """The unweighted loss.

        Args:
            surface: differentiable through its vertices.
            batch: of this step; any randomness must depend on it alone, so that a resumed
                training repeats itself.
            cloud: all of it, where a batch would be too sparse.
        """
