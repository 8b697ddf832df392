"""The network with skip connections to all later layers."""

import copy

import pytest
import torch

from shapeopt import InputError, extract_surface
from shapeopt.complex.signs import unpack
from shapeopt.networks.dense_mlp import LIFT, dense_sdf_network


def by_hand(network, points):
    """Each neuron from the position and all neurons before it; skip connections as sums."""
    seen = points + LIFT
    for index, layer in enumerate(network[:-1:2]):
        inputs = points if index == 0 else seen
        weight, bias = (
            getattr(layer.parametrizations, name).original for name in ("weight", "bias")
        )
        seen = torch.cat([seen, (inputs @ weight.T + bias).relu()], dim=1)
    return seen @ network[-1].weight.T + network[-1].bias


def test_values_are_those_of_skip_connections():
    network = dense_sdf_network(width=5, depth=3)
    points = torch.rand(100, 3) - 0.5
    torch.testing.assert_close(network(points), by_hand(network, points))


def test_starts_near_the_distance_to_a_sphere():
    points = torch.rand(1000, 3) - 0.5
    values = dense_sdf_network(width=8, depth=3, radius=0.25)(points).squeeze(1).detach()
    assert float((values - (points.norm(dim=1) - 0.25)).abs().mean()) < 0.03


def test_surface_is_closed_and_copies_are_no_folds():
    network = dense_sdf_network(width=5, depth=3).double()
    surface = extract_surface(network)
    constraints = surface.signs.constraints
    assert surface.is_closed
    assert surface.euler_characteristic == 2
    with torch.no_grad():
        values = network(surface.vertices)
    assert float(values.abs().max()) < 1e-12
    for layer, copies in enumerate([3, 8, 13]):
        first = constraints.first_neuron(layer)
        zeros = surface.signs.vertex_zeros
        assert not ((zeros >= first) & (zeros < first + copies)).any()
    words = surface.signs.face_plus_bits[:, constraints.words(0)]
    assert unpack(words, 3).all()


def test_gradient_reaches_the_trained_weights_alone():
    network = dense_sdf_network(width=4, depth=2)
    extract_surface(network, dtype=torch.float64).area().backward()
    names = [name for name, _ in network.named_parameters()]
    assert sum(p.numel() for p in network.parameters()) == 4 * 4 + 4 * 8 + 12
    assert len(names) == 6
    assert all(float(p.grad.abs().sum()) > 0 for p in network.parameters())


def test_state_comes_back():
    network = dense_sdf_network(width=4, depth=2)
    other = dense_sdf_network(width=4, depth=2)
    other.load_state_dict(copy.deepcopy(network).state_dict())
    points = torch.rand(10, 3) - 0.5
    assert torch.equal(network(points), other(points))


@pytest.mark.parametrize("settings", [{"width": 0}, {"depth": 0}, {"radius": 0.6}])
def test_wrong_settings(settings):
    with pytest.raises(InputError, match="must"):
        dense_sdf_network(**({"width": 4, "depth": 2} | settings))
