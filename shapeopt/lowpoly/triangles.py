"""Few triangles: the union's surface with edges collapsed, and vertices that then move freely.

The vertices of a union follow from its planes; those of a triangle mesh need not. So what the
collapse of slivers costs is won back, and more, by moving each vertex where the distance to the
scan is least.
"""

import math
from dataclasses import dataclass, replace

import torch
from jaxtyping import Float
from torch import Tensor

from shapeopt.data.cloud import PointCloud
from shapeopt.losses.surface_distance import SurfaceDistance
from shapeopt.lowpoly.fit import Progress, learning_rate_at
from shapeopt.mesh.polygon_mesh import PolygonMesh
from shapeopt.mesh.safe_norm import unit
from shapeopt.simplify.collapse import collapse_edges
from shapeopt.training.batches import BatchSource


@dataclass(frozen=True)
class TriangleSettings:
    """How the vertices move.

    Attributes:
        steps: of Adam.
        learning_rate: largest, in mean edge lengths; a cosine takes it to almost nothing.
        samples: points drawn on the surface in every step.
        fold_weight: of what keeps triangles from turning over, see :func:`_folds`.
    """

    steps: int = 150
    learning_rate: float = 0.02
    samples: int = 5000
    fold_weight: float = 0.1


def freed(
    surface: PolygonMesh,
    triangles: int,
    batches: BatchSource,
    cloud: PointCloud,
    settings: TriangleSettings | None = None,
    progress: Progress | None = None,
) -> PolygonMesh:
    """A closed triangle mesh near the cloud.

    Args:
        surface: closed, nearer to the cloud than the triangles will be.
        triangles: to have; of an even number, as every closed mesh has.
        batches, cloud: of the shape.
        settings: the defaults if None.
        progress: called now and then.

    Returns:
        Triangles, float64. There are more than asked for only where fewer would touch themselves.
    """
    chosen = settings or TriangleSettings()
    mesh = collapse_edges(surface.detach(), triangles=triangles)
    start = unit(_crosses(mesh.vertices, mesh))
    vertices = mesh.vertices.clone().requires_grad_()
    distance = SurfaceDistance(1.0, samples=chosen.samples)
    scale = float(mesh.edge_lengths().mean())
    optimizer = torch.optim.Adam([vertices])
    for step in range(chosen.steps):
        for group in optimizer.param_groups:
            group["lr"] = learning_rate_at(step, chosen.steps, chosen.learning_rate * scale, 10)
        crosses = _crosses(vertices, mesh)
        moved = replace(mesh, vertices=vertices, face_normals=unit(crosses))
        batch = batches.batch(torch.nn.Identity(), step)
        total = distance(moved, batch, cloud)
        if progress and step % 10 == 0:
            words = f"moving {mesh.num_faces:,} triangles: distance {float(total.detach()):.2e}"
            progress(words, step, chosen.steps)
        optimizer.zero_grad()
        (total + chosen.fold_weight * _folds(crosses, start)).backward()
        optimizer.step()
    vertices = vertices.detach()
    return replace(mesh, vertices=vertices, face_normals=unit(_crosses(vertices, mesh)))


def _crosses(vertices: Float[Tensor, "v 3"], mesh: PolygonMesh) -> Float[Tensor, "t 3"]:
    a, b, c = vertices[mesh.face_vertices.view(-1, 3)].unbind(1)
    return torch.linalg.cross(b - a, c - a, dim=1)


def _folds(crosses: Float[Tensor, "t 3"], start: Float[Tensor, "t 3"]) -> Float[Tensor, ""]:
    """Area of triangles that have turned by more than 60 degrees, box lengths squared.

    It counts by how much too far they have turned; no triangle has to turn so far to come nearer.
    """
    along = (crosses * start).sum(dim=1)
    return (math.cos(math.pi / 3) * crosses.norm(dim=1) - along).clamp(min=0).sum() / 2
