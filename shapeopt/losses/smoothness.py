"""Bending of the surface at its edges."""

from dataclasses import dataclass

from jaxtyping import Float
from torch import Tensor

from shapeopt.errors import InputError
from shapeopt.losses.base import GeometryLoss
from shapeopt.mesh.polygon_mesh import PolygonMesh
from shapeopt.mesh.safe_norm import safe_ratio


@dataclass(frozen=True)
class Smoothness(GeometryLoss):
    """``sum l theta^power / sum l``: mean dihedral angle, weighted by edge length.

    l is the length of an interior edge and theta the angle between the normals of its two
    polygons (0 is flat), in radians^power; 0 without an interior edge. With power 2 this is the
    discrete bending energy of Grinspun et al., *Discrete Shells* (SCA 2003), eq. 3, per length of
    edge and without the dual lengths; with power 1, twice the total mean curvature per length of
    edge.

    Attributes:
        power: 1 keeps sharp edges, 2 spreads the bending.
    """

    power: float = 2.0

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.power < 1:
            raise InputError(f"Smoothness: power is {self.power}; it must be at least 1")

    def __call__(self, surface: PolygonMesh) -> Float[Tensor, ""]:
        angles, interior = surface.dihedral_angles()
        lengths = surface.edge_lengths()[interior]
        return safe_ratio((lengths * angles**self.power).sum(), lengths.sum())
