"""The union of convex parts: its values, its start, and what is left out of it."""

import math

import pytest
import torch

from shapeopt import InputError
from shapeopt.networks import ConvexUnion


def boxes(*corners: tuple[list[float], list[float]]) -> ConvexUnion:
    """A union of axis-aligned boxes, each given by its lower and upper corner."""
    network = ConvexUnion(len(corners), 6).double()
    axes = torch.eye(3, dtype=torch.float64)
    with torch.no_grad():
        for part, (low, high) in enumerate(torch.tensor(corners, dtype=torch.float64)):
            network.planes[part] = torch.cat([axes, -axes])
            network.offsets[part] = torch.cat([high, -low])
    return network


def test_values_by_hand():
    network = boxes(([-0.3, -0.1, -0.1], [0.3, 0.1, 0.1]), ([0.0, 0.0, 0.0], [0.2, 0.2, 0.4]))
    points = torch.tensor([[0, 0, 0], [0.4, 0, 0], [0.1, 0.1, 0.3], [0.1, 0.1, 0.45]]).double()
    expected = torch.tensor([[-0.1], [0.1], [-0.1], [0.05]]).double()
    torch.testing.assert_close(network(points), expected)


def test_smooth_values_come_to_the_exact_ones():
    network = ConvexUnion(5, 8).double()
    points = torch.rand(200, 3, dtype=torch.float64) - 0.5
    exact = network(points)
    for sharpness in (10.0, 1e3):
        network.sharpness = sharpness
        # Of n numbers the smooth largest is at most log(n) / s above the largest.
        bound = math.log(8) / sharpness
        assert bool((network(points) <= exact + bound).all())
        assert bool((network(points) >= exact - math.log(5) / sharpness).all())


def test_the_smooth_one_moves_every_plane():
    network = ConvexUnion(4, 6)
    network.sharpness = 10.0
    network(torch.rand(100, 3) - 0.5).sum().backward()
    assert bool((network.offsets.grad != 0).all())


def test_it_starts_around_the_points():
    """Two clouds far apart with a part each: inside where the points are, outside between."""
    cloud = 0.1 * (torch.rand(2000, 3) - 0.5)
    points = torch.cat([cloud - 0.3, cloud + 0.3])
    network = ConvexUnion(2, 30)
    network.start_from(points)
    assert float((network(points) < 0).double().mean()) > 0.4
    assert float(network(torch.zeros(1, 3)).detach()) > 0.1
    again = ConvexUnion(2, 30)
    again.start_from(points)
    assert torch.equal(network.planes, again.planes)


def test_planes_that_are_left_out():
    network = ConvexUnion(3, 8).double()
    kept = torch.ones(3, 8, dtype=torch.bool)
    kept[0, :3] = kept[2] = False
    smaller = network.keeping(kept)
    assert smaller.planes.shape == (2, 8, 3)
    assert int(smaller.is_plane.sum()) == 13
    points = torch.rand(500, 3, dtype=torch.float64) - 0.5
    values = (points @ network.planes.view(-1, 3).T - network.offsets.flatten()).view(-1, 3, 8)
    of_parts = torch.stack([values[:, 0, 3:].amax(dim=1), values[:, 1].amax(dim=1)], dim=1)
    torch.testing.assert_close(smaller(points), of_parts.amin(dim=1, keepdim=True))
    normals, _ = smaller.unit_planes()
    assert torch.equal(normals[~smaller.is_plane], torch.zeros(3, 3).double())


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: ConvexUnion(0, 8), "at least 1 part"),
        (lambda: ConvexUnion(2, 3), "4 planes"),
        (lambda: ConvexUnion(2, 6, radius=0.7), "radius"),
        (lambda: ConvexUnion(9, 6).start_from(torch.rand(8, 3)), "8 points"),
        (lambda: ConvexUnion(1, 6).keeping(torch.zeros(1, 6, dtype=torch.bool)), "no plane"),
    ],
)
def test_what_it_refuses(make, message):
    with pytest.raises(InputError, match=message):
        make()
