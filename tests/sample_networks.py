"""Small networks that tests share."""

from itertools import pairwise

import torch
from torch import nn


def random_mlp(*sizes: int, seed: int = 0, dtype: torch.dtype = torch.float64) -> nn.Sequential:
    """ReLU MLP with the given layer sizes and default initialisation."""
    torch.manual_seed(seed)
    modules: list[nn.Module] = []
    for fan_in, fan_out in pairwise(sizes):
        modules += [nn.Linear(fan_in, fan_out), nn.ReLU()]
    return nn.Sequential(*modules[:-1]).to(dtype)


def octahedron(radius: float = 0.3, dtype: torch.dtype = torch.float64) -> nn.Sequential:
    """f(x) = |x1| + |x2| + |x3| - radius, exactly."""
    network = nn.Sequential(nn.Linear(3, 6), nn.ReLU(), nn.Linear(6, 1)).to(dtype)
    with torch.no_grad():
        network[0].weight.copy_(torch.cat([torch.eye(3), -torch.eye(3)]))
        network[0].bias.zero_()
        network[2].weight.fill_(1)
        network[2].bias.fill_(-radius)
    return network


def tilted_octahedron(radius: float = 0.3, dtype: torch.dtype = torch.float64) -> nn.Sequential:
    """The octahedron, turned at random, so that no fold is parallel to the box."""
    network = octahedron(radius, dtype)
    rotation, _ = torch.linalg.qr(torch.randn(3, 3, dtype=dtype))
    with torch.no_grad():
        network[0].weight.copy_(network[0].weight @ rotation)
    return network
