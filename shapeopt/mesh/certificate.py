"""What can be proven of a mesh: closed, manifold, wound alike, and the genus of every part."""

from dataclasses import asdict, dataclass
from typing import Any, NamedTuple

import torch
from jaxtyping import Bool, Int64
from torch import Tensor

from shapeopt.errors import InputError
from shapeopt.mesh.components import cells_of, connected
from shapeopt.mesh.polygon_mesh import PolygonMesh
from shapeopt.mesh.polygons import is_wound_consistently
from shapeopt.mesh.ragged import owners_of


@dataclass(frozen=True)
class Component:
    """A part of a mesh whose polygons hang together across edges.

    Attributes:
        vertices, edges, polygons: how many.
        euler_characteristic: V - E + F.
        closed: whether none of its edges lies at the border.
        genus: handles of a closed one, (2 - V + E - F) / 2; None for an open one.
        area, volume: in units of the mesh; the volume of a closed one, negative if its outside is
            within, as that of a hollow; None for an open one.
    """

    vertices: int
    edges: int
    polygons: int
    euler_characteristic: int
    closed: bool
    genus: int | None
    area: float
    volume: float | None


class Finding(NamedTuple):
    """One thing that was checked, in words, and whether it is as one wishes."""

    text: str
    good: bool


@dataclass(frozen=True)
class Certificate:
    """What was checked of a mesh.

    Attributes:
        closed: every edge has two polygons.
        manifold: no edge has more than two polygons, and the polygons at each vertex make one fan.
        wound_consistently: no edge is run through twice in one direction.
        components: largest area first.
    """

    closed: bool
    manifold: bool
    wound_consistently: bool
    components: list[Component]

    @property
    def is_clean(self) -> bool:
        """Whether the mesh is a closed manifold, wound alike everywhere."""
        return self.closed and self.manifold and self.wound_consistently

    def as_dict(self, unit: float = 1.0) -> dict[str, Any]:
        """For JSON; ``unit`` is the length of one unit of the vertices in those of the file."""
        found = asdict(self)
        for part in found["components"]:
            part["area"] *= unit**2
            if part["volume"] is not None:
                part["volume"] *= unit**3
        return found

    def findings(self) -> list[Finding]:
        """For people."""
        parts = len(self.components)
        genera = [part.genus for part in self.components if part.genus is not None]
        shape = f"{parts} component" + ("s" if parts != 1 else "")
        if genera:
            shape += f", genus {', '.join(map(str, genera[:8]))}" + (", ..." if parts > 8 else "")
        return [
            Finding("closed" if self.closed else "open", self.closed),
            Finding("manifold" if self.manifold else "NOT manifold", self.manifold),
            Finding(
                f"winding {'consistent' if self.wound_consistently else 'NOT consistent'}",
                self.wound_consistently,
            ),
            Finding(shape, True),
        ]

    def summary(self) -> str:
        """One line for people."""
        return ", ".join(finding.text for finding in self.findings())


@torch.no_grad()
def certify(mesh: PolygonMesh) -> Certificate:
    """Checks a mesh of polygons in 3D, on any device.

    Raises:
        InputError: for a polyline.
    """
    if mesh.vertices.shape[1] != 3:
        raise InputError("a certificate is for surfaces in 3D; this one is a polyline")
    interior = (mesh.edge_faces >= 0).all(dim=1)
    _, label = connected(mesh.num_faces, mesh.edge_faces[interior]).unique(return_inverse=True)
    return Certificate(
        closed=mesh.is_closed,
        manifold=_has_one_fan_per_vertex(mesh, interior),
        wound_consistently=is_wound_consistently(
            mesh.face_vertices, mesh.face_offsets, mesh.num_vertices
        ),
        components=_components(mesh, label),
    )


def _has_one_fan_per_vertex(mesh: PolygonMesh, interior: Bool[Tensor, "e"]) -> bool:
    """Corners of polygons are joined where two polygons share an edge at their vertex."""
    owner = owners_of(mesh.face_offsets)
    names, order = torch.sort(owner * mesh.num_vertices + mesh.face_vertices)
    faces = mesh.edge_faces[interior]
    joined = []
    for end in mesh.edges[interior].unbind(1):
        wanted = faces * mesh.num_vertices + end[:, None]
        joined.append(order[torch.searchsorted(names, wanted)])
    fan = connected(len(owner), torch.cat(joined))
    fans = torch.unique(mesh.face_vertices * len(owner) + fan)
    return len(fans) == len(torch.unique(mesh.face_vertices))


def _components(mesh: PolygonMesh, label: Int64[Tensor, "f"]) -> list[Component]:
    cells = cells_of(mesh, label)
    count = len(cells.faces)
    points = mesh.vertices.double()
    area = points.new_zeros(count).index_add(0, label, mesh.face_areas().double())
    a, b, c = (points - points.mean(dim=0))[mesh.triangles()].unbind(1)
    cones = (a * torch.linalg.cross(b, c, dim=1)).sum(dim=1) / 6
    volume = points.new_zeros(count).index_add(0, label[mesh.triangle_faces()], cones)
    found = []
    columns = (*cells, area, volume)
    for v, e, f, border, size, content in zip(*(x.tolist() for x in columns), strict=True):
        euler, closed = v - e + f, border == 0
        genus = (2 - euler) // 2 if closed else None
        found.append(Component(v, e, f, euler, closed, genus, size, content if closed else None))
    return sorted(found, key=lambda part: -part.area)
