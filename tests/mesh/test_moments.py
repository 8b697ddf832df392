"""Moments against solids whose integrals are known."""

import math

import pytest
import torch

from shapeopt import InputError, PolygonMesh
from shapeopt.mesh.moments import moments
from tests.solids import (
    BOX_FACES,
    assert_gradient,
    ball_solid,
    box_solid,
    tetrahedron_solid,
    two_triangles,
)

EXACT = {"rtol": 0, "atol": 1e-12}


def rotation(seed: int = 0) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    q, _ = torch.linalg.qr(torch.randn(3, 3, generator=generator, dtype=torch.float64))
    return q * q.det()  # of determinant 1, so that the outside stays outside


def moved(surface: PolygonMesh, turn: torch.Tensor, shift: torch.Tensor):
    faces = BOX_FACES if surface.num_faces == 6 else [[0, 2, 1], [0, 1, 3], [0, 3, 2], [1, 2, 3]]
    return PolygonMesh.from_polygons(surface.vertices @ turn.T + shift, faces)


def box_second(a, b, c):
    return a * b * c / 12 * torch.diag(torch.tensor([a, b, c], dtype=torch.float64).square())


def tetrahedron_second():
    """Of the corner of the unit cube: integral of x_i^2 is 1/60 and of x_i x_j 1/120 about 0."""
    about_origin = (torch.ones(3, 3) + torch.eye(3)).double() / 120
    return about_origin - torch.full((3, 3), 1 / 16, dtype=torch.float64) / 6


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize(
    ("solid", "volume", "centroid", "second"),
    [
        (box_solid(1, 2, 3), 6.0, [0.5, 1.0, 1.5], box_second(1, 2, 3)),
        (box_solid(0.1, 1.2, 0.4), 0.048, [0.05, 0.6, 0.2], box_second(0.1, 1.2, 0.4)),
        (tetrahedron_solid(), 1 / 6, [0.25, 0.25, 0.25], tetrahedron_second()),
    ],
    ids=["box", "thin box", "tetrahedron"],
)
def test_moved_solids(solid, volume, centroid, second, seed):
    turn = rotation(seed)
    shift = torch.tensor([0.3, -0.7, 0.9], dtype=torch.float64)
    found = moments(moved(solid, turn, shift))
    center = turn @ torch.tensor(centroid, dtype=torch.float64) + shift
    assert abs(float(found.volume.detach()) - volume) < 1e-12
    torch.testing.assert_close(found.centroid, center, **EXACT)
    torch.testing.assert_close(found.second, turn @ second @ turn.T, **EXACT)


def test_a_fine_mesh_nears_the_ball():
    found = moments(ball_solid(0.5))
    assert float(found.volume.detach()) == pytest.approx(math.pi / 6, rel=5e-3)
    assert float(found.centroid.detach().norm()) < 1e-12
    ball = 4 * math.pi / 15 * 0.5**5 * torch.eye(3, dtype=torch.float64)
    torch.testing.assert_close(found.second, ball, rtol=1e-2, atol=1e-6)


@pytest.mark.parametrize(
    "measure",
    [
        lambda s: moments(s).volume,
        lambda s: moments(s).centroid @ torch.tensor([1.0, 2.0, 3.0], dtype=torch.float64),
        lambda s: (moments(s).second * torch.arange(9.0).view(3, 3).double()).sum(),
    ],
    ids=["volume", "centroid", "second"],
)
def test_gradients(measure):
    assert_gradient(measure, box_solid(1, 2, 3))


def test_an_open_surface_has_no_moments():
    with pytest.raises(InputError, match="open surface"):
        moments(two_triangles(0.5))


def test_an_inside_out_surface_has_no_moments():
    box = box_solid()
    inside_out = PolygonMesh.from_polygons(box.vertices, [f[::-1] for f in BOX_FACES])
    with pytest.raises(InputError, match="f must be negative inside"):
        moments(inside_out)
