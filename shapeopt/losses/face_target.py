"""As many polygons as wanted."""

from dataclasses import dataclass, replace

from jaxtyping import Float
from torch import Tensor

from shapeopt.errors import InputError
from shapeopt.losses.base import GeometryLoss
from shapeopt.losses.face_count import FaceCount
from shapeopt.mesh.polygon_mesh import PolygonMesh

STEEPNESS = 6
"""Power of the ratio that the price of a polygon follows."""

STEEPEST = 1.15
"""Ratio from which on the price stays, so that far from the target other losses still count."""


@dataclass(frozen=True)
class FaceTarget(GeometryLoss):
    """``r^7 / 7`` of the ratio r of the expected number of polygons to the number wanted.

    The price of a polygon is the gradient, ``r^6 / wanted``: it falls quickly where there are
    fewer than wanted, so the losses beside it win there, and stays from r = 1.15 on, where the
    function goes on as a straight line. What is expected is the `FaceCount`.

    At the number wanted a hundredth of the polygons is worth a hundredth of the weight.

    Attributes:
        faces: wanted, a number; or, below 1, a share of those at the start of the shape phase.
        start: expected polygons there; a training fills it in. Called without it, a share raises
            InputError.
    """

    faces: float = 0.5
    start: float | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        self._check_positive("faces")
        self._check_positive("start")

    def begun_with(self, polygons: float) -> "FaceTarget":
        """The loss for a shape phase that began with so many expected polygons."""
        return replace(self, start=polygons)

    def __call__(self, surface: PolygonMesh) -> Float[Tensor, ""]:
        ratio = FaceCount(1.0)(surface) / self._wanted()
        low = ratio.clamp(max=STEEPEST)
        return low ** (STEEPNESS + 1) / (STEEPNESS + 1) + STEEPEST**STEEPNESS * (ratio - low)

    def _wanted(self) -> float:
        if self.faces >= 1:
            return self.faces
        if self.start is None:
            raise InputError(
                f"FaceTarget: faces is {self.faces}, a share of the polygons at the start; outside "
                "a training give the number, or the start, too"
            )
        return self.faces * self.start
