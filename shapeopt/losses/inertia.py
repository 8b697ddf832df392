"""How far a solid's mass is from its centre, or from an axis through it."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from shapeopt.losses.base import GeometryLoss
from shapeopt.mesh.moments import moments
from shapeopt.mesh.polygon_mesh import PolygonMesh

# Of a ball of volume 1, whose radius cubed is 3 / (4 pi): 3/5 r^2 and 2/5 r^2.
BALL_POLAR = 3 / 5 * (3 / (4 * math.pi)) ** (2 / 3)
BALL_AXIAL = 2 / 5 * (3 / (4 * math.pi)) ** (2 / 3)


@dataclass(frozen=True)
class Inertia(GeometryLoss):
    """``I / I_ball``: moment of inertia over that of the ball of the same volume, no unit.

    Without an axis I is the integral of |x - c|^2 over the solid, c its centre of mass, and the
    ratio is at least 1, reached by the ball alone: limbs weigh by distance squared, where
    `SolidRoundness` counts their area. With an axis, I is the integral of the squared distance to
    the axis through c: small for a spindle, large for a flywheel (take a negative weight), the
    quantity that decides whether a solid spins. Size does not count.

    Exact, by the divergence theorem (:func:`shapeopt.mesh.moments.moments`); Bächer et al.,
    *Spin-It* (SIGGRAPH 2014), section 3. Needs a closed surface: an InputError says so otherwise.

    Attributes:
        axis: direction of the axis, any length; None for the moment about the centre.
    """

    axis: Sequence[float] | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.axis is not None:
            self._check_direction("axis")

    def __call__(self, surface: PolygonMesh) -> Float[Tensor, ""]:
        solid = moments(surface)
        scale = solid.volume ** (5 / 3)
        polar = solid.second.trace()
        if self.axis is None:
            return polar / (BALL_POLAR * scale)
        axis = torch.nn.functional.normalize(polar.new_tensor(self.axis), dim=0)
        return (polar - axis @ solid.second @ axis) / (BALL_AXIAL * scale)
