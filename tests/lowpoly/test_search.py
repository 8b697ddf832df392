"""What the search starts from: the scan's own mesh, or a union that has its genus."""

import pytest
import torch
import trimesh

from shapeopt.data.loading import load
from shapeopt.extraction.halfspaces import HalfSpaces
from shapeopt.losses import Topology
from shapeopt.lowpoly import search
from shapeopt.lowpoly.fit import FitSettings
from shapeopt.networks import ConvexUnion
from shapeopt.training.batches import BatchSource

BARS = [
    (-0.4, 0.4, 0.2, 0.4),
    (-0.4, 0.4, -0.4, -0.2),
    (-0.4, -0.2, -0.4, 0.4),
    (0.2, 0.4, -0.4, 0.4),
]
WHOLE = [(-0.4, 0.4, -0.4, 0.4)] * 4


def become(network: ConvexUnion, boxes: list[tuple[float, float, float, float]]) -> None:
    """Makes each part a box, of a given rectangle and 0.4 high."""
    normals = torch.cat([torch.eye(3), -torch.eye(3)])
    with torch.no_grad():
        network.planes.copy_(normals.expand_as(network.planes))
        for part, (x0, x1, y0, y1) in enumerate(boxes):
            network.offsets[part] = torch.tensor([x1, y1, 0.2, -x0, -y0, 0.2])


@pytest.mark.parametrize(
    ("given", "fits", "euler"),
    [
        ([BARS, WHOLE, BARS], 2, 2),  # the second has it
        ([BARS, BARS, BARS], 3, 0),  # none does: the nearest
        ([WHOLE, BARS, BARS], 1, 2),
    ],
)
def test_fits_again_for_the_genus(tmp_path, monkeypatch, given, fits, euler):
    trimesh.creation.icosphere(2).export(tmp_path / "ball.ply")
    cloud = load(tmp_path / "ball.ply", seed=0)
    done = []

    def fake(network, batches, settings, progress):
        become(network, given[len(done)])
        done.append(network)

    monkeypatch.setattr(search, "fit", fake)
    batches = BatchSource(cloud, 2000, 100)
    found = search._fitted(4, 6, batches, cloud, FitSettings(), search._topology(cloud), None)
    assert len(done) == fits
    assert HalfSpaces()(found).euler_characteristic == euler


def test_only_a_closed_scan_has_a_genus(tmp_path):
    ball = trimesh.creation.icosphere(3)
    torus = trimesh.creation.torus(0.3, 0.1).apply_translation([3, 0, 0])
    ball.submesh([range(600)], append=True).export(tmp_path / "open.ply")
    trimesh.util.concatenate([ball, torus]).export(tmp_path / "two.ply")
    found = [search._topology(load(tmp_path / f"{x}.ply", seed=0)) for x in ("open", "two")]
    assert found == [None, Topology(search.TOPOLOGY_WEIGHT, components=2, genus=1)]


def test_triangles_start_from_a_scan_that_is_closed_and_in_one_piece(tmp_path):
    ball = trimesh.creation.icosphere(2)
    two = trimesh.util.concatenate([ball, ball.copy().apply_translation([3, 0, 0])])
    inside_out = ball.copy()
    inside_out.invert()
    shell = trimesh.util.concatenate([ball.copy().apply_scale(2), inside_out])
    ball.export(tmp_path / "ball.ply")
    ball.submesh([range(200)], append=True).export(tmp_path / "open.ply")
    two.export(tmp_path / "two.ply")
    shell.export(tmp_path / "hollow.ply")
    found = {
        name: search._own_mesh(load(tmp_path / f"{name}.ply", seed=0))
        for name in ("ball", "open", "two", "hollow")
    }
    assert found["ball"].num_faces == len(ball.faces)
    assert [name for name, mesh in found.items() if mesh is None] == ["open", "two", "hollow"]
