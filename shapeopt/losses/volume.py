"""Volume of the solid."""

from dataclasses import dataclass

from jaxtyping import Float
from torch import Tensor

from shapeopt.losses.base import GeometryLoss
from shapeopt.mesh.polygon_mesh import PolygonMesh


@dataclass(frozen=True)
class Volume(GeometryLoss):
    """``(V / target - 1)^2``, no unit; without a target V itself, in box lengths^3.

    V is the exact enclosed volume, by the divergence theorem. A negative weight without a target
    inflates. Needs a closed surface: an InputError says so otherwise.

    Attributes:
        target: volume to reach, box lengths^3.
    """

    target: float | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        self._check_positive("target")

    def __call__(self, surface: PolygonMesh) -> Float[Tensor, ""]:
        volume = surface.volume()
        return volume if self.target is None else (volume / self.target - 1).square()
