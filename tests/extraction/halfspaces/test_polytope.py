"""Convex parts from half-spaces."""

import numpy as np
import pytest
import trimesh

from shapeopt.extraction.halfspaces.clipping import DONE, DOUBTFUL, EMPTY, clipped
from shapeopt.extraction.halfspaces.polytope import dual, inner_point, polytope, with_fans

AXES = np.concatenate([np.eye(3), -np.eye(3)])


def test_a_box():
    part = polytope(AXES, np.array([1, 2, 3, 1, 0, 0.0]))
    mesh = trimesh.Trimesh(part.vertices, part.triangles)
    assert mesh.is_watertight
    assert mesh.is_winding_consistent
    assert mesh.volume == pytest.approx(2 * 2 * 3)
    # Every triangle lies on the plane that it names.
    offsets = np.array([1, 2, 3, 1, 0, 0.0])
    heights = (part.vertices[part.triangles] * AXES[part.planes][:, None]).sum(axis=2)
    np.testing.assert_allclose(
        heights, np.repeat(offsets[part.planes][:, None], 3, axis=1), atol=1e-15
    )


def test_many_planes_in_one_point_stay_closed():
    """A pyramid over a square: four planes meet at its tip, and the mesh is closed all the same."""
    normals = np.array([[1, 0, 1], [-1, 0, 1], [0, 1, 1], [0, -1, 1], [0, 0, -1]]) / 1.0
    normals /= np.linalg.norm(normals, axis=1, keepdims=True)
    part = polytope(normals, np.array([2**-0.5] * 4 + [0.0]))
    mesh = trimesh.Trimesh(part.vertices, part.triangles, process=False)
    counts = np.bincount(np.sort(mesh.edges, axis=1) @ [1000, 1])
    assert set(counts[counts > 0].tolist()) == {2}
    assert mesh.volume == pytest.approx(4 / 3)


def test_a_plane_that_does_not_touch_has_no_face():
    normals = np.concatenate([AXES, [[1, 0, 0]]])
    part = polytope(normals, np.array([1, 1, 1, 1, 1, 1, 5.0]))
    assert set(part.planes.tolist()) == {0, 1, 2, 3, 4, 5}


def test_a_known_inner_point_gives_the_same_part():
    rng = np.random.default_rng(0)
    normals = rng.normal(size=(12, 3))
    normals /= np.linalg.norm(normals, axis=1, keepdims=True)
    normals, offsets = np.concatenate([normals, AXES]), np.full(18, 0.3)
    one, two = polytope(normals, offsets), polytope(normals, offsets, np.array([0.05, 0, 0.02]))
    assert trimesh.Trimesh(one.vertices, one.triangles).volume == pytest.approx(
        trimesh.Trimesh(two.vertices, two.triangles).volume, rel=1e-12
    )


@pytest.mark.parametrize("near", [[0.05, 0, 0.02], [0.4, 0, 0], [0.2999, 0, 0]])
def test_the_dual_hull_goes_on_from_a_known_inner_point(near):
    """One outside, or too near to a plane, is no use, and the largest ball is looked for."""
    part = dual(AXES, np.full(6, 0.3), np.array(near))
    mesh = trimesh.Trimesh(part.vertices, part.triangles)
    assert mesh.is_watertight
    assert mesh.volume == pytest.approx(0.6**3, rel=1e-12)


def test_nothing_inside():
    assert polytope(AXES, np.array([1, 1, 1, -2, 1, 1.0])) is None
    assert inner_point(AXES, np.array([1, 1, 1, -2, 1, 1.0]))[1] < 0


def test_cutting_and_the_dual_hull_give_the_same_part():
    rng = np.random.default_rng(1)
    empty = 0
    for count in rng.integers(4, 30, 60):
        normals = rng.normal(size=(count, 3))
        normals /= np.linalg.norm(normals, axis=1, keepdims=True)
        normals = np.concatenate([normals, AXES])
        offsets = np.concatenate([rng.normal(0.2, 0.15, count), np.full(6, 0.5)])
        state, part = clipped(normals, offsets)
        hull = dual(normals, offsets)
        if hull is None:
            assert state == EMPTY
            empty += 1
            continue
        assert state == DONE
        _, vertices, triangles, planes = with_fans(part)
        mesh = trimesh.Trimesh(vertices, triangles, process=False)
        assert mesh.is_watertight
        assert mesh.is_winding_consistent
        other = trimesh.Trimesh(hull.vertices, hull.triangles, process=False)
        assert mesh.volume == pytest.approx(other.volume, rel=1e-10)
        assert set(planes.tolist()) == set(hull.planes.tolist())
        heights = (vertices[triangles] * normals[planes][:, None]).sum(axis=2)
        np.testing.assert_allclose(heights, np.tile(offsets[planes][:, None], 3), atol=1e-12)
    assert 5 < empty < 55


def test_what_cutting_leaves_to_the_dual_hull():
    """Four planes through one corner, a plane twice, planes that bound nothing."""
    tip = np.array([[1, 0, 1], [-1, 0, 1], [0, 1, 1], [0, -1, 1], [0, 0, -1]]) / 2**0.5
    assert clipped(tip, np.array([2**-0.5] * 4 + [0.0]))[0] == DOUBTFUL
    assert clipped(np.concatenate([AXES, AXES[:1]]), np.full(7, 0.5))[0] == DOUBTFUL
    assert clipped(AXES[:5], np.full(5, 0.5))[0] == DOUBTFUL
