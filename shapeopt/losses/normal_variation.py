"""Total variation of the normals: bending gathers in few edges."""

from dataclasses import dataclass

from jaxtyping import Float
from torch import Tensor

from shapeopt.losses.base import GeometryLoss
from shapeopt.mesh.polygon_mesh import PolygonMesh
from shapeopt.mesh.safe_norm import safe_norm, safe_ratio


@dataclass(frozen=True)
class NormalVariation(GeometryLoss):
    """``sum l |n1 - n2| / A`` over the interior edges, per box length.

    l is the length of an edge, n1 and n2 the unit normals of its polygons, A the total area.
    Length-weighted jumps are the total variation of a piecewise constant field, so one sharp
    edge costs as much as, or less than, the same turn spread over many: flat parts and sharp
    edges. Zhang et al., *Variational Mesh Denoising Using Total Variation and Piecewise Constant
    Function Space* (TVCG 2015), section 3.

    Per area and not per length of edge, because then flat edges neither raise nor lower it. On a
    fine mesh with edges along the lines of curvature it is the mean of |k1| + |k2|, the principal
    curvatures: about 2 / r on a sphere of radius r.
    """

    def __call__(self, surface: PolygonMesh) -> Float[Tensor, ""]:
        interior = (surface.edge_faces >= 0).all(dim=1)
        one, two = surface.face_normals[surface.edge_faces[interior]].unbind(1)
        lengths = surface.edge_lengths()[interior]
        return safe_ratio((lengths * safe_norm(one - two)).sum(), surface.area())
