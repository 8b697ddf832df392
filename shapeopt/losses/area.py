"""Area of the surface."""

from dataclasses import dataclass

from jaxtyping import Float
from torch import Tensor

from shapeopt.losses.base import GeometryLoss
from shapeopt.mesh.polygon_mesh import PolygonMesh


@dataclass(frozen=True)
class Area(GeometryLoss):
    """``(A / target - 1)^2``, no unit; without a target A itself, in box lengths^2.

    A is the exact area of all polygons. Minimising it without a target is mean curvature flow:
    Pinkall and Polthier, *Computing Discrete Minimal Surfaces and Their Conjugates* (1993).

    Attributes:
        target: area to reach, box lengths^2.
    """

    target: float | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        self._check_positive("target")

    def __call__(self, surface: PolygonMesh) -> Float[Tensor, ""]:
        area = surface.area()
        return area if self.target is None else (area / self.target - 1).square()
