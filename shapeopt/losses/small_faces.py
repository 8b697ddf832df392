"""A number of polygons whose small ones count less, so that they vanish."""

from dataclasses import dataclass

from jaxtyping import Float
from torch import Tensor

from shapeopt.losses.base import GeometryLoss
from shapeopt.mesh.polygon_mesh import PolygonMesh


@dataclass(frozen=True)
class SmallFaces(GeometryLoss):
    """``sum a / (a + area)`` over the polygons of area a: a relaxed number of polygons.

    A polygon counts 1 if it is large, half at ``area``, and 0 when it has vanished, so the number
    is continuous where a polygon comes or goes. Its slope pulls on the small ones alone: those
    that cost a polygon and bring little. Fragments and slivers go first.

    Attributes:
        area: at which a polygon counts half, box lengths squared.
    """

    area: float = 1e-3

    def __post_init__(self) -> None:
        super().__post_init__()
        self._check_positive("area")

    def __call__(self, surface: PolygonMesh) -> Float[Tensor, ""]:
        areas = surface.face_areas()
        return (areas / (areas.abs() + self.area)).sum()
