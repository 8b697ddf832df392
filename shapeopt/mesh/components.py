"""What hangs together."""

from typing import NamedTuple

import torch
from jaxtyping import Int64
from torch import Tensor

from shapeopt.mesh.polygon_mesh import PolygonMesh
from shapeopt.mesh.ragged import owners_of


def connected(count: int, pairs: Int64[Tensor, "n 2"]) -> Int64[Tensor, "count"]:
    """For each of ``count`` things the first one that the pairs connect it to, or itself.

    Raises:
        ValueError: for a pair of what is not there, such as the -1 in place of a missing polygon.
    """
    if len(pairs) and not 0 <= int(pairs.min()) <= int(pairs.max()) < count:
        raise ValueError(f"pairs must be of numbers from 0 to {count - 1}")
    # Imported here, so that importing the package does not load the compiler.
    from shapeopt.mesh.connected_compiled import first_connected

    return torch.from_numpy(first_connected(count, pairs.cpu().numpy())).to(pairs.device)


class Cells(NamedTuple):
    """Of each component how many there are."""

    vertices: Int64[Tensor, "c"]
    edges: Int64[Tensor, "c"]
    faces: Int64[Tensor, "c"]
    open_edges: Int64[Tensor, "c"]

    @property
    def genus(self) -> Int64[Tensor, "c"]:
        """Handles of the closed ones, from V - E + F = 2 - 2g; 0 of those with a border."""
        genus = ((2 - self.vertices + self.edges - self.faces) // 2).clamp(min=0)
        return torch.where(self.open_edges == 0, genus, 0)


def cells_of(mesh: PolygonMesh, label: Int64[Tensor, "f"]) -> Cells:
    """The cells of each component, given the polygons' numbers of theirs, from 0 on.

    A vertex at which several components touch is one of each.
    """
    count = int(label.max()) + 1 if len(label) else 0
    corners = label[owners_of(mesh.face_offsets)] * mesh.num_vertices + mesh.face_vertices
    of_vertex = corners.unique() // max(mesh.num_vertices, 1)
    of_edge = label[mesh.edge_faces.amax(dim=1)]
    is_open = (mesh.edge_faces < 0).any(dim=1)
    cells = of_vertex, of_edge, label, of_edge[is_open]
    return Cells(*(torch.bincount(part, minlength=count) for part in cells))
