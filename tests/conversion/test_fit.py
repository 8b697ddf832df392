"""Networks fitted to functions and grids."""

import math

import pytest
import torch

import shapeopt
from shapeopt.conversion import GridField, fit
from shapeopt.errors import InputError


def ball(points: torch.Tensor) -> torch.Tensor:
    return points.norm(dim=1) - 0.3


def test_a_grid_interpolates_along_each_axis():
    values = torch.arange(24.0).view(2, 3, 4)
    field = GridField(values, ([0, 0, 0], [1, 2, 3]))
    corners = torch.tensor([[0.0, 0, 0], [1, 2, 3], [1, 0, 0], [0, 1, 0], [0, 0, 1.5], [0, 0, 9]])
    assert field(corners)[:, 0].tolist() == pytest.approx([0, 23, 12, 4, 1.5, 3])
    flat = GridField(torch.tensor([[0.0, 1], [2, 3]]))
    assert flat(torch.tensor([[0.5, -0.5], [0.0, 0.0]]))[:, 0].tolist() == pytest.approx([2, 1.5])


def test_values_of_a_grid_are_fitted():
    axis = torch.linspace(-0.5, 0.5, 17)
    grid = torch.cartesian_prod(axis, axis, axis)
    field = GridField(ball(grid).view(17, 17, 17))
    torch.manual_seed(0)
    network = shapeopt.sdf_network(8, 2)
    with torch.no_grad():
        network[-1].bias += 1.0
        before = (network(grid) - field(grid)).abs().mean()
    assert fit(network, field, seconds=2) is network
    with torch.no_grad():
        after = (network(grid) - field(grid)).abs().mean()
    # Steps at a rate of 1e-3: how many there are is up to the machine.
    assert after < 0.98 * before


@pytest.mark.parametrize(
    ("function", "message"),
    [
        (lambda x: x, "one value for each"),
        (lambda x: x[:, 0] / 0 - x[:, 1] / 0, "NaN or infinite"),
    ],
)
def test_wrong_functions(function, message):
    with pytest.raises(InputError, match=message):
        fit(shapeopt.sdf_network(8, 2), function, seconds=1)


def test_wrong_settings():
    with pytest.raises(InputError, match="seconds is 0"):
        fit(shapeopt.sdf_network(8, 2), ball, seconds=0)
    with pytest.raises(InputError, match="at least 2 points"):
        GridField(torch.zeros(3, 1))
    with pytest.raises(InputError, match="NaN or infinite"):
        GridField(torch.full((2, 2), math.nan))
