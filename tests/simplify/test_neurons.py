"""Neurons without a fold on the surface go; the surface stays."""

import torch
from torch import nn

from shapeopt import extract_surface
from shapeopt.networks.affine import AffineLayer
from shapeopt.networks.reading import affine_layers
from shapeopt.simplify import idle_neurons, neurons, remove_idle_neurons
from shapeopt.simplify.neurons import same_surface
from tests.sample_networks import tilted_octahedron


def with_first_layer(network, weight, bias, outgoing):
    """A one-layer network with more neurons."""
    wide = nn.Sequential(nn.Linear(3, len(network[0].bias) + len(bias)), nn.ReLU(), nn.Linear(1, 1))
    wide[0].weight.data = torch.cat([network[0].weight, weight])
    wide[0].bias.data = torch.cat([network[0].bias, bias])
    wide[2].weight.data = torch.cat([network[2].weight, outgoing[None]], dim=1)
    wide[2].bias.data = network[2].bias.clone()
    return wide.double()


def idle_octahedron(direction, bias, outgoing):
    """An octahedron of radius 0.3 and a neuron that does not fold it."""
    plane = torch.tensor([direction], dtype=torch.float64)
    return with_first_layer(
        tilted_octahedron(0.3),
        plane,
        torch.tensor([bias], dtype=torch.float64),
        torch.tensor([outgoing], dtype=torch.float64),
    )


def vertices_of(network):
    with torch.no_grad():
        vertices = extract_surface(network).vertices
    return vertices[torch.argsort(vertices[:, 0])]


def test_neuron_off_on_the_surface_is_deleted():
    network = idle_octahedron([1.0, 0.0, 0.0], -0.45, 1.0)
    reduction = remove_idle_neurons(network)
    assert (reduction.widths_before, reduction.widths, reduction.refused) == ((7,), (6,), 0)
    torch.testing.assert_close(
        vertices_of(reduction.network), vertices_of(network), rtol=0, atol=1e-12
    )


def test_a_new_component_is_another_surface():
    """f is the same on the octahedron, and has more zeros in a corner of the box."""
    base = tilted_octahedron(0.2)
    corner = torch.tensor([[1.0, 1, 1]], dtype=torch.float64)
    outgoing = torch.tensor([-5.0], dtype=torch.float64)
    network = with_first_layer(base, corner, torch.tensor([-0.8], dtype=torch.float64), outgoing)
    with torch.no_grad():
        surface = extract_surface(base)
        layers, others = ([AffineLayer(*x) for x in affine_layers(n)] for n in (base, network))
        assert same_surface(surface, layers, layers, (-0.5, 0.5))
        assert not same_surface(surface, layers, others, (-0.5, 0.5))


def test_removals_that_change_the_surface_are_refused_one_by_one(monkeypatch):
    """Of two neurons that are off, only one may go."""
    planes = torch.tensor([[1.0, 0, 0], [0, 1.0, 0]], dtype=torch.float64)
    network = with_first_layer(
        tilted_octahedron(0.3),
        planes,
        torch.full((2,), -0.45, dtype=torch.float64),
        torch.ones(2, dtype=torch.float64),
    )
    monkeypatch.setattr(neurons, "same_surface", lambda s, a, b, bounds: len(b[0].bias) >= 7)
    reduction = remove_idle_neurons(network)
    assert (reduction.widths_before, reduction.widths, reduction.refused) == ((8,), (7,), 1)


def test_neurons_that_are_on_are_replaced_by_the_rank_of_their_map():
    """Five linear neurons pass on one number to the next layer: one neuron is enough."""
    torch.manual_seed(3)
    base = tilted_octahedron(0.3)
    weight = 0.1 * torch.randn(5, 3, dtype=torch.float64)
    network = with_first_layer(
        base,
        weight,
        torch.full((5,), 1.0, dtype=torch.float64),
        0.05 * torch.randn(5, dtype=torch.float64),
    )
    with torch.no_grad():
        network[2].bias -= network(torch.zeros(1, 3, dtype=torch.float64))[0] + 0.3
    reduction = remove_idle_neurons(network)
    assert (reduction.widths, reduction.refused) == ((7,), 0)
    torch.testing.assert_close(
        vertices_of(reduction.network), vertices_of(network), rtol=0, atol=1e-12
    )


def test_two_layers():
    """A second layer that copies the octahedron's terms, with a dead and two linear neurons."""
    base = tilted_octahedron(0.3)
    network = nn.Sequential(base[0], nn.ReLU(), nn.Linear(6, 9), nn.ReLU(), nn.Linear(9, 1))
    network = network.double()
    with torch.no_grad():
        network[2].weight.zero_()
        network[2].weight[:6] = torch.eye(6)
        network[2].bias.copy_(torch.tensor([-0.02] * 6 + [-1.0, 1.0, 2.0]))
        network[2].weight[7:, 0] = torch.tensor([0.1, 0.3])
        network[4].weight.fill_(1.0)
        network[4].bias.fill_(-3.3)
    surface = extract_surface(network)
    assert (1, 6) in idle_neurons(surface)
    reduction = remove_idle_neurons(network)
    assert reduction.widths == (6, 7)
    torch.testing.assert_close(
        vertices_of(reduction.network), vertices_of(network), rtol=0, atol=1e-12
    )
