"""True surfaces to measure a result against.

All in normalised units; NumPy float64 in and out, because measuring is not differentiated.
"""

from functools import cached_property
from typing import Any, Protocol, runtime_checkable

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from shapeopt.data.implicit_sampling import (
    ImplicitFunction,
    project,
    sample_implicit,
    value_and_gradient,
)
from shapeopt.data.normalisation import Normalisation
from shapeopt.data.triangle_sampling import sample_triangles


@runtime_checkable
class Reference(Protocol):
    """A surface that can tell how far points are from it and give points on itself."""

    def distance(self, points: Float[np.ndarray, "n 3"]) -> Float[np.ndarray, " n"]:
        """Unsigned distance from each point to the surface."""
        ...

    def nearest(
        self, points: Float[np.ndarray, "n 3"]
    ) -> tuple[Float[np.ndarray, " n"], Float[np.ndarray, "n 3"]]:
        """The same distances, and the surface's unit normals at its nearest points.

        A normal is zero where there is none, as on a triangle without area.
        """
        ...

    def samples(self, n: int, seed: int) -> Float[np.ndarray, "n 3"]:
        """Random points on the surface, uniform in area."""
        ...


class MeshReference:
    """A triangle mesh; distances are exact point-to-triangle distances.

    Args:
        vertices: normalised units.
        faces: vertex numbers of each triangle.
    """

    def __init__(self, vertices: Float[np.ndarray, "v 3"], faces: Int[np.ndarray, "t 3"]):
        self.vertices = np.ascontiguousarray(vertices, dtype=np.float64)
        self.faces = np.ascontiguousarray(faces, dtype=np.int64)

    def distance(self, points: Float[np.ndarray, "n 3"]) -> Float[np.ndarray, " n"]:
        return self.nearest(points)[0]

    def nearest(
        self, points: Float[np.ndarray, "n 3"]
    ) -> tuple[Float[np.ndarray, " n"], Float[np.ndarray, "n 3"]]:
        face, at = self._closest(points)
        return np.linalg.norm(points - at, axis=1), self.triangle_normals()[face]

    def closest(self, points: Float[np.ndarray, "n 3"]) -> Float[np.ndarray, "n 3"]:
        """The nearest point of the mesh to each point."""
        return self._closest(points)[1]

    def _closest(
        self, points: Float[np.ndarray, "n 3"]
    ) -> tuple[Int[np.ndarray, " n"], Float[np.ndarray, "n 3"]]:
        face, weights = self._tree.nearest(np.ascontiguousarray(points, dtype=np.float64))
        return face, (weights[:, :, None] * self.vertices[self.faces[face]]).sum(axis=1)

    @cached_property
    def _tree(self) -> Any:
        # Imported here, so that importing the package does not load the compiler.
        from shapeopt.mesh.nearest_triangles import TriangleTree

        return TriangleTree(self.vertices, self.faces)

    def triangle_normals(self) -> Float[np.ndarray, "t 3"]:
        """Unit normals of the triangles; zero for one without area."""
        a, b, c = (self.vertices[self.faces[:, i]] for i in range(3))
        normals = np.cross(b - a, c - a)
        lengths = np.linalg.norm(normals, axis=1, keepdims=True)
        return normals / np.where(lengths > 0, lengths, 1)

    def samples(self, n: int, seed: int) -> Float[np.ndarray, "n 3"]:
        return sample_triangles(self.vertices, self.faces, n, seed)[0]


class ImplicitReference:
    """The zero set of a smooth function that need not be a true distance.

    Args:
        sdf: [n, 3] -> [n], differentiable, in its own units, its surface within [-0.5, 0.5]^3.
        normalisation: takes its units to normalised ones; None if they are.
    """

    def __init__(
        self,
        sdf: ImplicitFunction,
        normalisation: Normalisation | None = None,
    ):
        self.sdf = sdf
        self.normalisation = normalisation or Normalisation.identity()

    def distance(self, points: Float[np.ndarray, "n 3"]) -> Float[np.ndarray, " n"]:
        """Distance to the closest point, itself found by iteration.

        From the nearest of many samples each point slides along the surface until the line to
        the query is normal to it. Right to about 1e-6 near the surface; where two places are
        almost equally close the farther one may be found.
        """
        return self.nearest(points)[0]

    def nearest(
        self, points: Float[np.ndarray, "n 3"]
    ) -> tuple[Float[np.ndarray, " n"], Float[np.ndarray, "n 3"]]:
        queries = self.normalisation.undo(torch.from_numpy(points))
        to_start, index = self._start_tree.query(queries.numpy())
        start = self._start_points[torch.from_numpy(index)]
        closest = closest_points(self.sdf, queries, start)
        found = (closest - queries).norm(dim=1)
        lost = found > torch.from_numpy(to_start)
        found = torch.where(lost, torch.from_numpy(to_start), found)
        _, gradients = value_and_gradient(self.sdf, torch.where(lost[:, None], start, closest))
        normals = torch.nn.functional.normalize(gradients, dim=1)
        return found.numpy() * self.normalisation.scale, normals.numpy()

    def samples(self, n: int, seed: int) -> Float[np.ndarray, "n 3"]:
        own = sample_implicit(self.sdf, n, seed)
        return self.normalisation.apply(own).numpy()

    @cached_property
    def _start_points(self) -> Float[Tensor, "s 3"]:
        return sample_implicit(self.sdf, 20_000, seed=0)

    @cached_property
    def _start_tree(self):
        from scipy.spatial import cKDTree

        return cKDTree(self._start_points.numpy())


