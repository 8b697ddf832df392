"""Measures of polygon meshes that are known by hand."""

import math

import pytest
import torch

from shapeopt import InputError, PolygonMesh
from tests.solids import box_solid, two_triangles


def test_measures_of_a_box():
    surface = box_solid(1, 2, 3)
    assert (surface.num_vertices, surface.num_edges, surface.num_faces) == (8, 12, 6)
    assert surface.euler_characteristic == 2
    assert surface.is_closed
    assert float(surface.area()) == pytest.approx(22)
    assert float(surface.volume()) == pytest.approx(6)
    assert float(surface.edge_lengths().sum()) == pytest.approx(4 * (1 + 2 + 3))
    angles, interior = surface.dihedral_angles()
    assert len(interior) == 12
    torch.testing.assert_close(angles, torch.full((12,), math.pi / 2, dtype=torch.float64))


def test_gradients_of_a_box():
    """Moving the whole side at x = 1 outwards by 1 adds its area to the volume."""
    surface = box_solid(1, 2, 3)
    (gradient,) = torch.autograd.grad(surface.volume(), surface.vertices)
    assert float(gradient[4:, 0].sum()) == pytest.approx(6)
    (gradient,) = torch.autograd.grad(surface.area(), surface.vertices)
    assert float(gradient[4:, 0].sum()) == pytest.approx(2 * (2 + 3))


@pytest.mark.parametrize("angle", [0.0, 0.3, 2.0, math.pi])
def test_dihedral_angle(angle):
    angles, interior = two_triangles(angle).dihedral_angles()
    assert len(interior) == 1
    assert float(angles) == pytest.approx(angle, abs=1e-12)


def test_flat_edges_have_a_finite_gradient():
    surface = two_triangles(0.0)
    angles, _ = surface.dihedral_angles()
    (gradient,) = torch.autograd.grad(angles.sum(), surface.vertices)
    assert torch.isfinite(gradient).all()


def test_triangles_cover_the_polygons():
    surface = box_solid(1, 2, 3)
    assert len(surface.triangles()) == 12
    assert surface.triangle_faces().tolist() == [face for face in range(6) for _ in range(2)]
    mesh = surface.to_trimesh()
    assert mesh.is_watertight
    assert mesh.volume == pytest.approx(6)


def test_an_open_surface_has_no_volume():
    with pytest.raises(InputError, match="cap=True"):
        two_triangles(0.5).volume()


def test_three_polygons_at_an_edge_are_refused():
    vertices = torch.randn(5, 3, dtype=torch.float64)
    with pytest.raises(InputError, match="more than two polygons"):
        PolygonMesh.from_polygons(vertices, [[0, 1, 2], [1, 0, 3], [0, 1, 4]])


def test_scaled_and_moved():
    box = box_solid(1, 2, 3)
    moved = box.scaled_and_moved(2, torch.tensor([1.0, 0.0, -1.0]))
    assert float(moved.volume()) == pytest.approx(8 * 6)
    assert moved.vertices.amin(dim=0).tolist() == [1, 0, -1]
    assert torch.equal(moved.face_normals, box.face_normals)
    with pytest.raises(InputError, match="positive"):
        box.scaled_and_moved(-1, torch.zeros(3))


def test_a_polygon_that_is_not_convex_is_cut_inside_itself():
    """An arrowhead: a fan from its first corner would cover more than its area."""
    corners = [[0, 0, 0], [2, -1, 0], [0, 2, 0], [-2, -1, 0]]
    vertices = torch.tensor(corners, dtype=torch.float64)
    sheet = PolygonMesh.from_polygons(vertices, [[1, 2, 3, 0]])
    a, b, c = sheet.vertices[sheet.triangles()].unbind(1)
    areas = torch.linalg.cross(b - a, c - a, dim=1)[:, 2] / 2
    assert (areas > 0).all()
    assert float(areas.sum()) == pytest.approx(float(sheet.area())) == pytest.approx(4)
