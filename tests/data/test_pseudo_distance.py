import numpy as np
import pytest
import torch

from shapeopt.data import (
    bunny_sdf,
    load,
    pseudo_signed_distance,
    sample_implicit,
    sample_training_points,
)
from shapeopt.errors import InputError

RADIUS = 0.3


def sphere_sdf(points: torch.Tensor) -> torch.Tensor:
    return points.norm(dim=1) - RADIUS


@pytest.fixture(scope="module")
def bunny():
    return load("data/bunny.ply")


def test_sphere_near_and_far():
    points = sample_implicit(sphere_sdf, 5000, seed=0).float()
    queries = torch.rand(5000, 3, generator=torch.Generator().manual_seed(1)) - 0.5
    distances = pseudo_signed_distance(points, points / RADIUS, queries)
    errors = (distances - sphere_sdf(queries)).abs()
    near = sphere_sdf(queries).abs() < 0.05
    # Near the surface it would be exact with exact mean normals; the spacing is 0.015.
    assert errors[near].mean() < 1e-4
    assert errors.max() < 4e-3


@pytest.mark.thorough
def test_bunny(bunny):
    """Measured: mean 4.5e-5 within 0.05 of the surface, 99.94 % of the signs right."""
    queries, distances = sample_training_points(bunny, 20_000, seed=1)
    own = bunny.normalisation.undo(queries)
    sign = np.sign(bunny_sdf(own).numpy())
    truth = sign * bunny.reference.distance(queries.double().numpy())
    errors = np.abs(distances.numpy() - truth)
    near = np.abs(truth) < 0.05
    assert errors[near].mean() < 1e-4
    assert errors[~near].mean() < 4e-4
    assert (np.sign(distances.numpy()) == sign).mean() > 0.995


def test_pool_is_deterministic_in_the_box_and_near_where_it_should_be(bunny):
    points, distances = sample_training_points(bunny, 4000, seed=3)
    again = sample_training_points(bunny, 4000, seed=3)
    assert torch.equal(points, again[0])
    assert torch.equal(distances, again[1])
    assert points.dtype == distances.dtype == torch.float32
    assert points.abs().max() <= 0.5
    assert not torch.equal(points, sample_training_points(bunny, 4000, seed=4)[0])
    _, only_near = sample_training_points(bunny, 4000, 0, near_std=[0.001], uniform_fraction=0.0)
    assert only_near.abs().max() < 0.006
    _, only_uniform = sample_training_points(bunny, 4000, seed=0, uniform_fraction=1.0)
    assert only_uniform.abs().mean() > 0.1


@pytest.mark.parametrize(("share", "stds"), [(-0.1, [0.01]), (0.2, []), (0.2, [0.01, -1.0])])
def test_bad_options(bunny, share, stds):
    with pytest.raises(InputError, match=r"between 0 and 1 .* one or more numbers not negative"):
        sample_training_points(bunny, 10, seed=0, near_std=stds, uniform_fraction=share)


def test_repeated_points_do_no_harm():
    points = sample_implicit(sphere_sdf, 2000, seed=0).float().repeat_interleave(20, dim=0)
    queries = torch.rand(500, 3, generator=torch.Generator().manual_seed(1)) - 0.5
    distances = pseudo_signed_distance(points, points / RADIUS, queries)
    assert (distances - sphere_sdf(queries)).abs().max() < 0.02


def test_fewer_points_than_neighbours():
    points = torch.tensor([[1.0, 0, 0], [-1, 0, 0], [0, 1, 0], [0, -1, 0], [0, 0, 1], [0, 0, -1]])
    distances = pseudo_signed_distance(points, points, torch.tensor([[0.0, 0, 0], [2.0, 0, 0]]))
    assert distances[0] < 0 < distances[1]
