"""The networks of the literature's sizes, and how each is trained here."""

from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn.utils import parametrizations, parametrize

from experiments.conversion.run import igr_network
from shapeopt import sdf_network
from shapeopt.data.loading import load
from shapeopt.training.batches import BatchSource

CODE = 256
CLAMP = 0.1
"""Distances count up to here, in box lengths, as in DeepSDF."""

LARGEST_GRADIENT = 1.0


class DeepSDF(nn.Module):
    """The decoder of Park et al. (CVPR 2019) for one shape: eight hidden layers with weight norm,
    of which the fifth sees code and point again, and tanh at the end. The code is trained too."""

    input_dimension = 3

    def __init__(self, width: int = 512, code: int = CODE):
        super().__init__()
        self.code = nn.Parameter(0.01 * torch.randn(code))
        sizes = [code + 3, *[width] * 8, 1]
        self.skip = 4
        self.layers = nn.ModuleList()
        for index, (into, out) in enumerate(pairwise(sizes)):
            linear = nn.Linear(into, out - sizes[0] if index + 1 == self.skip else out)
            self.layers.append(parametrizations.weight_norm(linear) if index < 8 else linear)

    def forward(self, points: Float[Tensor, "n 3"]) -> Float[Tensor, "n 1"]:
        """The signed distance, bent by tanh."""
        given = torch.cat([self.code.expand(points.shape[0], -1), points], dim=1)
        x = given
        for index, layer in enumerate(self.layers):
            x = torch.cat([x, given], dim=1) if index == self.skip else x
            x = layer(x).relu() if index < len(self.layers) - 1 else layer(x).tanh()
        return x


@dataclass(frozen=True)
class Recipe:
    """A network and its training: Adam, the rate falling along half a cosine.

    Attributes:
        make: gives the network, from torch's seed.
        shape: the mesh file's name, without ``.obj``.
        steps: of the training.
        learning_rate: the largest.
        batch: points a step, as many again of the surface itself.
    """

    make: Callable[[], nn.Module]
    shape: str
    steps: int
    learning_rate: float = 1e-3
    batch: int = 1024


def _mlp(depth: int, width: int) -> Callable[[], nn.Module]:
    return lambda: sdf_network(width, depth)


SIZES = {"4x128": (4, 128, 4000), "4x256": (4, 256, 3000), "2x512": (2, 512, 3000)}
SIZES |= {"8x256": (8, 256, 2000)}
RATES = {"2x512, rocker arm": 1e-4, "8x256, rocker arm": 1e-4}
"""Of those that end without a surface, positive all over the box, after steps of 5e-4."""

RECIPES = {
    "DeepSDF 8x512, spot": Recipe(DeepSDF, "spot", 600, 5e-4),
    "IGR 8x256 softplus, bunny": Recipe(lambda: igr_network(8, 256, 100.0), "stanford-bunny", 1000),
} | {
    f"{name}, {label}": Recipe(
        _mlp(depth, width), shape, steps, RATES.get(f"{name}, {label}", 5e-4)
    )
    for label, shape in {"bunny": "stanford-bunny", "rocker arm": "rocker-arm"}.items()
    for name, (depth, width, steps) in SIZES.items()
}


def trained(recipe: Recipe, data: Path, seed: int = 0) -> nn.Module:
    """The network after its training on the mesh in the folder; weight norms are multiplied out."""
    torch.manual_seed(seed)
    network = recipe.make()
    cloud = load(data / f"{recipe.shape}.obj")
    source = BatchSource(cloud, batch_size=recipe.batch, seed=seed)
    optimizer = torch.optim.Adam(network.parameters(), lr=recipe.learning_rate)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, recipe.steps)
    for step in range(recipe.steps):
        batch = source.batch(network, step)
        target = batch.space_distances.clamp(-CLAMP, CLAMP)
        error = (network(batch.space_points)[:, 0] - target).abs().mean()
        loss = error + network(batch.cloud_points).abs().mean()
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(network.parameters(), LARGEST_GRADIENT)
        optimizer.step()
        schedule.step()
        if step % 100 == 0:
            print(f"step {step}: {float(loss.detach()):.2e}", flush=True)
    return without_norms(network).eval()


def without_norms(network: nn.Module) -> nn.Module:
    """The network itself, its weight norms multiplied out."""
    for module in list(network.modules()):
        if parametrize.is_parametrized(module, "weight"):
            parametrize.remove_parametrizations(module, "weight")
    return network
