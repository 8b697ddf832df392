"""Few triangles: a closed mesh near the scan with edges collapsed, and vertices that move freely.

What a collapse costs is won back, and more, by moving each vertex where the distance to the scan is
least. Triangles change place by turns: edges are cut in half where the distance is, and others are
collapsed where it costs least. Of two meshes with as many triangles the nearer one is kept.
"""

import math
from dataclasses import dataclass, replace

import torch
from jaxtyping import Float
from torch import Tensor

from shapeopt.data.cloud import PointCloud
from shapeopt.data.reference import MeshReference
from shapeopt.evaluation.measures import evaluate
from shapeopt.losses.surface_distance import (
    distance_to_planes,
    distance_to_surface,
    sample_surface,
)
from shapeopt.lowpoly.fit import Progress, learning_rate_at
from shapeopt.lowpoly.refine import refined
from shapeopt.mesh.polygon_mesh import PolygonMesh
from shapeopt.mesh.safe_norm import safe_norm, unit
from shapeopt.simplify.collapse import collapse_edges


@dataclass(frozen=True)
class TriangleSettings:
    """How the vertices move.

    Attributes:
        steps: of Adam, each time the number of triangles has changed.
        last_steps: of Adam, at the end.
        stages: numbers of triangles on the way, in multiples of what is asked for. Many triangles
            find the shape, thin parts of it as well, before few have to.
        grown: the same for what a coarser start is refined to; of a finer one it is not more than
            it has.
        turns: that triangles change place, after that.
        changing: part of the triangles that do so in a turn.
        learning_rate: largest, in mean edge lengths; a cosine takes it to almost nothing.
        samples: points drawn on the surface, and of the cloud, in every step; at least
        samples_each: for each triangle.
        judging: points, each way, of the distance that meshes are compared by.
        fold_weight: of what keeps triangles from turning over, see :func:`_folds`.
    """

    steps: int = 50
    last_steps: int = 150
    stages: tuple[float, ...] = (9, 3, 1.5, 1)
    grown: float = 3
    turns: int = 3
    changing: float = 0.25
    learning_rate: float = 0.02
    samples: int = 5000
    samples_each: int = 2
    judging: int = 10_000
    fold_weight: float = 0.1


def freed(
    surface: PolygonMesh,
    triangles: int,
    cloud: PointCloud,
    settings: TriangleSettings | None = None,
    *,
    seed: int = 0,
    progress: Progress | None = None,
) -> PolygonMesh:
    """A closed triangle mesh near the cloud, of the surface's genus.

    Args:
        surface: closed, in any number of polygons.
        triangles: to have; of an even number, as every closed mesh has.
        cloud: of the shape.
        settings: the defaults if None.
        seed: of the points that are drawn.
        progress: called now and then.

    Returns:
        Triangles, float64. There are more than asked for only where fewer would touch themselves.
    """
    chosen = settings or TriangleSettings()
    moves = len(chosen.stages) + 2 * chosen.turns
    steps = chosen.steps * moves + chosen.last_steps
    mover = _Mover(cloud, chosen, seed, steps, progress)
    mesh = surface.detach()
    while (missing := triangles - len(mesh.triangles())) > 0:  # a pass cuts no triangle twice
        mesh = refined(mesh, cloud, missing)
    most = max(len(mesh.triangles()), round(chosen.grown * triangles))
    for factor in chosen.stages:
        count = max(4, min(round(factor * triangles), most))
        missing = count - len(mesh.triangles())
        mesh = refined(mesh, cloud, missing) if missing > 0 else mesh
        mesh = mover.moved(collapse_edges(mesh, triangles=count), chosen.steps)
    for _ in range(chosen.turns):
        more = refined(mesh, cloud, round(chosen.changing * triangles))
        more = mover.descended(more, chosen.steps)
        fewer = mover.moved(collapse_edges(more, triangles=triangles), chosen.steps)
        mesh = mover.nearer(mesh, fewer)
    return mover.moved(mesh, chosen.last_steps)


