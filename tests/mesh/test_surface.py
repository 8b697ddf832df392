import math

import pytest
import torch

from shapeopt import InputError
from shapeopt.errors import ExtractionError
from shapeopt.mesh.polygon_mesh import PolygonMesh
from shapeopt.mesh.polygons import order_corners
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


def test_corners_are_put_in_order():
    pentagon = torch.tensor([[0, 1], [2, 3], [1, 2], [4, 0], [3, 4]])
    square = torch.tensor([[7, 5], [6, 8], [8, 5], [7, 6]])
    corners = order_corners(torch.cat([pentagon, square]), torch.tensor([0, 5, 9])).tolist()
    assert corners[:5] == [0, 1, 2, 3, 4]
    assert corners[5:] in ([7, 5, 8, 6], [7, 6, 8, 5])


def test_edges_that_do_not_close_up_are_an_error():
    with pytest.raises(ExtractionError, match="close up"):
        order_corners(torch.tensor([[0, 1], [1, 2], [2, 3]]), torch.tensor([0, 3]))
