"""Losses on area, volume, centre of mass and inertia, on solids of known measures."""

import math

import pytest
import torch

from shapeopt import InputError
from shapeopt.losses import Area, Centroid, Inertia, SolidRoundness, Volume
from shapeopt.mesh.polygon_mesh import PolygonMesh
from tests.solids import assert_gradient, ball_solid, box_solid, tetrahedron_solid, two_triangles

# Second moment a b c (a^2 + b^2 + c^2) / 12 of a box over that of the ball of its volume.
BALL_OF_SIX = (6 / (4 * math.pi / 3)) ** (1 / 3)


@pytest.mark.parametrize(
    ("loss", "expected"),
    [
        (Area(1.0), 22.0),
        (Area(1.0, target=11.0), 1.0),
        (Volume(1.0), 6.0),
        (Volume(1.0, target=4.0), 0.25),
        (SolidRoundness(1.0), 22**3 / (36 * math.pi * 36) - 1),
        (Centroid(1.0), 0.5**2 + 1 + 1.5**2),
        (Centroid(1.0, target=(0.5, 1.0, 1.0)), 0.25),
        (Inertia(1.0), 6 * (1 + 4 + 9) / 12 / (3 / 5 * 6 * BALL_OF_SIX**2)),
        (Inertia(1.0, axis=(0, 0, 5)), 6 * (1 + 4) / 12 / (2 / 5 * 6 * BALL_OF_SIX**2)),
    ],
)
def test_values_on_a_box(loss, expected):
    assert float(loss(box_solid(1, 2, 3))) == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize(
    ("loss", "expected"),
    [(SolidRoundness(1.0), 0.0), (Inertia(1.0), 1.0), (Inertia(1.0, axis=(1, 2, 3)), 1.0)],
)
def test_values_on_a_ball(loss, expected):
    """From above: no polyhedron reaches the ball."""
    value = float(loss(ball_solid(0.37)))
    assert expected <= value < expected + 5e-3


@pytest.mark.parametrize("loss", [SolidRoundness(1.0), Inertia(1.0), Inertia(1.0, axis=(1, 2, 3))])
def test_size_does_not_count(loss):
    small, large = box_solid(0.01, 0.02, 0.03), box_solid(1, 2, 3)
    assert float(loss(small)) == pytest.approx(float(loss(large)), rel=1e-10)


@pytest.mark.parametrize(
    "loss",
    [
        Area(1.0),
        Area(1.0, target=3.0),
        Volume(1.0),
        Volume(1.0, target=3.0),
        SolidRoundness(1.0),
        Centroid(1.0, target=(0.1, 0.2, 0.3)),
        Inertia(1.0),
        Inertia(1.0, axis=(1, 2, 3)),
    ],
)
@pytest.mark.parametrize("solid", [box_solid(1, 2, 1.5), tetrahedron_solid()], ids=["box", "tet"])
def test_gradients(loss, solid):
    assert_gradient(loss, solid)


@pytest.mark.parametrize(
    "loss", [SolidRoundness(1.0), pytest.param(Inertia(1.0), marks=pytest.mark.slow)]
)
def test_descent_rounds_a_long_octahedron(loss):
    """Of all octahedra the regular one is the most compact: 3 sqrt(3) / pi - 1 above the ball."""
    signs = torch.cat([torch.eye(3), -torch.eye(3)]).double()
    vertices = (signs * torch.tensor([0.5, 0.2, 0.3])).requires_grad_()
    faces = [[0, 1, 2], [1, 3, 2], [3, 4, 2], [4, 0, 2], [1, 0, 5], [3, 1, 5], [4, 3, 5], [0, 4, 5]]
    optimiser = torch.optim.Adam([vertices], 5e-3)
    for _ in range(300):
        optimiser.zero_grad()
        loss(PolygonMesh.from_polygons(vertices, faces)).backward()
        optimiser.step()
    found = float(SolidRoundness(1.0)(PolygonMesh.from_polygons(vertices, faces)))
    assert found == pytest.approx(3 * math.sqrt(3) / math.pi - 1, abs=1e-3)


@pytest.mark.parametrize("loss", [Volume(1.0), SolidRoundness(1.0), Centroid(1.0), Inertia(1.0)])
def test_an_open_surface_is_no_solid(loss):
    with pytest.raises(InputError, match="open surface"):
        loss(two_triangles(0.5))


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: Area(1.0, target=0.0), "Area: target"),
        (lambda: Volume(1.0, target=-1.0), "Volume: target"),
        (lambda: Volume(1.0, target=math.nan), "Volume: target"),
        (lambda: Centroid(1.0, target=[0.0, 1.0]), "three numbers"),
        (lambda: Centroid(1.0, target=[0.0, math.inf, 0.0]), "three numbers"),
        (lambda: Inertia(1.0, axis=[0, 0, 0]), "direction"),
    ],
)
def test_settings_are_checked(build, message):
    with pytest.raises(InputError, match=message):
        build()
