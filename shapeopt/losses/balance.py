"""A solid that stands by itself."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from shapeopt.errors import InputError
from shapeopt.losses.base import GeometryLoss
from shapeopt.mesh.moments import moments
from shapeopt.mesh.polygon_mesh import PolygonMesh

DIRECTIONS = 64  # to tilt towards


@dataclass(frozen=True)
class Balance(GeometryLoss):
    """``mean max(0, margin - r(u))^2`` over directions u, in box lengths^2: 0 when it stands.

    Tilt the solid by a small angle towards a horizontal direction u and put it on the ground
    again: if its centre of mass c is then higher, for all u, the upright solid cannot leave these
    tilts by itself, and comes to rest on the way. c rises by sin(tilt) times the reach ::

        r(u) = max over v of ((v - c) . u - height(v) / tan(tilt)) - height(c) tan(tilt / 2)

    over the vertices v, heights above the lowest one. So a vertex supports c as far as it is
    beyond c, less if it is off the ground. The gradient moves c back and the supporting vertices
    out and down. Needs a closed surface: an InputError says so otherwise.

    The height of the centre as a function of the pose is the one of Kriegman, *Let Them Fall Where
    They May* (International Journal of Robotics Research 1997). For solids of one density.

    Attributes:
        down: direction of gravity, any length.
        tilt: angle that the solid must stand, radians. Less asks for flatter feet, more for
            wider ones.
        margin: reach to have in every direction, box lengths.
    """

    down: Sequence[float] = (0.0, 0.0, -1.0)
    tilt: float = 0.1
    margin: float = 0.01

    def __post_init__(self) -> None:
        super().__post_init__()
        self._check_direction("down")
        if not 0 < self.tilt < math.pi / 2:
            raise InputError(f"Balance: tilt is {self.tilt}; it must be an angle up to pi/2")
        if not 0 <= self.margin < math.inf:
            raise InputError(f"Balance: margin is {self.margin}; it must be a length, 0 or more")

    def __call__(self, surface: PolygonMesh) -> Float[Tensor, ""]:
        return (self.margin - self.reach(surface)).relu().square().mean()

    def reach(self, surface: PolygonMesh) -> Float[Tensor, "directions"]:
        """r(u) for directions u all around, box lengths; negative where the solid tips over."""
        down = torch.nn.functional.normalize(surface.vertices.new_tensor(self.down), dim=0)
        turn = torch.arange(DIRECTIONS).to(down) * (2 * math.pi / DIRECTIONS)
        directions = horizontal_axes(down) @ torch.stack([turn.cos(), turn.sin()])
        offset = surface.vertices - moments(surface).centroid
        depth = offset @ down
        lowest = depth.max()
        height = lowest - depth
        supporting = offset @ directions - height[:, None] / math.tan(self.tilt)
        return supporting.amax(dim=0) - lowest * math.tan(self.tilt / 2)


def horizontal_axes(down: Float[Tensor, "3"]) -> Float[Tensor, "3 2"]:
    """Two unit vectors at right angles to the unit vector ``down`` and to each other."""
    # Any axis but down's own will do: the one that is most across it.
    across = torch.nn.functional.one_hot(down.abs().argmin(), 3).to(down)
    first = torch.nn.functional.normalize(torch.linalg.cross(down, across), dim=0)
    return torch.stack([first, torch.linalg.cross(down, first)], dim=1)
