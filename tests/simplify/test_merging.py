"""Merged polygons: known counts, and the stated error checked by distances."""

import igl
import numpy as np
import pytest
import torch

from shapeopt import InputError, extract_surface, sdf_network
from shapeopt.mesh.polygon_mesh import PolygonMesh
from shapeopt.output.mesh_arrays import mesh_arrays
from shapeopt.simplify import merge_polygons, merge_to_count
from tests.solids import ball_solid, box_solid, polygons_of


def grid_box(n):
    """A unit cube whose sides are n x n squares each."""
    import trimesh

    mesh = trimesh.creation.box().subdivide_to_size(1.5 / n, max_iter=10)
    mesh.merge_vertices()
    return PolygonMesh.from_polygons(torch.tensor(mesh.vertices), mesh.faces.tolist())


def largest_distance(points, surface):
    triangles = surface.triangles().numpy()
    squared = igl.point_mesh_squared_distance(points, surface.vertices.numpy(), triangles)[0]
    return float(squared.max()) ** 0.5


def dense_points(surface):
    """Corners of the triangles and points inside them."""
    corners = surface.vertices.detach()[surface.triangles()].numpy()
    weights = np.random.default_rng(0).dirichlet(np.ones(3), size=40)
    inside = np.einsum("kc,tcd->tkd", weights, corners).reshape(-1, 3)
    return np.concatenate([corners.reshape(-1, 3), inside])


def network_surface():
    torch.manual_seed(1)
    with torch.no_grad():
        return extract_surface(sdf_network(width=12, depth=2).double())


def test_flat_sides_become_one_polygon():
    grid = grid_box(4)
    merged = merge_polygons(grid, 1e-9)
    assert grid.num_faces > 100
    assert (merged.num_faces, merged.num_vertices, merged.num_edges) == (6, 8, 12)
    assert merged.is_closed
    assert float(merged.volume()) == pytest.approx(1)


def test_box_cannot_be_merged():
    merged = merge_polygons(box_solid(1, 2, 3).detach(), 0.1)
    assert (merged.num_faces, merged.num_vertices) == (6, 8)


@pytest.mark.parametrize("error", [0.0, 1e-3, 1e-2, 5e-2])
@pytest.mark.parametrize("make", [network_surface, lambda: ball_solid(0.4, 2).detach()])
def test_merged_within_the_error(make, error):
    """Both ways, exact distances from corners and from points inside every triangle."""
    surface = make()
    merged = merge_polygons(surface, error)
    # A hair for rounding: nearest points are found in double precision.
    assert largest_distance(dense_points(surface), merged) <= error + 1e-9
    assert largest_distance(dense_points(merged), surface) <= error + 1e-9


def test_merged_mesh_is_a_closed_manifold_of_own_vertices():
    surface = network_surface()
    merged = merge_polygons(surface, 2e-2)
    own = {tuple(v) for v in surface.vertices.tolist()}
    assert merged.num_faces < 0.6 * surface.num_faces
    assert all(tuple(v) in own for v in merged.vertices.tolist())
    assert merged.is_closed == surface.is_closed
    assert merged.euler_characteristic == surface.euler_characteristic
    polygons = polygons_of(merged)
    assert all(len(set(polygon)) == len(polygon) >= 3 for polygon in polygons)
    assert len(torch.unique(merged.edges.sort(dim=1).values, dim=0)) == merged.num_edges
    # Each vertex has one fan of polygons around it: as many polygons as edges.
    corners = torch.bincount(merged.face_vertices, minlength=merged.num_vertices)
    ends = torch.bincount(merged.edges.flatten(), minlength=merged.num_vertices)
    assert torch.equal(corners, ends)


def test_triangles_cover_each_polygon_once():
    merged = merge_polygons(network_surface(), 2e-2)
    a, b, c = merged.vertices[merged.triangles()].unbind(1)
    normals = merged.face_normals[merged.triangle_faces()]
    areas = (torch.linalg.cross(b - a, c - a, dim=1) * normals).sum(dim=1) / 2
    total = torch.zeros(merged.num_faces, dtype=areas.dtype)
    total.index_add_(0, merged.triangle_faces(), areas)
    torch.testing.assert_close(total, merged.face_areas())
    assert bool((areas > -1e-12).all())


def test_open_surface_keeps_its_border_within_the_error():
    """A square sheet of 3 x 3 squares, one of them missing at the edge."""
    points = torch.cartesian_prod(*[torch.arange(4.0, dtype=torch.float64)] * 2)
    vertices = torch.cat([points, torch.zeros(16, 1, dtype=torch.float64)], dim=1)
    squares = [[i, i + 4, i + 5, i + 1] for i in (0, 1, 2, 4, 5, 6, 8, 10)]
    sheet = PolygonMesh.from_polygons(vertices, squares)
    merged = merge_polygons(sheet, 1e-9)
    assert merged.num_faces == 1
    assert merged.num_vertices == 8
    assert float(merged.area()) == pytest.approx(8)


@pytest.mark.parametrize("error", [-1.0, float("nan"), float("inf")])
def test_wrong_error(error):
    with pytest.raises(InputError, match="error is"):
        merge_polygons(box_solid().detach(), error)


def test_exports_use_the_triangles_of_a_polygon_that_is_not_convex():
    """A fan from the first corner would leave the L shape."""
    corners = [(0, 0), (2, 0), (2, 1), (1, 1), (1, 2), (0, 2)]
    vertices = torch.tensor([(x, y, 0.0) for x, y in corners], dtype=torch.float64)
    sheet = PolygonMesh.from_polygons(vertices, [[1, 2, 3, 0], [3, 4, 5, 0]])
    merged = merge_polygons(sheet, 1e-9)
    triangles, faces = mesh_arrays(merged).triangles()
    points = merged.vertices.numpy()[mesh_arrays(merged).corners[triangles]]
    areas = np.cross(points[:, 1] - points[:, 0], points[:, 2] - points[:, 0])[:, 2] / 2
    assert merged.num_faces == 1
    assert faces.tolist() == [0, 0, 0, 0]
    assert areas.min() > 0
    assert areas.sum() == pytest.approx(3)


@pytest.mark.parametrize("faces", [12, 60])
def test_merged_to_a_count_within_what_it_says(faces):
    surface = network_surface()
    merged, error = merge_to_count(surface, faces)
    assert merged.num_faces == faces
    assert merged.is_closed
    assert largest_distance(dense_points(merged), surface.detach()) <= error
    assert largest_distance(dense_points(surface.detach()), merged) <= error
    # That error does not merge more, and one a little smaller does not merge as much.
    assert merge_polygons(surface, error * (1 + 1e-9)).num_faces <= faces
    assert merge_polygons(surface, error * (1 - 1e-9)).num_faces > faces


def test_counts_without_any_error():
    merged, error = merge_to_count(grid_box(4), 6)
    assert (merged.num_faces, merged.num_vertices) == (6, 8)
    assert error < 1e-12
    with pytest.raises(InputError, match="at least 4"):
        merge_to_count(merged, 3)
