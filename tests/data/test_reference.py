import numpy as np
import pytest
import torch
import trimesh

from shapeopt.data import (
    CloudReference,
    ImplicitReference,
    MeshReference,
    Normalisation,
    Reference,
    bunny_sdf,
    sample_implicit,
)

RADIUS = 0.3


def warped_sphere(points: torch.Tensor) -> torch.Tensor:
    """Zero on a sphere, but no distance: its slope varies along the surface and away from it."""
    distance = points.norm(dim=1) - RADIUS
    return distance * (1 + distance) * (1.2 + 0.5 * torch.sin(7 * points[:, 0]))


def queries(n: int = 2000) -> np.ndarray:
    return np.random.default_rng(0).uniform(-0.5, 0.5, size=(n, 3))


def test_mesh_distances_are_exact_on_a_box():
    box = trimesh.creation.box(extents=(0.4, 0.6, 0.8))
    reference = MeshReference(np.array(box.vertices), np.array(box.faces))
    x = queries()
    q = np.abs(x) - [0.2, 0.3, 0.4]
    expected = np.linalg.norm(np.maximum(q, 0), axis=1) - np.minimum(q.max(axis=1), 0)
    np.testing.assert_allclose(reference.distance(x), np.abs(expected), atol=1e-9)
    assert reference.distance(reference.samples(500, seed=0)).max() < 1e-9


def test_implicit_distances_on_a_sphere_that_is_no_distance_function():
    reference = ImplicitReference(warped_sphere)
    x = queries()
    expected = np.abs(np.linalg.norm(x, axis=1) - RADIUS)
    np.testing.assert_allclose(reference.distance(x), expected, atol=1e-6)


def test_implicit_reference_is_in_normalised_units():
    center, scale = torch.tensor([0.1, -0.05, 0.02]), 1.3
    reference = ImplicitReference(warped_sphere, Normalisation(center, scale))
    middle = -center.numpy() * scale  # where the sphere's centre comes to lie
    samples = reference.samples(1000, seed=0)
    np.testing.assert_allclose(np.linalg.norm(samples - middle, axis=1), RADIUS * scale)
    x = queries()
    expected = np.abs(np.linalg.norm(x - middle, axis=1) - RADIUS * scale)
    np.testing.assert_allclose(reference.distance(x), expected, atol=1e-6)


@pytest.mark.slow
def test_implicit_distances_to_the_bunny_against_dense_samples():
    from scipy.spatial import cKDTree

    x = queries(1000)
    dense, _ = cKDTree(sample_implicit(bunny_sdf, 100_000, seed=3).numpy()).query(x)
    distance = ImplicitReference(bunny_sdf).distance(x)
    # The samples lie 0.004 apart and leave gaps some times as large.
    assert (distance <= dense + 1e-3).all()
    assert (np.hypot(distance, 0.015) >= dense).all()
    assert (distance <= dense + 1e-6).mean() > 0.99


def test_cloud_distances_near_a_sphere():
    normals = sample_implicit(warped_sphere, 5000, seed=0).numpy() / RADIUS
    reference = CloudReference(RADIUS * normals, normals)
    x = queries()
    expected = np.abs(np.linalg.norm(x, axis=1) - RADIUS)
    np.testing.assert_allclose(reference.distance(x), expected, atol=3e-3)
    assert reference.samples(100, seed=0).shape == (100, 3)
    assert reference.samples(9000, seed=0).shape == (9000, 3)


def test_cloud_discs_end():
    """Beside a flat patch, in its plane, the distance is not zero."""
    patch = np.column_stack([np.random.default_rng(0).uniform(size=(500, 2)), np.zeros(500)])
    reference = CloudReference(patch, np.tile([0.0, 0, 1], (500, 1)))
    assert reference.distance(np.array([[3.0, 0.5, 0]]))[0] == pytest.approx(2, abs=0.15)


def test_all_are_references():
    points = np.eye(3)
    references = [
        MeshReference(points, np.array([[0, 1, 2]])),
        CloudReference(points, points),
        ImplicitReference(warped_sphere),
    ]
    assert all(isinstance(reference, Reference) for reference in references)
