"""A solid that stands by itself."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float, Int64
from torch import Tensor

from shapeopt.complex.moments import moments
from shapeopt.complex.surface import PolyhedralSurface
from shapeopt.errors import InputError
from shapeopt.losses.base import GeometryLoss
from shapeopt.losses.safe_norm import safe_norm


@dataclass(frozen=True)
class Balance(GeometryLoss):
    """``max(0, d + margin)^2``, in box lengths^2: 0 when the solid stands safely.

    The support polygon is the convex hull of the vertices within ``tolerance`` of the lowest one,
    seen along ``down``; d is the signed distance from the centre of mass to it, negative inside::

              c                             c      centre of mass
              :                             :
        [--support--]          [-support-]  :      lowest vertices
               |-d|                      |d-|
            d < 0: it stands          d > 0: it tips over

    The gradient moves the centre of mass over the support and the nearest side of the support
    under the centre of mass. It never moves the support up or down, for then the solid would
    stand on one of its vertices only. A support of one or two vertices has no inside, so d >= 0.
    Needs a closed surface: an InputError says so otherwise.

    Prevost et al., *Make It Stand: Balancing Shapes for 3D Fabrication* (SIGGRAPH 2013),
    section 3, who move the centre of mass over a point of the support; for solids of one density.

    Attributes:
        down: direction of gravity, any length.
        tolerance: height above the lowest vertex that still touches the ground, box lengths.
        margin: how deep within the support the centre of mass must be, box lengths.
    """

    down: Sequence[float] = (0.0, 0.0, -1.0)
    tolerance: float = 0.01
    margin: float = 0.02

    def __post_init__(self) -> None:
        super().__post_init__()
        self._check_direction("down")
        for name in ("tolerance", "margin"):
            value = getattr(self, name)
            if not 0 <= value < math.inf:
                raise InputError(f"Balance: {name} is {value}; it must be a length, 0 or more")

    def __call__(self, surface: PolyhedralSurface) -> Float[Tensor, ""]:
        down = torch.nn.functional.normalize(surface.vertices.new_tensor(self.down), dim=0)
        depth = surface.vertices.detach() @ down
        ground = horizontal_axes(down)
        touches = depth >= depth.max() - self.tolerance
        support = surface.vertices[touches] @ ground
        support = support[convex_hull(support)]
        # Moments of the same solid, whose support has a height without gradient.
        height = (surface.vertices @ down)[:, None] * down
        sliding = torch.where(touches[:, None], height.detach() - height, 0)
        grounded = surface.with_vertices(surface.vertices + sliding)
        center = moments(grounded).centroid @ ground
        return (signed_distance(center, support) + self.margin).relu().square()


def horizontal_axes(down: Float[Tensor, "3"]) -> Float[Tensor, "3 2"]:
    """Two unit vectors at right angles to the unit vector ``down`` and to each other."""
    # Any axis but down's own will do: the one that is most across it.
    across = torch.nn.functional.one_hot(down.abs().argmin(), 3).to(down)
    first = torch.nn.functional.normalize(torch.linalg.cross(down, across), dim=0)
    return torch.stack([first, torch.linalg.cross(down, first)], dim=1)


def convex_hull(points: Float[Tensor, "n 2"]) -> Int64[Tensor, "h"]:
    """Corners of the convex hull, counter-clockwise; one or two if the points have no area.

    Andrew's monotone chain: Andrew, *Another efficient algorithm for convex hulls in two
    dimensions* (1979).
    """
    positions = points.detach().cpu().double().numpy()
    order = np.lexsort((positions[:, 1], positions[:, 0]))
    lower, upper = _chain(positions, order), _chain(positions, order[::-1])
    # Each chain ends where the other begins; for one single point both are that point.
    corners = lower[:-1] + upper[:-1] or lower
    return torch.tensor(corners, device=points.device)


def _chain(positions: np.ndarray, order: np.ndarray) -> list[int]:
    """The points of the hull that are met on the way from the first to the last, turning left."""
    chain: list[int] = []
    for point in order:
        while len(chain) >= 2:
            ax, ay = positions[chain[-1]] - positions[chain[-2]]
            bx, by = positions[point] - positions[chain[-2]]
            if ax * by - ay * bx > 0:
                break
            chain.pop()
        if not chain or (positions[chain[-1]] != positions[point]).any():
            chain.append(int(point))
    return chain


def signed_distance(point: Float[Tensor, "2"], polygon: Float[Tensor, "h 2"]) -> Float[Tensor, ""]:
    """Distance to the border of a convex polygon, negative inside; counter-clockwise corners."""
    side = polygon.roll(-1, dims=0) - polygon
    offset = point - polygon
    squared = side.square().sum(dim=1)
    # A polygon of one corner has one side of no length.
    along = (offset * side).sum(dim=1) / torch.where(squared > 0, squared, 1)
    distance = safe_norm(offset - along.clamp(0, 1)[:, None] * side).min()
    turns = side[:, 0] * offset[:, 1] - side[:, 1] * offset[:, 0]
    return torch.where((turns > 0).all(), -distance, distance)
