"""Brute force itself, on a case known by hand."""

import torch

from tests.brute_force import brute_force_vertices
from tests.sample_networks import random_mlp


def test_brute_force_knows_a_line_through_a_square():
    network = random_mlp(2, 1)
    with torch.no_grad():
        network[0].weight.copy_(torch.tensor([[1.0, 1.0]]))
        network[0].bias.fill_(-0.5)
    vertices = brute_force_vertices(network, 0.0, 1.0)
    expected = {(0, 0), (0, 1), (1, 0), (1, 1), (0, 0.5), (0.5, 0)}
    assert {tuple(vertex) for vertex in vertices.round(12).tolist()} == expected
