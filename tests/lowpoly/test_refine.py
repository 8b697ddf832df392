"""More triangles where a mesh is worst."""

import torch

from shapeopt.data.shapes import ellipsoid
from shapeopt.lowpoly.refine import refined
from shapeopt.mesh.certificate import certify
from tests.solids import ball_solid


def test_edges_are_cut_where_the_cloud_is_far():
    """A ball, with a cloud that leaves it on one side."""
    cloud = ellipsoid([0.3, 0.3, 0.3], 5000, seed=0)
    ball = ball_solid(0.3, 2).detach()
    dented = ball.vertices.clone()
    dented[dented[:, 0] > 0.15] *= 0.8
    mesh = ball.from_polygons(dented, ball.face_vertices.view(-1, 3).tolist())
    result = refined(mesh, cloud, 12)
    assert result.num_faces == mesh.num_faces + 12
    report = certify(result)
    assert report.is_clean
    assert [part.genus for part in report.components] == [0]
    new = result.vertices[mesh.num_vertices :]
    assert len(new) == 6
    assert bool((new[:, 0] > 0.05).all())
    # Each lies on the mesh, in the middle of an edge.
    middles = mesh.vertices[mesh.edges].mean(dim=1)
    assert float(torch.cdist(new, middles).amin(dim=1).max()) < 1e-7
    assert torch.isclose(result.volume(), mesh.volume())


def test_no_triangle_is_cut_twice():
    cloud = ellipsoid([0.3, 0.3, 0.3], 1000, seed=0)
    mesh = ball_solid(0.3, 1).detach()
    result = refined(mesh, cloud, 10_000)
    assert mesh.num_faces < result.num_faces <= 2 * mesh.num_faces
    assert certify(result).is_clean