class _Mover:
    """Moves the vertices of one mesh after the other, and says how far all of that is."""

    def __init__(
        self,
        cloud: PointCloud,
        settings: TriangleSettings,
        seed: int,
        steps: int,
        progress: Progress | None,
    ):
        self._cloud, self._settings = cloud, settings
        self._last: tuple[PolygonMesh, float] | None = None
        self._generator = torch.Generator().manual_seed(seed)
        self._step, self._steps, self._progress = 0, steps, progress

    def nearer(self, one: PolygonMesh, two: PolygonMesh) -> PolygonMesh:
        """Of two meshes the one that has fewer triangles, or else the smaller distance."""
        if one.num_faces != two.num_faces:
            return min(one, two, key=lambda mesh: mesh.num_faces)
        distances = [self._judged(mesh) for mesh in (one, two)]
        chosen = two if distances[1] <= distances[0] else one
        self._last = chosen, min(distances)
        return chosen

    def _judged(self, mesh: PolygonMesh) -> float:
        """Its distance, which is known of the mesh chosen last."""
        if self._last is not None and self._last[0] is mesh:
            return self._last[1]
        assert self._cloud.reference is not None  # loading always attaches one
        return evaluate(mesh, self._cloud.reference, self._settings.judging)["distance"]

    def moved(self, mesh: PolygonMesh, steps: int) -> PolygonMesh:
        """The mesh after so many steps of Adam down the two-way distance to the cloud; or as it is,
        if they lead nowhere, as from vertices that lie on sharp edges already."""
        return self.nearer(mesh, self.descended(mesh, steps))

    def descended(self, mesh: PolygonMesh, steps: int) -> PolygonMesh:
        """The mesh after so many steps, wherever they lead."""
        samples = max(self._settings.samples, self._settings.samples_each * mesh.num_faces)
        start = unit(_crosses(mesh.vertices, mesh))
        vertices = mesh.vertices.clone().requires_grad_()
        largest = self._settings.learning_rate * float(mesh.edge_lengths().mean())
        optimizer = torch.optim.Adam([vertices])
        for step in range(steps):
            for group in optimizer.param_groups:
                group["lr"] = learning_rate_at(step, steps, largest, 10)
            crosses = _crosses(vertices, mesh)
            moved = replace(mesh, vertices=vertices, face_normals=unit(crosses))
            total = self._distance(moved, samples)
            if self._progress and self._step % 10 == 0:
                words = f"moving {mesh.num_faces:,} triangles: distance {float(total.detach()):.2e}"
                self._progress(words, self._step, self._steps)
            optimizer.zero_grad()
            (total + self._settings.fold_weight * _folds(crosses, start)).backward()
            optimizer.step()
            self._step += 1
        vertices = vertices.detach()
        return replace(mesh, vertices=vertices, face_normals=unit(_crosses(vertices, mesh)))

    def _distance(self, mesh: PolygonMesh, samples: int) -> Float[Tensor, ""]:
        """The two-way distance at so many points, in box lengths."""
        vertices, triangles = mesh.vertices, mesh.triangles()
        on_mesh = sample_surface(vertices, triangles, samples, self._generator)
        points = self._cloud.points
        chosen = points[torch.randint(len(points), (samples,), generator=self._generator)]
        from_scan = distance_to_surface(chosen, vertices, triangles)
        return (self._to_scan(on_mesh).mean() + from_scan.mean()) / 2

    def _to_scan(self, points: Float[Tensor, "n 3"]) -> Float[Tensor, "n"]:
        """The distance to a scan that is a mesh; to a cloud that to a tangent plane."""
        reference = self._cloud.reference
        if not isinstance(reference, MeshReference):
            return distance_to_planes(points, self._cloud)
        at = reference.closest(points.detach().numpy())
        return safe_norm(points - torch.from_numpy(at))


def _crosses(vertices: Float[Tensor, "v 3"], mesh: PolygonMesh) -> Float[Tensor, "t 3"]:
    a, b, c = vertices[mesh.face_vertices.view(-1, 3)].unbind(1)
    return torch.linalg.cross(b - a, c - a, dim=1)


def _folds(crosses: Float[Tensor, "t 3"], start: Float[Tensor, "t 3"]) -> Float[Tensor, ""]:
    """Area of triangles that have turned by more than 60 degrees, box lengths squared.

    It counts by how much too far they have turned; no triangle has to turn so far to come nearer.
    """
    along = (crosses * start).sum(dim=1)
    return (math.cos(math.pi / 3) * crosses.norm(dim=1) - along).clamp(min=0).sum() / 2
