"""Where the centre of mass is."""

from collections.abc import Sequence
from dataclasses import dataclass

from jaxtyping import Float
from torch import Tensor

from shapeopt.losses.base import GeometryLoss
from shapeopt.mesh.moments import moments
from shapeopt.mesh.polygon_mesh import PolygonMesh


@dataclass(frozen=True)
class Centroid(GeometryLoss):
    """``|c - target|^2`` of the solid's centre of mass c, in box lengths^2.

    Exact, by the divergence theorem (:func:`shapeopt.mesh.moments.moments`). Needs a closed
    surface: an InputError says so otherwise.

    Attributes:
        target: point to reach, in the box; the origin is its middle.
    """

    target: Sequence[float] = (0.0, 0.0, 0.0)

    def __post_init__(self) -> None:
        super().__post_init__()
        self._check_vector("target")

    def __call__(self, surface: PolygonMesh) -> Float[Tensor, ""]:
        centroid = moments(surface).centroid
        return (centroid - centroid.new_tensor(self.target)).square().sum()
