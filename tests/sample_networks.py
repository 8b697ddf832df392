"""Small networks that tests share."""

from itertools import pairwise
from pathlib import Path

import numpy as np
import torch
from torch import nn

TRAINED = Path(__file__).parent / "files" / "networks"


def load_network(path: Path) -> nn.Sequential:
    """A ReLU MLP from its weights ``W0, b0, W1, ...`` in an .npz file, in their dtype."""
    arrays = np.load(path)
    modules: list[nn.Module] = []
    for i in range(len(arrays.files) // 2):
        weight, bias = torch.tensor(arrays[f"W{i}"]), torch.tensor(arrays[f"b{i}"])
        linear = nn.Linear(weight.shape[1], weight.shape[0])
        linear.weight.data, linear.bias.data = weight, bias
        modules += [linear, nn.ReLU()]
    return nn.Sequential(*modules[:-1])


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
