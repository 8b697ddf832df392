"""The ReLU MLP that starts as the signed distance to a sphere."""

import math
from itertools import pairwise

import torch
from torch import nn

from shapeopt.errors import InputError


def sdf_network(
    width: int, depth: int, input_dim: int = 3, radius: float = 0.3, off_fraction: float = 0.2
) -> nn.Sequential:
    """ReLU MLP that starts as the signed distance to a sphere: negative inside.

    The geometric initialisation of Atzmon & Lipman, *SAL* (CVPR 2020), Theorem 1, has hidden
    weights N(0, sqrt(2 / out)), zero biases and a constant last layer, and gives |x| - radius for
    wide networks. Narrow and deep ones come out lopsided and with dead neurons. So here the folds
    of the first layer pass through random points of the box, later layers start near the identity
    with each neuron off on a part of the box, and the last layer is fitted to |x| - radius by
    least squares.

    Args:
        width: neurons in each hidden layer.
        depth: hidden layers.
        input_dim: dimension of the space, 3 for shapes.
        radius: of the initial sphere, in units of the normalised box (side 1).
        off_fraction: fraction of the box on which a neuron of the later layers is off at the start.

    Raises:
        InputError: for a width, depth or input_dim below 1, a radius not in (0, 0.5), or an
            off_fraction not in [0, 1).
    """
    for name, value in {"width": width, "depth": depth, "input_dim": input_dim}.items():
        if value < 1:
            raise InputError(f"the network's {name} is {value}; it must be at least 1")
    if not 0 < radius < 0.5:
        raise InputError(f"the sphere's radius is {radius}; it must lie between 0 and 0.5")
    if not 0 <= off_fraction < 1:
        raise InputError(f"off_fraction is {off_fraction}; it must be at least 0 and less than 1")
    sizes = [input_dim] + [width] * depth + [1]
    linear = [nn.Linear(fan_in, fan_out) for fan_in, fan_out in pairwise(sizes)]
    _initialise_as_sphere(linear, radius, off_fraction)
    return nn.Sequential(*[m for layer in linear for m in (layer, nn.ReLU())][:-1])


@torch.no_grad()
def _initialise_as_sphere(linear: list[nn.Linear], radius: float, off_fraction: float) -> None:
    *hidden, last = linear
    points = torch.rand(4096, linear[0].in_features) - 0.5
    features = points
    for index, layer in enumerate(hidden):
        width = layer.out_features
        if index == 0:
            nn.init.normal_(layer.weight, std=math.sqrt(2 / width))
            on_fold = points[torch.randint(len(points), (width,))]
            layer.bias.copy_(-(layer.weight * on_fold).sum(dim=1))
        else:
            layer.weight.copy_(torch.eye(width) + 0.3 * torch.randn(width, width) / width**0.5)
            layer.bias.copy_(-(features @ layer.weight.T).quantile(off_fraction, dim=0))
        features = layer(features).relu()
    features = torch.cat([features, torch.ones(len(features), 1)], dim=1).double()
    distance = points.double().norm(dim=1) - radius
    # A small ridge keeps the weights modest where features are nearly dependent.
    gram = features.T @ features + 1e-2 * torch.eye(features.shape[1], dtype=torch.double)
    solution = torch.linalg.solve(gram, features.T @ distance)
    last.weight.copy_(solution[None, :-1])
    last.bias.copy_(solution[-1:])
