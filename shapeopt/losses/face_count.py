"""A differentiable number of polygons."""

import math
from dataclasses import dataclass

from jaxtyping import Float
from torch import Tensor

from shapeopt.losses.base import GeometryLoss
from shapeopt.mesh.polygon_mesh import PolygonMesh
from shapeopt.mesh.safe_norm import safe_ratio


@dataclass(frozen=True)
class FaceCount(GeometryLoss):
    """``L^2 / (pi A)``: expected number of polygons, from total edge length L and area A.

    The number of polygons itself is an integer without a gradient. But every vertex inside the
    surface is a crossing of two folds, V - E + F = chi and E = 2 V there, so F = V + chi; and by
    Crofton's formula curves of total length L, placed at random on a surface of area A, cross
    L^2 / (pi A) times. Edges at the border of the surface are no folds and do not count.

    On trained networks it is right to a few per cent.
    """

    def __call__(self, surface: PolygonMesh) -> Float[Tensor, ""]:
        is_fold = (surface.edge_faces >= 0).all(dim=1)
        length = surface.edge_lengths()[is_fold].sum()
        return safe_ratio(length.square(), math.pi * surface.area())
