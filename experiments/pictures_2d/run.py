"""Two complexes in 2D as pictures: a star as a signed distance, and a classifier of three spirals.

python -m experiments.pictures_2d.run
"""

from pathlib import Path

import torch
from torch import nn

import shapeopt

HERE = Path(__file__).parent
STEPS = 800


def main() -> None:
    points = torch.rand(6000, 2, generator=torch.Generator().manual_seed(0)).double() - 0.5
    angle, radius = torch.atan2(points[:, 1], points[:, 0]), points.norm(dim=1)

    torch.manual_seed(1)
    star = shapeopt.sdf_network(24, 2, input_dim=2).double()
    height = radius - (0.28 + 0.09 * torch.cos(5 * angle))
    train(star, lambda: (star(points)[:, 0] - height).abs().mean(), rate=3e-3)

    hidden = nn.Linear(2, 16), nn.ReLU(), nn.Linear(16, 16), nn.ReLU()
    spirals = nn.Sequential(*hidden, nn.Linear(16, 3)).double()
    arm = ((angle + 6 * radius) / (2 * torch.pi) * 3).floor().long() % 3
    train(spirals, lambda: nn.functional.cross_entropy(spirals(4 * points), arm), rate=1e-2)

    with torch.no_grad():
        shapeopt.plot_complex(shapeopt.extract_complex(star), HERE / "star.png", dpi=120)
        classes = shapeopt.extract_complex(spirals, (-2, 2), boundaries=True)
        shapeopt.plot_complex(classes, HERE / "spirals.png", colour="class", dpi=120)
    print(f"star: {star_counts(star)}; spirals: {len(classes.interfaces().labels)} interfaces")


def train(network: nn.Module, loss_of, rate: float) -> None:
    optimizer = torch.optim.Adam(network.parameters(), rate)
    for _ in range(STEPS):
        optimizer.zero_grad()
        loss_of().backward()
        optimizer.step()


def star_counts(network: nn.Module) -> str:
    counts = shapeopt.extract_complex(network).num_cells
    return "{} vertices, {} edges, {} regions".format(*counts)


if __name__ == "__main__":
    main()
