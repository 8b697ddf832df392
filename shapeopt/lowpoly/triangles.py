"""Few triangles: the union's surface with edges collapsed, and vertices that move freely.

The vertices of a union follow from its planes; those of a triangle mesh need not. So what the
collapse of slivers costs is won back, and more, by moving each vertex where the distance to the
scan is least. Triangles change place by turns: edges are cut in half where the distance is, and
others are collapsed where it costs least.
"""

import math
from dataclasses import dataclass, replace

import torch
from jaxtyping import Float
from torch import Tensor

from shapeopt.data.cloud import PointCloud
from shapeopt.losses.surface_distance import SurfaceDistance
from shapeopt.lowpoly.fit import Progress, learning_rate_at
from shapeopt.lowpoly.refine import refined
from shapeopt.mesh.polygon_mesh import PolygonMesh
from shapeopt.mesh.safe_norm import unit
from shapeopt.simplify.collapse import collapse_edges
from shapeopt.training.batches import BatchSource


@dataclass(frozen=True)
class TriangleSettings:
    """How the vertices move.

    Attributes:
        steps: of Adam, each time the number of triangles has changed.
        last_steps: of Adam, at the end.
        stages: numbers of triangles on the way, in multiples of what is asked for. Many triangles
            find the shape, thin parts of it as well, before few have to.
        turns: that triangles change place, after that.
        changing: part of the triangles that do so in a turn.
        learning_rate: largest, in mean edge lengths; a cosine takes it to almost nothing.
        samples: points drawn on the surface in every step.
        fold_weight: of what keeps triangles from turning over, see :func:`_folds`.
    """

    steps: int = 50
    last_steps: int = 150
    stages: tuple[float, ...] = (3, 1.5, 1)
    turns: int = 3
    changing: float = 0.25
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
    """A closed triangle mesh near the cloud, of the surface's genus.

    Args:
        surface: closed.
        triangles: to have; of an even number, as every closed mesh has.
        batches, cloud: of the shape.
        settings: the defaults if None.
        progress: called now and then.

    Returns:
        Triangles, float64. There are more than asked for only where fewer would touch themselves.
    """
    chosen = settings or TriangleSettings()
    moves = len(chosen.stages) + 2 * chosen.turns
    steps = chosen.steps * moves + chosen.last_steps
    mover = _Mover(batches, cloud, chosen, steps, progress)
    mesh = surface.detach()
    for factor in chosen.stages:
        mesh = collapse_edges(mesh, triangles=max(4, round(factor * triangles)))
        mesh = mover.moved(mesh, chosen.steps)
    for _ in range(chosen.turns):
        mesh = refined(mesh, cloud, round(chosen.changing * triangles))
        mesh = mover.moved(mesh, chosen.steps)
        mesh = collapse_edges(mesh, triangles=triangles)
        mesh = mover.moved(mesh, chosen.steps)
    return mover.moved(mesh, chosen.last_steps)


class _Mover:
    """Moves the vertices of one mesh after the other, and says how far all of that is."""

    def __init__(
        self,
        batches: BatchSource,
        cloud: PointCloud,
        settings: TriangleSettings,
        steps: int,
        progress: Progress | None,
    ):
        self._batches, self._cloud, self._settings = batches, cloud, settings
        self._distance = SurfaceDistance(1.0, samples=settings.samples)
        self._step, self._steps, self._progress = 0, steps, progress

    def moved(self, mesh: PolygonMesh, steps: int) -> PolygonMesh:
        """The mesh after so many steps of Adam down the two-way distance to the cloud."""
        start = unit(_crosses(mesh.vertices, mesh))
        vertices = mesh.vertices.clone().requires_grad_()
        largest = self._settings.learning_rate * float(mesh.edge_lengths().mean())
        optimizer = torch.optim.Adam([vertices])
        for step in range(steps):
            for group in optimizer.param_groups:
                group["lr"] = learning_rate_at(step, steps, largest, 10)
            crosses = _crosses(vertices, mesh)
            moved = replace(mesh, vertices=vertices, face_normals=unit(crosses))
            batch = self._batches.batch(torch.nn.Identity(), self._step)
            total = self._distance(moved, batch, self._cloud)
            if self._progress and self._step % 10 == 0:
                words = f"moving {mesh.num_faces:,} triangles: distance {float(total.detach()):.2e}"
                self._progress(words, self._step, self._steps)
            optimizer.zero_grad()
            (total + self._settings.fold_weight * _folds(crosses, start)).backward()
            optimizer.step()
            self._step += 1
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
