"""The way from a file's coordinates into the box that networks are trained in, and back."""

import math
from dataclasses import dataclass
from typing import TypeVar

import torch
from jaxtyping import Float
from torch import Tensor

from shapeopt.errors import InputError
from shapeopt.mesh.polygon_mesh import PolygonMesh

Mesh = TypeVar("Mesh", bound=PolygonMesh)


@dataclass(frozen=True)
class Normalisation:
    """A point x of the input is at ``(x - center) * scale`` in the box.

    Attributes:
        center: float64, input units.
        scale: box lengths per input unit.

    Raises:
        InputError: unless the scale is a positive number.
    """

    center: Float[Tensor, "3"]
    scale: float

    def __post_init__(self) -> None:
        if not (math.isfinite(self.scale) and self.scale > 0):
            raise InputError(f"scale is {self.scale}; it must be a positive number")

    @staticmethod
    def identity() -> "Normalisation":
        """For what lies in the box already."""
        return Normalisation(torch.zeros(3, dtype=torch.float64), 1.0)

    def apply(self, points: Float[Tensor, "k 3"]) -> Float[Tensor, "k 3"]:
        """Positions of the input in the box: float64, same device. Gradients flow."""
        return (points.double() - self.center.to(points.device)) * self.scale

    def undo(self, points: Float[Tensor, "k 3"]) -> Float[Tensor, "k 3"]:
        """Positions in the box back in the input's place and units, as :meth:`apply`."""
        return points.double() / self.scale + self.center.to(points.device)

    def undo_mesh(self, mesh: Mesh) -> Mesh:
        """A mesh in the box back in the input's place and units."""
        return mesh.scaled_and_moved(1 / self.scale, self.center)
