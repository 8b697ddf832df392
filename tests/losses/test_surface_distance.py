"""Two-way distance on surfaces and clouds whose distances are known."""

import numpy as np
import pytest
import torch

import shapeopt
from shapeopt import InputError, PolygonMesh
from shapeopt.data import MeshReference, PointCloud, normalise
from shapeopt.data.normalisation import Normalisation
from shapeopt.losses import Batch, SurfaceDistance
from shapeopt.losses.surface_distance import (
    distance_to_planes,
    distance_to_surface,
    sample_surface,
)
from tests.solids import assert_gradient, ball_solid, box_solid

HEIGHT = 0.1


def square(side: float = 1.0) -> PolygonMesh:
    corners = side * torch.tensor([[0, 0, 0], [1, 0, 0], [1, 1, 0], [0, 1, 0]]).double()
    return PolygonMesh.from_polygons(corners.requires_grad_(), [[0, 1, 2, 3]])


def flat_cloud(n: int = 2000) -> PointCloud:
    """Points over the unit square, HEIGHT above it."""
    points = torch.rand(n, 3, generator=torch.Generator().manual_seed(0))
    points[:, 2] = HEIGHT
    normals = torch.tensor([0.0, 0.0, 1.0]).expand(n, 3).clone()
    return PointCloud(points, normals, Normalisation.identity())


def ball_cloud(n: int = 5000) -> PointCloud:
    directions = torch.randn(n, 3, generator=torch.Generator().manual_seed(0))
    normals = torch.nn.functional.normalize(directions, dim=1)
    return PointCloud(0.4 * normals, normals, Normalisation.identity())


def batch_of(cloud: PointCloud, n: int = 500, start: int = 0) -> Batch:
    points, normals = cloud.points[start : start + n], cloud.normals[start : start + n]
    return Batch(torch.nn.Identity(), points, normals, points, points[:, 0])


def test_parallel_planes():
    cloud = flat_cloud()
    assert float(SurfaceDistance(1.0)(square(), batch_of(cloud), cloud)) == pytest.approx(HEIGHT)


def test_what_is_missing_costs():
    """A quarter of the square: its points are as near, but the cloud's are not."""
    cloud = flat_cloud()
    points = cloud.points.double()
    over = (points[:, :2] - 0.5).clamp(min=0)
    expected = torch.cat([over, points[:, 2:]], dim=1).norm(dim=1)
    found = distance_to_surface(points, square(0.5).vertices, square(0.5).triangles())
    torch.testing.assert_close(found, expected)
    loss = SurfaceDistance(1.0)(square(0.5), batch_of(cloud, 2000), cloud)
    assert float(loss) == pytest.approx((HEIGHT + float(expected.mean())) / 2, rel=1e-6)


def test_the_plane_makes_up_for_the_spacing():
    cloud = flat_cloud(10)
    points = torch.rand(100, 3, dtype=torch.float64)
    expected = (points[:, 2] - HEIGHT).abs()
    torch.testing.assert_close(distance_to_planes(points, cloud), expected, rtol=0, atol=1e-7)


def test_samples_are_uniform_in_area_and_on_the_surface():
    surface = box_solid(1, 2, 3)
    samples = sample_surface(
        surface.vertices, surface.triangles(), 11_000, torch.Generator().manual_seed(0)
    ).detach()
    mesh = MeshReference(surface.vertices.detach().numpy(), surface.triangles().numpy())
    assert mesh.distance(samples.numpy()).max() < 1e-12
    on_bottom = (samples[:, 2] == 0).sum()
    assert abs(int(on_bottom) - 1000) <= 2  # 2 of 22: one sample in each n-th part of the area
    assert samples[samples[:, 2] == 0].mean(dim=0) == pytest.approx([0.5, 1, 0], abs=0.05)


def test_samples_move_with_the_vertices():
    surface = box_solid(1, 2, 3)
    samples = sample_surface(
        surface.vertices, surface.triangles(), 100, torch.Generator().manual_seed(0)
    )
    shift = torch.tensor([0.1, 0.2, 0.3], dtype=torch.float64)
    (gradient,) = torch.autograd.grad((samples * shift).sum(), surface.vertices)
    torch.testing.assert_close(gradient.sum(dim=0), 100 * shift)


@pytest.mark.thorough
def test_gradients():
    """Of both ways, on a ball inside the cloud's sphere and on a box across it."""
    cloud = ball_cloud()
    batch = batch_of(cloud)
    loss = SurfaceDistance(1.0, samples=300)
    box = PolygonMesh.from_polygons(
        0.6 * box_solid().vertices.detach() - 0.3,
        [[0, 1, 3, 2], [4, 6, 7, 5], [0, 4, 5, 1], [2, 3, 7, 6], [0, 2, 6, 4], [1, 5, 7, 3]],
    )
    for surface in (ball_solid(0.3, subdivisions=1), box):
        assert_gradient(lambda s: loss(s, batch, cloud), surface, step=1e-8, tolerance=1e-4)


def test_a_surface_through_the_cloud_has_a_finite_gradient():
    surface = ball_solid(0.4, subdivisions=1)
    points = surface.vertices.detach().float()
    cloud = PointCloud(
        points,
        torch.nn.functional.normalize(points, dim=1),
        Normalisation.identity(),
    )
    SurfaceDistance(1.0)(surface, batch_of(cloud), cloud).backward()
    assert torch.isfinite(surface.vertices.grad).all()


def test_the_same_batch_gives_the_same_samples():
    cloud, surface = ball_cloud(), ball_solid(0.3, subdivisions=1)
    loss = SurfaceDistance(1.0, samples=50)
    one, two, other = (float(loss(surface, batch_of(cloud, start=s), cloud)) for s in (0, 0, 700))
    assert one == two != other


@pytest.mark.thorough
def test_a_network_comes_closer_to_the_cloud():
    """Without any other loss, for a few steps."""
    torch.manual_seed(0)
    network = shapeopt.sdf_network(8, 2)
    cloud = normalise(*(np.asarray(x) for x in ellipsoid()))
    optimiser = torch.optim.Adam(network.parameters(), 1e-2)
    loss = SurfaceDistance(1.0, samples=1000)
    values = []
    for step in range(60):
        surface = shapeopt.extract_surface(network)
        value = loss(surface, batch_of(cloud, 500, 10 * step), cloud)
        values.append(float(value))
        optimiser.zero_grad()
        value.backward()
        optimiser.step()
    assert values[-1] < 0.2 * values[0]


def ellipsoid() -> tuple[torch.Tensor, torch.Tensor]:
    axes = torch.tensor([0.4, 0.3, 0.25])
    directions = torch.randn(3000, 3, generator=torch.Generator().manual_seed(0))
    directions = torch.nn.functional.normalize(directions, dim=1)
    return directions * axes, torch.nn.functional.normalize(directions / axes, dim=1)


def test_settings_are_checked():
    with pytest.raises(InputError, match="samples"):
        SurfaceDistance(1.0, samples=0)
