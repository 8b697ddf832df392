"""Edge collapse: what is flat costs nothing, and a closed manifold stays one."""

from itertools import pairwise

import numpy as np
import pytest
import torch
import trimesh

from shapeopt import InputError, PolygonMesh
from shapeopt.mesh.certificate import certify
from shapeopt.simplify.collapse import collapse_edges
from tests.simplify import naive_collapse
from tests.solids import ball_solid, box_solid, two_triangles


def fine_box() -> PolygonMesh:
    """A box of 1 x 2 x 3 with many triangles in its faces."""
    mesh = trimesh.creation.box((1, 2, 3)).subdivide().subdivide()
    vertices = torch.tensor(np.array(mesh.vertices), dtype=torch.float64)
    return PolygonMesh.from_polygons(vertices, mesh.faces.tolist())


def test_flat_faces_collapse_without_any_error():
    result = collapse_edges(fine_box(), error=1e-9)
    assert result.num_faces == 12
    assert float(result.volume()) == pytest.approx(6, rel=1e-9)
    assert certify(result).is_clean


def test_a_number_of_triangles():
    ball = ball_solid(subdivisions=2)
    result = collapse_edges(ball, triangles=100)
    assert result.num_faces == 100
    assert certify(result).is_clean
    assert result.euler_characteristic == 2
    radius = result.vertices.norm(dim=1)
    assert float((radius - 1).abs().max()) < 0.1
    assert float(result.volume()) == pytest.approx(4 / 3 * np.pi, rel=0.1)


@pytest.mark.parametrize("triangles", [8, 60, 300])
def test_it_is_the_plain_collapse(triangles):
    ball = ball_solid(subdivisions=2)
    generator = torch.Generator().manual_seed(0)
    lengths = 1 + 0.1 * torch.rand(ball.num_vertices, 1, generator=generator, dtype=torch.float64)
    rough = PolygonMesh.from_polygons(ball.vertices * lengths, ball.triangles().tolist())
    found = collapse_edges(rough, triangles)
    plain = naive_collapse.collapse_edges(rough, triangles)
    assert torch.equal(found.face_vertices, plain.face_vertices)
    assert torch.allclose(found.vertices, plain.vertices, atol=1e-9)


def test_slivers_of_a_flat_face_do_not_turn_over():
    """A plate with a concave side of many short edges, and two vertices in each face that see half
    of them each: the triangles in between are slivers, and one that turned over would lie outside.
    """
    angles = torch.linspace(np.pi, 0, 801, dtype=torch.float64)
    arc = torch.stack([angles.cos(), 0.8 * angles.sin()], dim=1)
    others = [[1.0, 0.85], [-1.0, 0.85], [-0.9, 0.8], [0.9, 0.8]]
    points = torch.cat([arc, torch.tensor(others, dtype=torch.float64)])
    middle, end, one, two, left, right = 400, 800, 801, 802, 803, 804
    top = [[left, i, i + 1] for i in range(middle)] + [[left, middle, right]]
    top += [[right, i, i + 1] for i in range(middle, end)] + [[right, end, one]]
    top += [[two, 0, left], [two, left, right], [two, right, one]]
    count, border = len(points), [*range(two + 1), 0]
    sides = [[i + count, j + count, j, i] for i, j in pairwise(border)]
    below = [[i + count for i in reversed(corners)] for corners in top]
    heights = torch.tensor([0.5, 0.0], dtype=torch.float64).repeat_interleave(count)[:, None]
    plate = PolygonMesh.from_polygons(
        torch.cat([points.repeat(2, 1), heights], 1), top + sides + below
    )
    assert plate.is_closed
    found = collapse_edges(plate, triangles=60)
    assert found.num_faces == 60
    assert float(found.volume()) == pytest.approx(float(plate.volume()), rel=0.01)
    assert float(found.area()) < float(plate.area())  # nothing lies on top of each other


def test_slivers_go_within_the_error():
    """A box with a corner cut off by a hair: the small triangle there becomes a point."""
    vertices = torch.tensor(
        [
            *([0, 0, 0], [1, 0, 0], [1, 1, 0], [0, 1, 0], [0, 0, 1], [1, 0, 1], [0, 1, 1]),
            *([0.999, 1, 1], [1, 0.999, 1], [1, 1, 0.999]),
        ],
        dtype=torch.float64,
    )
    faces = [[0, 3, 2, 1], [4, 5, 8, 7, 6], [0, 1, 5, 4], [1, 2, 9, 8, 5], [2, 3, 6, 7, 9]]
    box = PolygonMesh.from_polygons(vertices, [*faces, [0, 4, 6, 3], [7, 8, 9]])
    assert len(box.triangles()) == 16
    result = collapse_edges(box, error=1e-3)
    assert result.num_faces == 12
    assert float(result.volume()) == pytest.approx(1, abs=1e-5)
    assert collapse_edges(box, error=0.0).num_faces == 16


@pytest.mark.parametrize(
    ("mesh", "settings", "message"),
    [
        (box_solid(), {}, "number of triangles, an error"),
        (box_solid(), {"triangles": 3}, "at least 4"),
        (box_solid(), {"error": -1.0}, "error is -1"),
        (two_triangles(0.3), {"triangles": 4}, "closed"),
    ],
)
def test_what_it_refuses(mesh, settings, message):
    with pytest.raises(InputError, match=message):
        collapse_edges(mesh, **settings)
