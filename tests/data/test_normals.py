import numpy as np
import pytest
import trimesh

from shapeopt.data import estimate_normals, load
from shapeopt.data.orientation import outwardness
from shapeopt.data.outliers import stray_points
from shapeopt.data.triangle_sampling import sample_triangles
from shapeopt.errors import InputError


def sphere(n: int, radius: float, center, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    normals = np.random.default_rng(seed).normal(size=(n, 3))
    normals /= np.linalg.norm(normals, axis=1, keepdims=True)
    return radius * normals + np.asarray(center), normals


@pytest.mark.thorough
def test_bunny_normals_point_out():
    cloud = load("data/bunny.ply")
    truth = cloud.normals.double().numpy()
    estimate = estimate_normals(cloud.points.double().numpy())
    np.testing.assert_allclose(np.linalg.norm(estimate, axis=1), 1)
    agreement = (estimate * truth).sum(axis=1)
    assert (agreement > 0).mean() >= 0.999
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


def torus(n: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    mesh = trimesh.creation.torus(0.4, 0.15)
    points, face = sample_triangles(np.array(mesh.vertices), np.array(mesh.faces), n, seed)
    return points, np.array(mesh.face_normals)[face]


def test_stray_points_turn_nothing():
    points, truth = torus(1000, 0)
    rng = np.random.default_rng(0)
    stray = rng.uniform(-0.6, 0.6, (10, 3))
    far = rng.normal(size=(10, 3)) * 5
    for others in (stray, far):
        normals = estimate_normals(np.vstack([points, others]))
        np.testing.assert_allclose(np.linalg.norm(normals, axis=1), 1)
        assert ((normals[:1000] * truth).sum(axis=1) > 0).mean() > 0.995
    found = stray_points(np.vstack([points, far]))
    assert found[1000:].all()
    assert not found[:1000].any()


def test_repeated_points_count_once():
    points, truth = torus(500, 0)
    normals = estimate_normals(np.repeat(points, 6, axis=0))
    np.testing.assert_allclose(normals[::6], estimate_normals(points), atol=1e-9)
    assert ((normals * np.repeat(truth, 6, axis=0)).sum(axis=1) > 0).mean() > 0.99


def test_a_cavity_faces_into_itself():
    outer, out = sphere(800, 1.0, (0, 0, 0))
    inner, into = sphere(400, 0.6, (0, 0, 0), seed=1)
    normals = estimate_normals(np.vstack([outer, inner]))
    assert ((normals * np.vstack([out, -into])).sum(axis=1) > 0).mean() > 0.995


def test_both_sides_of_a_plate_face_out():
    mesh = trimesh.creation.box((1, 1, 0.1))
    points, face = sample_triangles(np.array(mesh.vertices), np.array(mesh.faces), 1500, 0)
    normals = estimate_normals(points)
    assert ((normals * mesh.face_normals[face]).sum(axis=1) > 0).mean() > 0.99


def test_normals_do_not_depend_on_place_and_size():
    points, _ = torus(400, 0)
    here = estimate_normals(points)
    there = estimate_normals(points * 1000 + [5e5, 5e6, 100])
    assert ((here * there).sum(axis=1) > 0.99).all()


def test_outwardness():
    points, normals = sphere(500, 3.0, (7, 0, 0))
    assert outwardness(points, normals) == pytest.approx(1, abs=0.05)
    assert outwardness(points, -normals) == pytest.approx(-1, abs=0.05)


def test_a_plane_needs_three_neighbours():
    with pytest.raises(InputError, match="neighbours is 1"):
        estimate_normals(sphere(20, 1.0, (0, 0, 0))[0], 1)
