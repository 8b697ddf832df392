"""Fit losses on f(x) = |x|_1 - 0.3, where all values are known."""

import math
from dataclasses import replace

import pytest
import torch

from shapeopt import InputError
from shapeopt.losses import (
    Batch,
    Distance,
    Eikonal,
    Normals,
    OffSurface,
    OnSurface,
    Side,
    SurfaceDistance,
)
from tests.sample_networks import octahedron


@pytest.fixture
def batch():
    generator = torch.Generator().manual_seed(0)
    space = torch.rand(500, 3, generator=generator, dtype=torch.float64) - 0.5
    cloud = torch.rand(200, 3, generator=generator, dtype=torch.float64) - 0.5
    cloud = 0.3 * cloud / cloud.abs().sum(dim=1, keepdim=True)
    normals = cloud.sign() / math.sqrt(3)
    distances = space.abs().sum(dim=1) - 0.3
    return Batch(octahedron(0.3), cloud, normals, space, distances)


def test_a_perfect_fit_costs_nothing(batch):
    assert float(Distance(1.0)(batch)) < 1e-12
    assert float(OnSurface(1.0)(batch)) < 1e-12


def test_distance_and_on_surface_are_mean_errors(batch):
    with torch.no_grad():
        batch.network[2].bias += 0.01
    assert float(Distance(1.0)(batch)) == pytest.approx(0.01)
    assert float(OnSurface(1.0)(batch)) == pytest.approx(0.01)


def test_errors_far_away_count_less(batch):
    with torch.no_grad():
        batch.network[2].bias += 0.01
    weights = 0.05 / (0.05 + batch.space_distances.abs())
    assert float(Distance(1.0, near=0.05)(batch)) == pytest.approx(0.01 * float(weights.mean()))
    with pytest.raises(InputError, match="near"):
        Distance(1.0, near=0.0)


@pytest.mark.parametrize(
    "loss", [Distance, Eikonal, Normals, OffSurface, OnSurface, Side, SurfaceDistance]
)
def test_nobody_wants_more_of_an_error(loss):
    with pytest.raises(InputError, match=rf"{loss.__name__}: weight is -1.0.* away from its data"):
        loss(-1.0)
    loss(0.0)


def test_normals_and_eikonal_see_the_gradient(batch):
    """The gradient is (+-1, +-1, +-1): along the normal, and sqrt(3) long."""
    assert float(Normals(1.0)(batch)) == pytest.approx(math.sqrt(3) - 1)
    assert float(Eikonal(1.0)(batch)) == pytest.approx((math.sqrt(3) - 1) ** 2)


def test_off_surface_is_one_at_the_surface(batch):
    on_surface = Batch(
        batch.network, batch.cloud_points, batch.cloud_normals, batch.cloud_points, torch.zeros(200)
    )
    assert float(OffSurface(1.0)(on_surface)) == pytest.approx(1.0)
    expected = torch.exp(-50 * batch.space_values.abs()).mean()
    assert float(OffSurface(1.0, sharpness=50.0)(batch)) == pytest.approx(float(expected))


def test_the_side_alone_is_asked_for_by_a_margin(batch):
    assert float(Side(1.0, margin=0.02)(batch)) < 1e-12
    with torch.no_grad():
        batch.network[2].bias += 0.03
    loss = Side(1.0, margin=0.02)(replace(batch))
    distances = batch.space_distances
    missing = (0.02 + distances + 0.03).relu()[distances < -0.02].sum() / len(distances)
    assert float(missing) > 0
    assert float(loss.detach()) == pytest.approx(float(missing))
    loss.backward()
    assert batch.network[2].bias.grad > 0


@pytest.mark.parametrize("loss", [Distance, OnSurface, Normals, Eikonal, OffSurface])
def test_gradients_reach_the_weights(batch, loss):
    with torch.no_grad():
        batch.network[0].weight += 0.01
    loss(1.0)(batch).backward()
    assert batch.network[0].weight.grad.abs().sum() > 0


def test_the_network_is_evaluated_once():
    calls = []
    network = octahedron(0.3)
    network.register_forward_hook(lambda *_: calls.append(1))
    points = torch.rand(10, 3, dtype=torch.float64)
    batch = Batch(network, points, points, points, points[:, 0])
    Distance(1.0)(batch), OffSurface(1.0)(batch)
    assert len(calls) == 1


def test_settings_are_checked():
    with pytest.raises(InputError, match="sharpness"):
        OffSurface(1.0, sharpness=0.0)
    with pytest.raises(InputError, match="margin"):
        Side(1.0, margin=-1.0)
