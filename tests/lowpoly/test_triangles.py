"""Triangles whose vertices move freely."""

import pytest
import torch
import trimesh

from shapeopt import PolygonMesh
from shapeopt.data.loading import load
from shapeopt.data.shapes import ellipsoid
from shapeopt.evaluation.measures import evaluate
from shapeopt.lowpoly.triangles import TriangleSettings, freed
from shapeopt.mesh.certificate import certify
from tests.solids import ball_solid


def test_they_come_nearer_and_stay_closed():
    """From a ball to an ellipsoid whose half axes are up to a seventh shorter."""
    cloud = ellipsoid([0.4, 0.37, 0.34], 5000, seed=0)
    radius = float(cloud.points.norm(dim=1).max())
    ball = ball_solid(radius, 2).detach()
    collapsed = freed(ball, 80, cloud, TriangleSettings(1, 1, (1,), turns=0, learning_rate=0.0))
    settings = TriangleSettings(10, 30, turns=1, learning_rate=0.05, samples=1000)
    found = [freed(ball, 80, cloud, settings) for _ in range(2)]
    assert found[0].num_faces == collapsed.num_faces == 80
    report = certify(found[0])
    assert report.is_clean
    assert [part.genus for part in report.components] == [0]
    before, after = (evaluate(x, cloud.reference, 5000)["distance"] for x in (collapsed, found[0]))
    assert after < 0.4 * before
    corners = found[0].vertices[found[0].face_vertices.view(-1, 3)]
    assert bool(((found[0].face_normals * corners.mean(dim=1)).sum(dim=1) > 0).all())
    # The same every time.
    assert torch.equal(found[0].vertices, found[1].vertices)


@pytest.mark.parametrize("count", [12, 300])
def test_what_is_there_already_is_kept(tmp_path, count):
    """Of a box all is said by its corners: no movement brings anything, nor do more triangles, of
    which there are as many as asked for."""
    trimesh.creation.box().subdivide().export(tmp_path / "box.ply")
    cloud = load(tmp_path / "box.ply", seed=0)
    box = PolygonMesh.from_polygons(
        torch.from_numpy(cloud.reference.vertices), cloud.reference.faces.tolist()
    )
    settings = TriangleSettings(5, 5, turns=1, samples=500, judging=1000, learning_rate=0.1)
    found = freed(box, count, cloud, settings)
    assert found.num_faces == count
    assert evaluate(found, cloud.reference, 5000)["distance"] < 1e-9
