"""Components and handles that are too many."""

from dataclasses import dataclass

import torch
from jaxtyping import Float, Int64
from torch import Tensor

from shapeopt.errors import InputError
from shapeopt.losses.base import GeometryLoss
from shapeopt.mesh.components import cells_of, connected
from shapeopt.mesh.handles import handle_loop
from shapeopt.mesh.polygon_mesh import PolygonMesh
from shapeopt.mesh.safe_norm import safe_norm


@dataclass(frozen=True)
class Topology(GeometryLoss):
    """Lengths that are to vanish: of components and handles that the surface has too many.

    The square root of the area of each component beyond ``components``, the largest being kept;
    and, while the closed ones that are kept have more than ``genus`` handles together, the length
    of a short loop round or through one (:func:`shapeopt.mesh.handles.handle_loop`). As it shrinks
    the handle is cut or filled. 0 for a surface with as few of both; one that has fewer is left
    alone.

    Attributes:
        components: most that the surface may have.
        genus: most handles that it may have: 0 for a ball, 1 for a torus.
    """

    components: int = 1
    genus: int = 0

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.components < 1 or self.genus < 0:
            raise InputError(
                f"Topology: components ({self.components}) must be at least 1 and genus "
                f"({self.genus}) at least 0"
            )

    def __call__(self, surface: PolygonMesh) -> Float[Tensor, ""]:
        nothing = 0 * surface.vertices.square().sum()  # with a graph, to be differentiated
        if surface.num_faces == 0:
            return nothing
        interior = (surface.edge_faces >= 0).all(dim=1)
        hangs_on = connected(surface.num_faces, surface.edge_faces[interior])
        if not hangs_on.any() and _genus_of_one(surface) <= self.genus:
            return nothing
        names, label = hangs_on.unique(return_inverse=True)
        areas = surface.face_areas()
        sizes = areas.new_zeros(len(names)).index_add(0, label, areas)
        order = torch.argsort(sizes.detach(), descending=True)
        kept, others = order[: self.components], order[self.components :]
        lengths = [nothing] + [size.sqrt() for size in sizes[others] if size > 0]
        genus = cells_of(surface, label).genus[kept]
        if int(genus.sum()) > self.genus:
            firsts = [int(torch.nonzero(label == part)[0]) for part in kept[genus > 0]]
            loops = [_length(surface, handle_loop(surface, first)) for first in firsts]
            lengths.append(torch.stack(loops).amin())
        return torch.stack(lengths).sum()


def _genus_of_one(surface: PolygonMesh) -> int:
    """Handles of a surface of one component; 0 if it has a border."""
    return (2 - surface.euler_characteristic) // 2 if surface.is_closed else 0


def _length(surface: PolygonMesh, loop: Int64[Tensor, "k"]) -> Float[Tensor, ""]:
    return safe_norm(surface.vertices[loop] - surface.vertices[loop.roll(1)]).sum()
