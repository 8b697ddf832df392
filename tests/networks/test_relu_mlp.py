"""The network that starts as the distance to a sphere."""

import pytest
import torch

from shapeopt import InputError, sdf_network


@pytest.mark.parametrize(("width", "depth"), [(16, 3), (32, 8), (64, 1)])
def test_starts_as_the_distance_to_a_sphere(width, depth):
    network = sdf_network(width, depth, radius=0.3)
    points = torch.rand(2000, 3) - 0.5
    with torch.no_grad():
        error = network(points).squeeze(1) - (points.norm(dim=1) - 0.3)
    assert error.abs().mean() < 0.05
    assert network(torch.zeros(1, 3)).item() < 0


@pytest.mark.parametrize("off_fraction", [0.2, 0.5])
def test_later_neurons_start_off_on_the_given_fraction_of_the_box(off_fraction):
    network = sdf_network(16, 3, off_fraction=off_fraction)
    with torch.no_grad():
        inputs = network[:4](torch.rand(5000, 3) - 0.5)
        off = (network[4](inputs) <= 0).double().mean(dim=0)
    torch.testing.assert_close(off, torch.full_like(off, off_fraction), rtol=0, atol=0.05)
    assert network(torch.zeros(1, 3)).item() < 0


@pytest.mark.parametrize(
    "bad", [{"width": 0}, {"depth": 0}, {"radius": 0.6}, {"off_fraction": 1.0}]
)
def test_sizes_are_checked(bad):
    with pytest.raises(InputError, match=next(iter(bad))):
        sdf_network(**{"width": 8, "depth": 2, **bad})
