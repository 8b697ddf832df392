"""A network fitted to the values of another."""

import time

import torch
from torch import nn

from shapeopt.complex.box import Box

BATCH = 4096
POOL = 2**17
NEAR = 0.01
"""Half of each batch is drawn with weight 1 / (NEAR + |f|), and errors count by it, f in units of
its mean size in the box."""


def fine_tune(network: nn.Module, original: nn.Module, box: Box, seconds: float, seed: int) -> None:
    """Fits the network's weights to the original's values in the box, mostly near its surface.

    Adam, at a learning rate of 1e-3 that falls to 0 as a cosine of the time.

    Args:
        network: that is trained, in place.
        original: on the same device.
        box: that points are drawn from.
        seconds: to train for.
        seed: of the points. The time decides how many steps there are, so results vary.
    """
    generator = torch.Generator().manual_seed(seed)
    place = torch.rand(POOL, box.dimension, generator=generator, dtype=torch.float64)
    points = torch.lerp(box.lower, box.upper, place.to(box.lower))
    with torch.no_grad():
        values = torch.cat([original(part) for part in points.split(BATCH)])
    size = values.abs().mean()
    weight = (1 / (NEAR + values.abs() / size)).amax(dim=1)
    parameters = [p for p in network.parameters() if p.requires_grad]
    optimizer = torch.optim.Adam(parameters, lr=1e-3)
    end = time.monotonic() + seconds
    while (left := end - time.monotonic()) > 0:
        for group in optimizer.param_groups:
            group["lr"] = 5e-4 * (1 - torch.cos(torch.tensor(torch.pi * left / seconds)).item())
        chosen = _batch(weight.cpu(), generator).to(points.device)
        error = (network(points[chosen]) - values[chosen]).abs() / size
        loss = (error / (NEAR + values[chosen].abs() / size)).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()


def _batch(weight: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
    everywhere = torch.randint(len(weight), (BATCH // 2,), generator=generator)
    near = torch.multinomial(weight, BATCH // 2, replacement=True, generator=generator)
    return torch.cat([everywhere, near])
