"""The affine view of a module."""

import pytest
import torch
from torch import nn

from shapeopt import InputError
from shapeopt.networks.affine import as_module, without_graph
from shapeopt.networks.reading import affine_layers


def test_affine_layers_reproduce_the_network():
    network = nn.Sequential(
        nn.Sequential(nn.Linear(3, 5), nn.Identity(), nn.Linear(5, 4, bias=False)),
        nn.ReLU(),
        nn.Dropout().eval(),
        nn.Linear(4, 2),
    ).double()
    first, last = affine_layers(network)
    points = torch.randn(10, 3, dtype=torch.float64)
    values = (points @ first.weight.T + first.bias).relu() @ last.weight.T + last.bias
    torch.testing.assert_close(values, network(points))


@pytest.mark.parametrize(
    ("network", "message"),
    [
        (nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, 1)), "tanh.*piecewise affine"),
        (nn.Sequential(nn.Linear(3, 4), nn.GELU(), nn.Linear(4, 1)), "'1'.*gelu.*piecewise affine"),
        (nn.Sequential(nn.Linear(3, 4), nn.LayerNorm(4), nn.Linear(4, 1)), "layer_norm"),
        (nn.Sequential(), "no weights"),
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


def test_layers_without_graph_and_as_a_module():
    network = nn.Sequential(nn.Linear(3, 4), nn.ReLU(), nn.Linear(4, 2)).double()
    constant = without_graph(affine_layers(network))
    assert not any(layer.weight.requires_grad or layer.bias.requires_grad for layer in constant)
    copy, points = as_module(constant), torch.randn(10, 3, dtype=torch.float64)
    assert torch.equal(copy(points), network(points))
    with torch.no_grad():
        copy[0].weight.zero_()
    assert network[0].weight.abs().min() > 0
