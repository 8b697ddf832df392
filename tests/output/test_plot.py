import matplotlib.image
import numpy as np
import pytest
import torch
from torch import nn

import shapeopt


def network(outputs: int) -> nn.Sequential:
    """Two inputs."""
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(2, 6), nn.ReLU(), nn.Linear(6, outputs)).requires_grad_(False)


def test_regions_of_a_class_have_its_colour(tmp_path):
    net = network(3)
    net[-1].bias -= net(4 * torch.rand(500, 2) - 2).mean(dim=0)
    whole = shapeopt.extract_complex(net, (-2, 2), boundaries=True)
    path = shapeopt.plot_complex(whole, tmp_path / "classes.png", colour="class", size=2, dpi=100)
    picture = (255 * matplotlib.image.imread(path)[:, :, :3]).round().astype(int)
    side = len(picture)
    steps = (torch.arange(side) + 0.5) / side * 4 - 2
    points = torch.cartesian_prod(-steps, steps).flip(1)
    labels = net(points).argmax(dim=1).view(side, side).numpy()
    for label in np.unique(labels):
        colours, counts = np.unique(picture[labels == label], axis=0, return_counts=True)
        expected = np.round(255 * np.array(matplotlib.colormaps["Set2"](int(label))[:3]))
        assert np.abs(colours[counts.argmax()] - expected).max() <= 1
        assert counts.max() > counts.sum() / 2


@pytest.mark.parametrize("suffix", ["png", "svg", "pdf"])
def test_a_picture_of_the_maps(tmp_path, suffix):
    path = shapeopt.plot_complex(shapeopt.extract_complex(network(1)), tmp_path / f"maps.{suffix}")
    assert path.stat().st_size > 1000
    assert list(tmp_path.iterdir()) == [path]


def test_what_cannot_be_drawn():
    whole = shapeopt.extract_complex(nn.Linear(3, 1))
    with pytest.raises(shapeopt.InputError, match="2D"):
        shapeopt.plot_complex(whole, "out.png")
