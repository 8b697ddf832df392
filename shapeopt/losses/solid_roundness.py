"""How far a solid is from a ball, by area and volume."""

import math
from dataclasses import dataclass

from jaxtyping import Float
from torch import Tensor

from shapeopt.losses.base import GeometryLoss
from shapeopt.mesh.polygon_mesh import PolygonMesh


@dataclass(frozen=True)
class SolidRoundness(GeometryLoss):
    """``A^3 / (36 pi V^2) - 1``, no unit: 0 for a ball and for nothing else.

    A is the area and V the enclosed volume; the isoperimetric quotient of Polya and Szego,
    *Isoperimetric Inequalities in Mathematical Physics* (1951), is 1 / (1 + this). Size does not
    count. Needs a closed surface: an InputError says so otherwise.
    """

    def __call__(self, surface: PolygonMesh) -> Float[Tensor, ""]:
        return surface.area() ** 3 / (36 * math.pi * surface.volume().square()) - 1
