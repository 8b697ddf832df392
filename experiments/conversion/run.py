"""A softplus network made piecewise affine: how far its surface moves, and into how many polygons.

    python -m experiments.conversion.run --depth 8 --width 64 --seconds 60

Trains a network of IGR's architecture (softplus with beta 100, one skip) on the bunny that comes
with the project, converts it both ways, and prints a row for each.
"""

import argparse
import math
import time

import torch
from torch import nn

import shapeopt
from shapeopt.conversion import Conversion
from shapeopt.data.bunny import bunny_sdf
from shapeopt.networks.state_dicts import SkipMLP

BATCH = 2048


def igr_network(depth: int, width: int, beta: float) -> SkipMLP:
    """With the geometric initialisation of SAL (CVPR 2020): near a sphere of radius 0.3."""
    skip = depth // 2
    layers = []
    for index in range(depth + 1):
        inputs = 3 if index == 0 else width
        outputs = 1 if index == depth else width - 3 if index == skip - 1 else width
        weight = torch.randn(outputs, inputs) * math.sqrt(2 / outputs)
        bias = torch.zeros(outputs)
        if index == depth:
            weight = torch.full((1, inputs), math.sqrt(math.pi / inputs))
            bias = torch.tensor([-0.3])
        layers.append((weight, bias))
    return SkipMLP(layers, None, 1 / math.sqrt(2), nn.Softplus(beta), nn.Identity())


def train(network: nn.Module, seconds: float) -> None:
    """Fits the bunny's implicit function, mostly near its surface."""
    optimizer = torch.optim.Adam(network.parameters(), lr=1e-3)
    end = time.monotonic() + seconds
    while (left := end - time.monotonic()) > 0:
        for group in optimizer.param_groups:
            group["lr"] = 1e-3 * left / seconds
        points = torch.rand(BATCH, 3) - 0.5
        target = bunny_sdf(points)
        error = (network(points)[:, 0] - target).abs()
        loss = (error * 0.01 / (0.01 + target.abs())).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()


def row(network: nn.Module, name: str, conversion: Conversion, seconds: float) -> str:
    """Of the table: how the conversion was made, and what came of it."""
    start = time.monotonic()
    with torch.no_grad():
        surface = shapeopt.extract_surface(conversion.network, method="trace")
    extraction = time.monotonic() - start
    moved = shapeopt.displacement(network, surface)
    return (
        f"| {name} | {conversion.relus[0]} | {conversion.largest_difference:.1e} | "
        f"{moved['distance']:.1e} | {moved['hausdorff']:.1e} | {surface.num_faces:,} | "
        f"{surface.is_closed} | {seconds:.0f} + {extraction:.0f} s |"
    )


def main() -> None:
    """Trains, converts, measures and prints."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--depth", type=int, default=8)
    parser.add_argument("--width", type=int, default=64)
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--tolerances", type=float, nargs="*", default=[1e-2])
    options = parser.parse_args()
    torch.manual_seed(0)
    network = igr_network(options.depth, options.width, beta=100.0)
    train(network, options.seconds)
    print("| | ReLUs each | largest abs(f - g) | distance | largest | polygons | closed | time |")
    print("|---|--:|--:|--:|--:|--:|---|--:|", flush=True)
    start = time.monotonic()
    tuned = shapeopt.convert(network, seconds=options.seconds)
    print(row(network, "fitted", tuned, time.monotonic() - start), flush=True)
    for tolerance in options.tolerances:
        start = time.monotonic()
        conversion = shapeopt.convert(network, tolerance=tolerance)
        spent = time.monotonic() - start
        print(row(network, f"tolerance {tolerance:g}", conversion, spent), flush=True)


if __name__ == "__main__":
    main()
