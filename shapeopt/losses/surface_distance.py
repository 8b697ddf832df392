"""Two-way distance between the exact surface and the cloud."""

from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Float64, Int64
from torch import Tensor

from shapeopt.data.cloud import PointCloud
from shapeopt.errors import InputError
from shapeopt.losses.base import SurfaceFitLoss
from shapeopt.losses.batch import Batch
from shapeopt.mesh.polygon_mesh import PolygonMesh
from shapeopt.mesh.safe_norm import safe_norm


@dataclass(frozen=True)
class SurfaceDistance(SurfaceFitLoss):
    """``(mean |(s - p) . n| + mean |p - q|) / 2``, in box lengths.

    First the surface's way to the cloud: s are points drawn on the polygons, uniform in area, p
    the nearest point of the whole cloud and n its normal. Second the batch's cloud points p and
    the exact nearest point q of the polygons. Both s and q are barycentric combinations of
    vertices; their weights are held constant, which for q gives the exact gradient. This is the
    mean surface distance by which results are compared, up to the distance to a plane in place of
    a cloud point, which makes up for the cloud's spacing (Chen and Medioni, *Object modelling by
    registration of multiple range images*, 1992).

    f is only seen at its zeros: keep a fit loss beside it.

    Attributes:
        samples: points drawn on the surface in every step.
    """

    samples: int = 10_000

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.samples < 1:
            raise InputError(f"SurfaceDistance: samples is {self.samples}; it must be at least 1")

    def __call__(self, surface: PolygonMesh, batch: Batch, cloud: PointCloud) -> Float[Tensor, ""]:
        # The batch is another one in each step, and the same one when a step is repeated.
        seed = int(1e9 * float(batch.cloud_points.abs().sum(dtype=torch.float64)))
        generator, triangles = torch.Generator().manual_seed(seed), surface.triangles()
        on_surface = sample_surface(surface.vertices, triangles, self.samples, generator)
        to_cloud = distance_to_planes(on_surface, cloud)
        from_cloud = distance_to_surface(batch.cloud_points, surface.vertices, triangles)
        return (to_cloud.mean() + from_cloud.mean()) / 2


def sample_surface(
    vertices: Float[Tensor, "v 3"],
    triangles: Int64[Tensor, "t 3"],
    n: int,
    generator: torch.Generator,
) -> Float[Tensor, "n 3"]:
    """Points on the triangles, uniform in area, that move with the vertices.

    One point in each n-th part of the area: less noise than independent draws.
    """
    # Imported here, so that importing the package does not load the compiler.
    from shapeopt.mesh.triangle_points import drawn_on, points_on

    numbers = torch.rand(3, n, generator=generator, dtype=torch.float64).numpy()
    chosen, weights = drawn_on(*_arrays(vertices, triangles), numbers)
    corners = triangles[torch.from_numpy(chosen).to(triangles.device)]
    return points_on(vertices, corners, torch.from_numpy(weights))


def distance_to_planes(points: Float[Tensor, "n 3"], cloud: PointCloud) -> Float[Tensor, "n"]:
    """Distance to the tangent plane of the nearest cloud point."""
    _, nearest = _tree(cloud.points).query(points.detach().cpu().numpy())
    index = torch.from_numpy(nearest)
    offset = points - cloud.points[index].to(points)
    return (offset * cloud.normals[index].to(points)).sum(dim=1).abs()


def distance_to_surface(
    points: Float[Tensor, "n 3"], vertices: Float[Tensor, "v 3"], triangles: Int64[Tensor, "t 3"]
) -> Float[Tensor, "n"]:
    """Exact distance to the nearest point of the triangles; gradients reach the vertices."""
    # Imported here, so that importing the package does not load the compiler.
    from shapeopt.mesh.nearest_triangles import TriangleTree
    from shapeopt.mesh.triangle_points import points_on

    targets = points.detach().cpu().double().contiguous().numpy()
    nearest, weights = TriangleTree(*_arrays(vertices, triangles)).nearest(targets)
    corners = triangles[torch.from_numpy(nearest).to(triangles.device)]
    return safe_norm(points.to(vertices) - points_on(vertices, corners, torch.from_numpy(weights)))


def _arrays(
    vertices: Float[Tensor, "v 3"], triangles: Int64[Tensor, "t 3"]
) -> tuple[Float64[np.ndarray, "v 3"], Int64[np.ndarray, "t 3"]]:
    """A mesh for the compiled kernels."""
    places = vertices.detach().cpu().double().contiguous()
    return places.numpy(), triangles.cpu().contiguous().numpy()


@lru_cache(maxsize=1)
def _tree(points: Tensor) -> Any:
    """A search tree of the cloud: the same cloud in every step, so made once."""
    from scipy.spatial import cKDTree

    return cKDTree(points.numpy())
