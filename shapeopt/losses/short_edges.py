"""No very short edges."""

from dataclasses import dataclass

from jaxtyping import Float
from torch import Tensor

from shapeopt.losses.base import GeometryLoss
from shapeopt.mesh.polygon_mesh import PolygonMesh


@dataclass(frozen=True)
class ShortEdges(GeometryLoss):
    """``mean max(0, 1 - l / threshold)^2`` over the edges of length l; no unit.

    A one-sided quadratic barrier: 0 for edges of at least the threshold, 1 for edges of no
    length. An edge of exactly no length has no direction to grow in, and gradient 0. An edge
    that shrinks can be lengthened, or vanish where its two folds stop crossing: both lower it.

    Attributes:
        threshold: length below which an edge counts as short, box lengths.
    """

    threshold: float = 0.005

    def __post_init__(self) -> None:
        super().__post_init__()
        self._check_positive("threshold")

    def __call__(self, surface: PolygonMesh) -> Float[Tensor, ""]:
        return (1 - surface.edge_lengths() / self.threshold).relu().square().mean()
