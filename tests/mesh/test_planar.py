"""Polygons in the plane."""

import numpy as np
import pytest

from shapeopt.mesh.planar import contains, is_simple, plane_axes, signed_area, triangulate

SQUARE = [(0, 0), (1, 0), (1, 1), (0, 1)]
NOTCHED = [(0, 0), (2, 0), (2, 2), (1, 0.5), (0, 2)]
SPIRAL = [(0, 0), (5, 0), (5, 4), (1, 4), (1, 2), (3, 2), (3, 3), (4, 3), (4, 1), (0, 1)]
MIDDLE_CORNER = [(0, 0), (1, 0), (2, 0), (2, 2), (0, 2)]  # (1, 0) lies on a straight side


def array(points):
    return np.array(points, dtype=np.float64)


@pytest.mark.parametrize("polygon", [SQUARE, NOTCHED, SPIRAL, MIDDLE_CORNER, SQUARE[:3]])
def test_simple_polygons(polygon):
    assert is_simple(array(polygon))
    assert not is_simple(array(polygon[::-1]))


@pytest.mark.parametrize(
    "polygon",
    [
        [(0, 0), (3, 0), (1, 1), (2, 1)],  # two sides cross
        [(0, 0), (2, 0), (2, 2), (1, 0), (0, 2)],  # a corner on another side
        [(0, 0), (3, 0), (2, 0), (2, 2)],  # turns back on itself
        [(0, 0), (1, 0)],
        [(0, 0), (1, 0), (2, 0)],
    ],
)
def test_not_simple(polygon):
    assert not is_simple(array(polygon))


@pytest.mark.parametrize("polygon", [SQUARE, NOTCHED, SPIRAL, MIDDLE_CORNER, SQUARE[:3]])
def test_triangles_fill_the_polygon(polygon):
    """Positive areas that add up to the whole cannot overlap or leave the polygon."""
    points = array(polygon)
    triangles = triangulate(points)
    areas = [signed_area(points[list(triangle)]) for triangle in triangles]
    assert len(triangles) == len(points) - 2
    assert min(areas) > 0
    assert sum(areas) == pytest.approx(signed_area(points))


def test_axes_are_right_handed():
    normal = array((1, 2, -2)) / 3
    first, second = plane_axes(normal)
    np.testing.assert_allclose(np.cross(first, second), normal, atol=1e-15)


def test_what_a_polygon_contains():
    """An L: its notch lies outside, and the corner of the notch sees both."""
    shape = np.array([[0, 0], [2, 0], [2, 1], [1, 1], [1, 2], [0, 2]]) / 1.0
    for polygon in (shape, shape[::-1]):
        assert contains(polygon, np.array([0.5, 1.5]))
        assert contains(polygon, np.array([1.5, 0.5]))
        assert not contains(polygon, np.array([1.5, 1.5]))
        assert not contains(polygon, np.array([-0.5, 1.0]))
        assert not contains(polygon, np.array([0.5, 2.5]))
