import numpy as np

from shapeopt.data.triangle_sampling import sample_triangles


def test_points_lie_on_their_triangle_and_follow_area():
    # A triangle of area 1/2, one of area 3/2, and one of no area, never hit.
    vertices = np.array([[0, 0, 0], [1, 0, 0], [0, 1, 0], [0, 0, 3.0]])
    faces = np.array([[0, 1, 2], [0, 0, 1], [0, 2, 3]])
    points, face = sample_triangles(vertices, faces, 20_000, seed=0)
    counts = np.bincount(face, minlength=3)
    assert counts[1] == 0
    assert abs(counts[0] / 20_000 - 0.25) < 0.015
    flat = points[face == 0]
    assert (flat[:, 2] == 0).all()
    assert flat.min() >= 0
    assert (flat[:, :2].sum(axis=1) <= 1).all()
    # Uniform: the mean is the centroid.
    np.testing.assert_allclose(flat.mean(axis=0), [1 / 3, 1 / 3, 0], atol=0.02)
