import numpy as np

from shapeopt.data import estimate_normals, load


def sphere(n: int, radius: float, center, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    normals = np.random.default_rng(seed).normal(size=(n, 3))
    normals /= np.linalg.norm(normals, axis=1, keepdims=True)
    return radius * normals + np.asarray(center), normals


def test_bunny_normals_point_out():
    cloud = load("data/bunny.ply")
    truth = cloud.normals.double().numpy()
    estimate = estimate_normals(cloud.points.double().numpy())
    np.testing.assert_allclose(np.linalg.norm(estimate, axis=1), 1)
    agreement = (estimate * truth).sum(axis=1)
    assert (agreement > 0).mean() >= 0.99
    assert np.degrees(np.arccos(np.minimum(np.abs(agreement), 1))).mean() < 3


def test_every_piece_points_out():
    pieces = [sphere(400, 0.2, (x, 0, 0), seed=i) for i, x in enumerate((-5.0, 0.0, 3.0))]
    points, truth = (np.concatenate(part) for part in zip(*pieces, strict=True))
    assert ((estimate_normals(points) * truth).sum(axis=1) > 0).all()


def test_plane_is_exact_and_agrees():
    rng = np.random.default_rng(0)
    points = np.column_stack([rng.uniform(size=(300, 2)), np.zeros(300)])
    normals = estimate_normals(points)
    np.testing.assert_allclose(np.abs(normals), np.tile([0.0, 0, 1], (300, 1)), atol=1e-9)
    assert len(set(np.sign(normals[:, 2]))) == 1


def test_fewer_points_than_neighbours():
    points, truth = sphere(6, 1.0, (0, 0, 0))
    assert estimate_normals(points).shape == truth.shape
