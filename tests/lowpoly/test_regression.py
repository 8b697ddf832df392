"""The compiled regression against a graph of tensors."""

import math

import pytest
import torch

from shapeopt.losses.batch import Batch
from shapeopt.losses.distance import Distance
from shapeopt.lowpoly.regression import regress
from shapeopt.networks import ConvexUnion


@pytest.mark.parametrize("sharpness", [10.0, 300.0, 3000.0, math.inf])
def test_loss_and_gradient(sharpness):
    """Of more points than whole blocks; parts and planes are left out at the larger two."""
    network = ConvexUnion(9, 7)
    network.sharpness = sharpness
    points = torch.rand(777, 3) - 0.5
    distances = points.norm(dim=1) - 0.3
    loss = Distance(2.0, near=0.02)(Batch(network, points, points, points, distances))
    loss.backward()
    expected = network.planes.grad.clone(), network.offsets.grad.clone()
    network.zero_grad()
    found = regress(network, points, distances, 0.02)
    assert found == pytest.approx(float(loss.detach()), rel=1e-5)
    for parameter, gradient in zip(network.parameters(), expected, strict=True):
        torch.testing.assert_close(
            parameter.grad, gradient, rtol=0, atol=2e-5 * gradient.abs().max()
        )
    # It adds to what is there.
    regress(network, points, distances, 0.02, weight=3.0)
    scale = 4 * expected[0].abs().max()
    torch.testing.assert_close(network.planes.grad, 4 * expected[0], rtol=0, atol=2e-5 * scale)
