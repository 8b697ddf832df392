"""The nearest points of meshes, beside brute force with more digits, and an independent library."""

import igl
import numpy as np
import pytest
import torch

from shapeopt.mesh.nearest_triangles import TriangleTree
from tests.solids import ball_solid


def distances(points: np.ndarray, vertices: np.ndarray, triangles: np.ndarray) -> np.ndarray:
    """What is tested, by the place that its weights give."""
    found, weights = TriangleTree(vertices, triangles).nearest(points)
    assert weights.min() >= -1e-15
    np.testing.assert_allclose(weights.sum(axis=1), 1, rtol=0, atol=1e-15)
    at = (weights[:, :, None] * vertices[triangles[found]]).sum(axis=1)
    return np.linalg.norm(points - at, axis=1)


def brute_force(points: np.ndarray, vertices: np.ndarray, triangles: np.ndarray) -> np.ndarray:
    """To each side of each triangle, and to its plane where the foot is inside; 64 bits long."""
    points = points.astype(np.longdouble)[:, None]
    corners = [vertices.astype(np.longdouble)[triangles[:, i]] for i in range(3)]
    best = np.full((len(points), len(triangles)), np.inf, np.longdouble)
    inside = np.ones(best.shape, bool)
    normal = np.cross(corners[1] - corners[0], corners[2] - corners[0])
    area = np.square(normal).sum(axis=1)
    for one, two in ((0, 1), (1, 2), (2, 0)):
        side, offset = corners[two] - corners[one], points - corners[one]
        squared = np.square(side).sum(axis=1)
        share = (offset * side).sum(axis=2) / np.where(squared > 0, squared, 1)
        away = offset - np.clip(share, 0, 1)[:, :, None] * side
        best = np.minimum(best, np.sqrt(np.square(away).sum(axis=2)))
        inside &= (np.cross(side, offset) * normal).sum(axis=2) >= 0
    height = np.abs(((points - corners[0]) * normal).sum(axis=2))
    height /= np.sqrt(np.where(area > 0, area, 1))
    best = np.where(inside & (area > 1e-30), np.minimum(best, height), best)
    return best.min(axis=1).astype(float)


def random_triangles(n: int, size: float) -> tuple[np.ndarray, np.ndarray]:
    generator = np.random.default_rng(0)
    corners = generator.random((n, 1, 3)) + size * generator.random((n, 3, 3))
    return corners.reshape(-1, 3), np.arange(3 * n).reshape(-1, 3)


@pytest.mark.parametrize("n", [1, 2, 3, 5, 64, 65, 1000])
@pytest.mark.parametrize("size", [0.01, 1.0])
def test_triangles_anywhere(n, size):
    points = np.random.default_rng(1).uniform(-1, 2, (600, 3))
    mesh = random_triangles(n, size)
    found = distances(points, *mesh)
    np.testing.assert_allclose(found, brute_force(points, *mesh), rtol=0, atol=1e-14)
    squared = igl.point_mesh_squared_distance(points, *mesh)[0]
    np.testing.assert_allclose(found, np.sqrt(squared), rtol=0, atol=1e-14)


def test_points_on_the_mesh():
    ball = ball_solid(0.4, subdivisions=3)
    vertices, triangles = ball.vertices.detach().numpy(), ball.triangles().numpy()
    assert distances(vertices, vertices, triangles).max() == 0
    middles = vertices[triangles].mean(axis=1)
    assert distances(middles, vertices, triangles).max() < 1e-15


@pytest.mark.parametrize("height", [0.0, 1e-18, 1e-12, 1e-7])
@pytest.mark.parametrize("turn", [0, 1, 2])
def test_slivers(height, turn):
    """Whose third corner is anywhere along the longest side; a library is off by 4e-3 here."""
    generator = np.random.default_rng(0)
    vertices, triangles = random_triangles(200, 1.0)
    triangles = np.roll(triangles, turn, axis=1)
    along = generator.uniform(-1, 2, (200, 1))
    one, two = vertices[0::3], vertices[1::3]
    vertices[2::3] = one + along * (two - one) + height * generator.random((200, 3))
    far = generator.uniform(-1, 2, (200, 3))
    near = vertices[:200] + height * generator.random((200, 3))
    for points in far, near:
        expected = brute_force(points, vertices, triangles)
        np.testing.assert_allclose(
            distances(points, vertices, triangles), expected, rtol=0, atol=1e-9
        )


def test_triangles_that_are_points():
    places = np.random.default_rng(0).random((20, 3))
    points = np.random.default_rng(1).random((50, 3))
    found = distances(points, places.repeat(3, axis=0), np.arange(60).reshape(-1, 3))
    expected = np.linalg.norm(points[:, None] - places, axis=2).min(axis=1)
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-15)


def test_what_is_not_finite_is_not_near():
    points = np.full((3, 3), np.nan)
    assert np.isnan(distances(points, *random_triangles(10, 0.1))).all()


def test_threads_change_nothing():
    points = np.random.default_rng(1).random((5000, 3))
    threads = torch.get_num_threads()
    try:
        found = []
        for count in (1, 2):
            torch.set_num_threads(count)
            found.append(TriangleTree(*random_triangles(300, 0.1)).nearest(points))
    finally:
        torch.set_num_threads(threads)
    for one, two in zip(*found, strict=True):
        np.testing.assert_array_equal(one, two)
