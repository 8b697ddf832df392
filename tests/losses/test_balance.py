"""Balance of solids whose centre of mass and support are known."""

import math

import pytest
import torch

from shapeopt import InputError, PolyhedralSurface
from shapeopt.losses import Balance
from shapeopt.losses.balance import convex_hull, horizontal_axes, signed_distance
from tests.solids import (
    assert_gradient,
    box_solid,
    polygons_of,
    prism_solid,
    tetrahedron_solid,
    two_triangles,
)

# A parallelogram that leans over: its foot spans x = 0 to 1, its centre is at x = lean + 0.5.
LEAN = 0.8


def leaning() -> PolyhedralSurface:
    return prism_solid([(0, 0), (1, 0), (1 + 2 * LEAN, 1), (2 * LEAN, 1)], depth=4)


def test_a_standing_box_costs_nothing():
    assert float(Balance(1.0)(box_solid(1, 2, 3)).detach()) == 0


def test_the_distance_to_the_foot():
    outside = LEAN + 0.5 - 1
    assert float(Balance(1.0, margin=0.0)(leaning())) == pytest.approx(outside**2, rel=1e-10)
    assert float(Balance(1.0, margin=0.1)(leaning())) == pytest.approx((outside + 0.1) ** 2)


def test_the_margin_is_a_depth_inside():
    """The box's centre is 0.5 from the nearest side of its foot."""
    assert float(Balance(1.0, margin=0.5)(box_solid(1, 2, 3))) == pytest.approx(0, abs=1e-20)
    assert float(Balance(1.0, margin=0.7)(box_solid(1, 2, 3))) == pytest.approx(0.04)


def test_tolerance_decides_what_touches():
    """On one corner the support is that corner, unless the face's other corners touch too."""
    corners = torch.tensor([[0, 0, 0], [1, 0, 0.1], [0, 1, 0.1], [0, 0, 1]], dtype=torch.float64)
    solid = tetrahedron_solid(corners)
    center = corners.mean(dim=0)
    on_tip = Balance(1.0, tolerance=0.01, margin=0.0)(solid)
    assert float(on_tip) == pytest.approx(float(center[:2].square().sum()))
    assert float(Balance(1.0, tolerance=0.2, margin=0.0)(solid)) == 0


@pytest.mark.parametrize("down", [(0, 0, -1), (3, 0, 0), (0.3, -0.5, 0.2)])
def test_any_direction_can_be_down(down):
    """The solid is turned so that what was -z is down."""
    down_unit = torch.nn.functional.normalize(torch.tensor(down, dtype=torch.float64), dim=0)
    ground = horizontal_axes(down_unit)
    torch.testing.assert_close(ground.T @ ground, torch.eye(2, dtype=torch.float64))
    torch.testing.assert_close(ground.T @ down_unit, torch.zeros(2, dtype=torch.float64))
    frame = torch.stack([*ground.T, -down_unit])
    frame[0] *= torch.linalg.det(frame)  # a turn, no reflection
    solid = leaning()
    turned = PolyhedralSurface.from_polygons(solid.vertices @ frame, polygons_of(solid))
    assert float(Balance(1.0, down=down, margin=0.0)(turned)) == pytest.approx((LEAN - 0.5) ** 2)


LOPSIDED = torch.tensor([[0, 0, 0], [1, 0, 0], [0.1, 0.9, 0], [0.4, 0.2, 1]], dtype=torch.float64)


@pytest.mark.parametrize(
    "solid", [leaning(), tetrahedron_solid(LOPSIDED)], ids=["outside", "inside, within the margin"]
)
def test_gradients(solid):
    """Exact, but for the heights of the support, which are held."""
    held = (solid.vertices.detach() == 0) & torch.tensor([False, False, True])
    assert_gradient(Balance(1.0, margin=0.4), solid, held=held)


def test_the_gradient_moves_centre_and_foot():
    solid = leaning()
    (gradient,) = torch.autograd.grad(Balance(1.0)(solid), solid.vertices)
    x, _, z = solid.vertices.detach().unbind(1)
    nearest_foot, top = (x == 1) & (z == 0), z == 1
    assert (gradient[top, 0] > 0).all()  # descent pulls the overhang back
    assert (gradient[nearest_foot, 0] < 0).all()  # and pushes the foot under it


def test_descent_makes_it_stand():
    solid = leaning()
    vertices, faces = solid.vertices.detach().clone().requires_grad_(), polygons_of(solid)
    optimiser = torch.optim.SGD([vertices], 0.3)
    loss = Balance(1.0, margin=0.05)
    for _ in range(60):
        optimiser.zero_grad()
        loss(PolyhedralSurface.from_polygons(vertices, faces)).backward()
        optimiser.step()
    stands = Balance(1.0, margin=0.04)(PolyhedralSurface.from_polygons(vertices, faces))
    assert float(stands.detach()) == 0


def points(*rows):
    return torch.tensor(rows, dtype=torch.float64)


def test_hull_is_scipys():
    from scipy.spatial import ConvexHull

    cloud = torch.randn(200, 2, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    expected = ConvexHull(cloud.numpy()).vertices.tolist()
    found = convex_hull(cloud).tolist()
    start = expected.index(found[0])
    assert found == expected[start:] + expected[:start]


@pytest.mark.parametrize(
    ("cloud", "corners"),
    [
        (points([1, 2]), [[1, 2]]),
        (points([1, 2], [1, 2], [1, 2]), [[1, 2]]),
        (points([0, 0], [1, 1], [2, 2], [1, 1]), [[0, 0], [2, 2]]),
        (points([0, 0], [1, 0], [1, 0], [1, 1], [0.5, 0]), [[0, 0], [1, 0], [1, 1]]),
    ],
    ids=["point", "repeated point", "segment", "collinear and repeated"],
)
def test_hull_of_few_points(cloud, corners):
    assert cloud[convex_hull(cloud)].tolist() == corners


@pytest.mark.parametrize(
    ("point", "polygon", "expected"),
    [
        ([0.2, 0.5], [[0, 0], [1, 0], [1, 1], [0, 1]], -0.2),
        ([1.3, 1.4], [[0, 0], [1, 0], [1, 1], [0, 1]], 0.5),
        ([0.5, -2], [[0, 0], [1, 0], [1, 1], [0, 1]], 2.0),
        ([0.5, 1], [[0, 0], [1, 0]], 1.0),
        ([4, 3], [[0, 0]], 5.0),
    ],
)
def test_signed_distance(point, polygon, expected):
    found = signed_distance(points(*point), points(*polygon))
    assert float(found) == pytest.approx(expected)


def test_settings_are_checked():
    for settings, message in [
        ({"down": (0, 0, 0)}, "direction"),
        ({"down": (0, 1)}, "three numbers"),
        ({"tolerance": -0.1}, "tolerance"),
        ({"margin": math.nan}, "margin"),
    ]:
        with pytest.raises(InputError, match=message):
            Balance(1.0, **settings)
    with pytest.raises(InputError, match="open surface"):
        Balance(1.0)(two_triangles(0.5))
