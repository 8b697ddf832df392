"""What the polygons of a surface can be coloured by: one number each."""

from collections.abc import Callable

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from shapeopt.mesh.polygon_mesh import PolygonMesh
from shapeopt.mesh.ragged import owners_of

Distance = Callable[[Float[np.ndarray, "n 3"]], Float[np.ndarray, " n"]]
"""How far points are from the data."""


@torch.no_grad()
def polygon_values(
    surface: PolygonMesh, distance: Distance | None = None
) -> dict[str, Float[np.ndarray, " f"]]:
    """Numbers by name.

    Args:
        surface: in 3D, on any device.
        distance: of points to the data, in units of the surface.

    Returns:
        area: in the square of these units.
        bending: largest dihedral angle with a neighbour, in degrees; 0 is flat.
        distance: at the middle of the polygon's corners, if it is known.
    """
    surface = surface.detach()
    values = {"area": surface.face_areas(), "bending": _bending(surface)}
    found = {name: value.double().cpu().numpy() for name, value in values.items()}
    if distance is not None:
        found["distance"] = distance(_middles(surface).double().cpu().numpy())
    return found


def _bending(surface: PolygonMesh) -> Float[Tensor, "f"]:
    angles, edges = surface.dihedral_angles()
    bending = angles.new_zeros(surface.num_faces)
    for side in surface.edge_faces[edges].unbind(1):
        bending = bending.scatter_reduce(0, side, angles, "amax")
    return torch.rad2deg(bending)


def _middles(surface: PolygonMesh) -> Float[Tensor, "f 3"]:
    owner = owners_of(surface.face_offsets)
    sums = surface.vertices.new_zeros(surface.num_faces, 3)
    sums.index_add_(0, owner, surface.vertices[surface.face_vertices])
    return sums / surface.face_offsets.diff()[:, None]
