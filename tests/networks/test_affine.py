import pytest
import torch
from torch import nn

from shapeopt import InputError, sdf_network
from shapeopt.networks.affine import affine_layers


@pytest.mark.parametrize(("width", "depth"), [(16, 3), (32, 8), (64, 1)])
def test_starts_as_the_distance_to_a_sphere(width, depth):
    network = sdf_network(width, depth, radius=0.3)
    points = torch.rand(2000, 3) - 0.5
    with torch.no_grad():
        error = network(points).squeeze(1) - (points.norm(dim=1) - 0.3)
    assert error.abs().mean() < 0.05
    assert network(torch.zeros(1, 3)).item() < 0


@pytest.mark.parametrize("off_fraction", [0.2, 0.5])
def test_later_neurons_start_off_on_the_given_fraction_of_the_box(off_fraction):
    network = sdf_network(16, 3, off_fraction=off_fraction)
    with torch.no_grad():
        inputs = network[:4](torch.rand(5000, 3) - 0.5)
        off = (network[4](inputs) <= 0).double().mean(dim=0)
    torch.testing.assert_close(off, torch.full_like(off, off_fraction), rtol=0, atol=0.05)
    assert network(torch.zeros(1, 3)).item() < 0


@pytest.mark.parametrize(
    "bad", [{"width": 0}, {"depth": 0}, {"radius": 0.6}, {"off_fraction": 1.0}]
)
def test_sizes_are_checked(bad):
    with pytest.raises(InputError, match=next(iter(bad))):
        sdf_network(**{"width": 8, "depth": 2, **bad})


def test_affine_layers_reproduce_the_network():
    network = nn.Sequential(
        nn.Sequential(nn.Linear(3, 5), nn.Identity(), nn.Linear(5, 4, bias=False)),
        nn.ReLU(),
        nn.Dropout().eval(),
        nn.Linear(4, 2),
    )
    first, last = affine_layers(network)
    points = torch.randn(10, 3)
    values = (points @ first.weight.T + first.bias).relu() @ last.weight.T + last.bias
    torch.testing.assert_close(values, network(points))


@pytest.mark.parametrize(
    ("network", "message"),
    [
        (nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, 1)), "Tanh.*piecewise affine"),
        (nn.Sequential(nn.ReLU(), nn.Linear(3, 1)), "starts with a ReLU"),
        (nn.Sequential(nn.Linear(3, 1), nn.ReLU()), "must end with nn.Linear"),
        (nn.Sequential(), "must end with nn.Linear"),
        (nn.Sequential(nn.Linear(3, 4), nn.Dropout(), nn.Linear(4, 1)), "eval"),
        (nn.Conv1d(1, 1, 1), "Conv1d"),
    ],
)
def test_other_modules_are_refused(network, message):
    with pytest.raises(InputError, match=message):
        affine_layers(network)


def test_nan_weights_are_refused():
    network = nn.Sequential(nn.Linear(3, 4), nn.ReLU(), nn.Linear(4, 1))
    network[2].weight.data[0, 1] = float("nan")
    with pytest.raises(InputError, match="1 weights that are NaN"):
        affine_layers(network)