class CloudReference:
    """All that is known when only a cloud is given: each point stands for a small disc.

    The distance is that to the disc of the nearest point. It cannot be better than the cloud:
    expect errors of curvature * spacing^2, noise counts in full, and in a hole the distance is
    to its rim. `samples` are the cloud's own points, so uniform only if the cloud is.

    Args:
        points, normals: normalised units, unit length.
    """

    def __init__(self, points: Float[np.ndarray, "n 3"], normals: Float[np.ndarray, "n 3"]):
        self.points = points.astype(np.float64)
        self.normals = normals.astype(np.float64)

    def distance(self, points: Float[np.ndarray, "q 3"]) -> Float[np.ndarray, " q"]:
        return self.nearest(points)[0]

    def nearest(
        self, points: Float[np.ndarray, "q 3"]
    ) -> tuple[Float[np.ndarray, " q"], Float[np.ndarray, "q 3"]]:
        _, index = self._tree.query(points)
        offset = points - self.points[index]
        height = (offset * self.normals[index]).sum(axis=1)
        lateral = np.sqrt(np.maximum((offset**2).sum(axis=1) - height**2, 0))
        distance = np.hypot(height, np.maximum(lateral - self._radii[index], 0))
        return distance, self.normals[index]

    def samples(self, n: int, seed: int) -> Float[np.ndarray, "n 3"]:
        rng = np.random.default_rng(seed)
        return self.points[rng.choice(len(self.points), n, replace=n > len(self.points))]

    @cached_property
    def _tree(self):
        from scipy.spatial import cKDTree

        return cKDTree(self.points)

    @cached_property
    def _radii(self) -> Float[np.ndarray, " n"]:
        """As far as the sixth neighbour: discs of this size overlap and leave no gaps."""
        neighbours = min(7, len(self.points))  # the first one is the point itself
        return self._tree.query(self.points, k=neighbours)[0][:, -1]


def closest_points(
    sdf: ImplicitFunction,
    queries: Float[Tensor, "n 3"],
    start: Float[Tensor, "n 3"],
    iterations: int = 40,
    reach: float = 0.02,
    tolerance: float = 1e-5,
) -> Float[Tensor, "n 3"]:
    """Points of {sdf = 0} closest to the queries, found from starting points on the surface.

    Each step adds a Newton step onto the surface and a slide along it by the tangential part
    of (query - point). A slide overshoots when the query is farther from the surface than the
    radius it bends with, so it is at most `reach` long, and that is halved for a point whenever
    its slide turns back. The distance errs by about the square of the `tolerance` on the slide.
    """
    points = start.clone()
    longest = torch.full(points.shape[:1], reach, dtype=points.dtype)
    previous = torch.zeros_like(points)
    active = torch.arange(len(points))
    for _ in range(iterations):
        x = points[active]
        values, gradients = value_and_gradient(sdf, x)
        slopes = gradients.norm(dim=1, keepdim=True)
        normals = gradients / slopes
        offset = queries[active] - x
        slide = offset - (offset * normals).sum(dim=1, keepdim=True) * normals
        length = slide.norm(dim=1)
        turned_back = (slide * previous[active]).sum(dim=1) < 0
        longest[active] *= torch.where(turned_back, 0.5, 1.0)
        previous[active] = slide
        slide = slide * (longest[active] / length.clamp(min=1e-12)).clamp(max=1)[:, None]
        points[active] = x + slide - values[:, None] / slopes * normals
        active = active[length > tolerance]
        if len(active) == 0:
            break
    return project(sdf, points, iterations=2)
