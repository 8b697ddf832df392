"""Trains the small networks of this folder and writes down how many cells each has.

    python -m tests.files.networks.make

Each is fitted to the signed distance of a shape. A seed is taken only if the network is in general
position with a margin: its counts are the same in both precisions, and when all weights are moved
by a few units of rounding. So they do not depend on the machine that counts, though the weights
depend on the one that trained.
"""

import json
from collections.abc import Callable
from itertools import count
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

import shapeopt
from tests.sample_networks import TRAINED, load_network

MARGIN = 1e-6
"""Relative change of each weight that must not change the counts: 8 roundings in float32."""


class Recipe(NamedTuple):
    """Hidden layers, their width, the dimension, and the shape to fit."""

    depth: int
    width: int
    dimension: int
    distance: Callable[[Tensor], Tensor]


def balls(points: Tensor, centres: list[list[float]], radius: float) -> Tensor:
    """Signed distance to balls of one radius."""
    return (points[:, None] - torch.tensor(centres)).norm(dim=2).amin(dim=1) - radius


def ring(points: Tensor, large: float, small: float) -> Tensor:
    """Signed distance to what is within ``small`` of a circle: an annulus, or a torus."""
    off_circle = points[:, :2].norm(dim=1) - large
    return torch.cat([off_circle[:, None], points[:, 2:]], dim=1).norm(dim=1) - small


def column(points: Tensor) -> Tensor:
    """Signed distance to a cylinder along an axis, which leaves the box on two sides."""
    return points[:, :2].norm(dim=1) - 0.25


THREE = [[-0.25, -0.2], [0.25, -0.2], [0.0, 0.25]]
TWO = [[-0.2, -0.1, 0.0], [0.2, 0.1, 0.0]]

RECIPES = {
    "disc_2d_2x5": Recipe(2, 5, 2, lambda x: balls(x, [[0.05, 0.02]], 0.3)),
    "clover_2d_2x32": Recipe(2, 32, 2, lambda x: balls(x, THREE, 0.15)),
    "ring_2d_4x16": Recipe(4, 16, 2, lambda x: ring(x, 0.3, 0.08)),
    "ball_3d_2x5": Recipe(2, 5, 3, lambda x: balls(x, [[0.05, 0.02, -0.03]], 0.3)),
    "balls_3d_2x12": Recipe(2, 12, 3, lambda x: balls(x, TWO, 0.15)),
    "column_3d_3x12": Recipe(3, 12, 3, column),
    "torus_3d_3x16": Recipe(3, 16, 3, lambda x: ring(x, 0.28, 0.12)),
}


def trained(recipe: Recipe, seed: int, steps: int = 3000) -> nn.Sequential:
    """A network fitted to the recipe's shape."""
    torch.manual_seed(seed)
    network = shapeopt.sdf_network(recipe.width, recipe.depth, recipe.dimension)
    optimiser = torch.optim.Adam(network.parameters(), 1e-2)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, steps)
    for _ in range(steps):
        points = torch.rand(1024, recipe.dimension) - 0.5
        loss = (network(points)[:, 0] - recipe.distance(points)).abs().mean()
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        schedule.step()
    return network


@torch.no_grad()
def counts(network: nn.Sequential, dtype: torch.dtype = torch.float64) -> dict[str, Any]:
    """Cells of the complex by dimension, and those of the surface."""
    surface = shapeopt.extract_surface(network, dtype=dtype)
    return {
        "num_cells": list(shapeopt.extract_complex(network, dtype=dtype).num_cells),
        "surface_vertices": surface.num_vertices,
        "surface_edges": surface.num_edges,
        "surface_faces": surface.num_faces,
        "surface_euler_characteristic": surface.euler_characteristic,
        "surface_is_closed": surface.is_closed,
    }


@torch.no_grad()
def is_general(network: nn.Sequential) -> bool:
    """Whether the counts bear small changes of the weights, and both precisions."""
    expected = counts(network)
    if counts(network, torch.float32) != expected:
        return False
    weights = [parameter.clone() for parameter in network.parameters()]
    for _ in range(10):
        for parameter, weight in zip(network.parameters(), weights, strict=True):
            parameter.copy_(weight * (1 + MARGIN * (2 * torch.rand_like(weight) - 1)))
        if counts(network) != expected:
            return False
    for parameter, weight in zip(network.parameters(), weights, strict=True):
        parameter.copy_(weight)
    return True


def main() -> None:
    known = {}
    for name, recipe in RECIPES.items():
        network = next(n for n in (trained(recipe, seed) for seed in count()) if is_general(n))
        arrays = {}
        for number, layer in enumerate(network[::2]):
            arrays[f"W{number}"] = layer.weight.detach().numpy()
            arrays[f"b{number}"] = layer.bias.detach().numpy()
        np.savez(TRAINED / f"{name}.npz", **arrays)
        known[name] = counts(load_network(TRAINED / f"{name}.npz"))
        print(name, known[name], flush=True)
    lines = ",\n".join(f'  "{name}": {json.dumps(found)}' for name, found in known.items())
    (TRAINED / "counts.json").write_text(f"{{\n{lines}\n}}\n")


if __name__ == "__main__":
    main()
