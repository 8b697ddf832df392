"""The decision boundaries of a classifier in 3D: two linked rings and the space around them.

python -m experiments.classes_3d.run
"""

import json
import time
from pathlib import Path

import torch
from torch import Tensor, nn

import shapeopt
from experiments.runs import machine
from shapeopt.mesh.certificate import certify
from shapeopt.output.viewing import render_png

HERE = Path(__file__).parent
NAMES = ("space", "first ring", "second ring")
RADIUS, THICKNESS = 0.22, 0.1
STEPS, BATCH = 6000, 8192


def main() -> None:
    torch.manual_seed(0)
    hidden = nn.Linear(3, 24), nn.ReLU(), nn.Linear(24, 24), nn.ReLU()
    network = nn.Sequential(*hidden, nn.Linear(24, 3))
    accuracy = train(network)

    started = time.perf_counter()
    with torch.no_grad():
        complex_ = shapeopt.extract_complex(network, boundaries=True, dtype=torch.float64)
        interfaces = complex_.interfaces()
    seconds = time.perf_counter() - started
    rings = {name: interfaces.around(label) for label, name in enumerate(NAMES) if label}
    pairs, counts = torch.unique(interfaces.labels, dim=0, return_counts=True)
    results = {
        "machine": machine(),
        "accuracy": accuracy,
        "seconds": round(seconds, 2),
        "regions": complex_.num_cells[-1],
        "polygons": {
            " and ".join(NAMES[label] for label in pair): count
            for pair, count in zip(pairs.tolist(), counts.tolist(), strict=True)
        },
        "around": {name: certify(ring).summary() for name, ring in rings.items()},
    }
    (HERE / "results.json").write_text(json.dumps(results, indent=1) + "\n")
    print(json.dumps(results, indent=1))
    render_png(rings, HERE / "rings.png", dpi=120, elevation=35)


def train(network: nn.Module) -> float:
    """Returns the share of points whose class is right."""
    optimizer = torch.optim.Adam(network.parameters(), 1e-2)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, STEPS)
    for _ in range(STEPS):
        points = torch.rand(BATCH, 3) - 0.5
        optimizer.zero_grad()
        nn.functional.cross_entropy(network(4 * points), classes(points)).backward()
        optimizer.step()
        schedule.step()
    with torch.no_grad():
        network[0].weight *= 4  # takes points of the unit box from here on
        points = torch.rand(100_000, 3) - 0.5
        return float((network(points).argmax(dim=1) == classes(points)).float().mean())


def classes(points: Tensor) -> Tensor:
    """0 in space, 1 and 2 in two rings that pass through each other."""
    rings = [
        distance_to_circle(points + offset, axis)
        for offset, axis in ((torch.tensor([0.11, 0, 0]), 2), (torch.tensor([-0.11, 0, 0]), 1))
    ]
    one, two = rings
    nearest = torch.where(one < two, 1, 2)
    return torch.where(torch.minimum(one, two) < THICKNESS, nearest, 0)


def distance_to_circle(points: Tensor, axis: int) -> Tensor:
    """To the circle about the origin with the given axis."""
    across = torch.cat([points[:, :axis], points[:, axis + 1 :]], dim=1).norm(dim=1)
    return torch.hypot(across - RADIUS, points[:, axis])


if __name__ == "__main__":
    main()
