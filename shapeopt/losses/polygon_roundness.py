"""No sliver polygons."""

import math
from dataclasses import dataclass
from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor

from shapeopt.errors import InputError
from shapeopt.losses.base import GeometryLoss
from shapeopt.mesh.polygon_mesh import PolygonMesh
from shapeopt.mesh.safe_norm import safe_ratio


@dataclass(frozen=True)
class PolygonRoundness(GeometryLoss):
    """``mean (1 - 4 pi a / p^2)`` over the polygons of area a and perimeter p; no unit.

    The isoperimetric quotient 4 pi a / p^2 of a polygon is 1 for a disc, pi/4 for a square, 0.6
    for an equilateral triangle and 0 for a sliver (Polya and Szego, *Isoperimetric Inequalities in
    Mathematical Physics*, 1951). So this is 0 at best and 1 at worst. A polygon shrunk to a point
    counts as a sliver, with gradient 0.

    Attributes:
        reduction: "mean" gives every polygon the same weight, "area" weighs it by its area, which
            is what the eye sees.
    """

    reduction: Literal["mean", "area"] = "mean"

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.reduction not in ("mean", "area"):
            raise InputError(
                f"PolygonRoundness: reduction is {self.reduction!r}; use 'mean' or 'area'"
            )

    def __call__(self, surface: PolygonMesh) -> Float[Tensor, ""]:
        areas = surface.face_areas()
        squared = perimeters(surface).square()
        positive = squared > 0
        quotients = torch.where(positive, areas / torch.where(positive, squared, 1), 0)
        slivers = 1 - 4 * math.pi * quotients
        if self.reduction == "mean":
            return slivers.mean()
        return safe_ratio((areas * slivers).sum(), areas.sum())


def perimeters(surface: PolygonMesh) -> Float[Tensor, "f"]:
    """Sum of each polygon's edge lengths."""
    edge, side = torch.nonzero(surface.edge_faces >= 0, as_tuple=True)
    lengths = surface.edge_lengths()
    total = lengths.new_zeros(surface.num_faces)
    return total.index_add(0, surface.edge_faces[edge, side], lengths[edge])
