"""Balance of solids whose reach is known, and of solids that are let go."""

import math

import pytest
import torch
from torch import Tensor

from shapeopt import InputError, PolygonMesh
from shapeopt.losses import Balance
from shapeopt.losses.balance import DIRECTIONS, horizontal_axes
from shapeopt.mesh.moments import moments
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


def leaning(lean: float = LEAN) -> PolygonMesh:
    return prism_solid([(0, 0), (1, 0), (1 + 2 * lean, 1), (2 * lean, 1)], depth=4)


def least_reach(solid: PolygonMesh, **settings) -> float:
    return float(Balance(1.0, **settings).reach(solid).min())


def test_a_standing_box_costs_nothing():
    assert float(Balance(1.0)(box_solid(1, 2, 3))) == 0


@pytest.mark.parametrize("tilt", [0.05, 0.3])
def test_the_reach_of_a_flat_foot(tilt):
    """Beyond the centre to +x, less what tilting shifts the centre, which is at height 0.5."""
    expected = 1 - (LEAN + 0.5) - 0.5 * math.tan(tilt / 2)
    assert least_reach(leaning(), tilt=tilt) == pytest.approx(expected)


def test_the_reach_is_how_much_tilting_lifts_the_centre():
    """Compared with the solid turned and put on the ground, for all directions."""
    tilt, solid = 0.25, tetrahedron_solid(LOPSIDED)
    balance = Balance(1.0, tilt=tilt)
    down = torch.tensor([0.0, 0.0, -1.0], dtype=torch.float64)
    center = moments(solid).centroid

    def height(towards: Tensor) -> Tensor:
        return ((solid.vertices - center) @ towards).max()

    for index in range(0, DIRECTIONS, 5):
        turn = torch.tensor(2 * math.pi * index / DIRECTIONS, dtype=torch.float64)
        side = horizontal_axes(down) @ torch.stack([turn.cos(), turn.sin()])
        lifted = height(math.cos(tilt) * down + math.sin(tilt) * side) - height(down)
        reach = float(balance.reach(solid)[index])
        assert reach * math.sin(tilt) == pytest.approx(float(lifted), rel=1e-9)


def test_a_toe_off_the_ground_supports_little():
    """A foot that reaches beyond the centre, but floats by more than the tilt closes."""
    floating = [(0, 0), (1, 0), (1.8, 0.15), (1 + 2 * LEAN, 1), (2 * LEAN, 1)]
    touching = [(0, 0), (1, 0), (1.8, 0.0), (1 + 2 * LEAN, 1), (2 * LEAN, 1)]
    assert least_reach(prism_solid(floating, depth=4)) < 0
    assert least_reach(prism_solid(touching, depth=4)) > 0


def test_the_loss_is_the_mean_square_of_what_is_missing():
    solid, balance = leaning(), Balance(1.0, margin=0.3)
    missing = (0.3 - balance.reach(solid)).clamp(min=0)
    assert float(balance(solid)) == pytest.approx(float(missing.square().mean()))
    assert 0 < int((missing > 0).sum()) < DIRECTIONS


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
    turned = PolygonMesh.from_polygons(solid.vertices @ frame, polygons_of(solid))
    assert least_reach(turned, down=down) == pytest.approx(least_reach(solid))


LOPSIDED = torch.tensor(
    [[0, 0, 0.02], [1, 0, 0], [0.1, 0.9, 0.01], [0.4, 0.2, 1]], dtype=torch.float64
)


def bent(solid: PolygonMesh) -> PolygonMesh:
    """Slightly bent, so that no two vertices support it alike."""
    vertices = solid.vertices.detach()
    vertices = vertices + 0.02 * torch.sin(torch.arange(vertices.numel()) ** 2.0).view_as(vertices)
    return PolygonMesh.from_polygons(vertices.requires_grad_(), polygons_of(solid))


@pytest.mark.parametrize(
    "solid",
    [bent(leaning()), bent(leaning(0.45)), tetrahedron_solid(LOPSIDED)],
    ids=["tips over", "stands, within the margin", "tetrahedron"],
)
def test_gradients(solid):
    assert_gradient(Balance(1.0, margin=0.3), solid)


def test_the_gradient_moves_centre_and_foot():
    solid = bent(leaning())
    (gradient,) = torch.autograd.grad(Balance(1.0)(solid), solid.vertices)
    x, _, z = solid.vertices.detach().unbind(1)
    foot, top = (x > 0.9) & (z < 0.1), z > 0.9
    assert (gradient[top, 0] > 0).all()  # descent pulls the overhang back,
    assert (gradient[foot, 0] < 0).all()  # pushes the foot under it,
    assert gradient[foot, 2].max() > 0  # and its vertices to the ground


@pytest.mark.thorough
def test_descent_makes_it_stand():
    solid = bent(leaning())
    vertices, faces = solid.vertices.detach().clone().requires_grad_(), polygons_of(solid)
    optimiser = torch.optim.Adam([vertices], 3e-3)
    for _ in range(300):
        optimiser.zero_grad()
        Balance(1.0, margin=0.05)(PolygonMesh.from_polygons(vertices, faces)).backward()
        optimiser.step()
    assert least_reach(PolygonMesh.from_polygons(vertices, faces)) > 0.02


def test_settings_are_checked():
    for settings, message in [
        ({"down": (0, 0, 0)}, "direction"),
        ({"down": (0, 1)}, "three numbers"),
        ({"tilt": 0.0}, "tilt"),
        ({"margin": math.nan}, "margin"),
    ]:
        with pytest.raises(InputError, match=message):
            Balance(1.0, **settings)
    with pytest.raises(InputError, match="open surface"):
        Balance(1.0)(two_triangles(0.5))
