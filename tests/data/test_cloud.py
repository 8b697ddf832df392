import warnings

import numpy as np
import pytest
import torch

from shapeopt.data import Normalisation, PointCloud, normalise
from shapeopt.errors import InputError


@pytest.fixture
def ball() -> tuple[np.ndarray, np.ndarray]:
    """Points and normals of an ellipsoid-shaped cloud far from the origin."""
    normals = np.random.default_rng(0).normal(size=(200, 3))
    normals /= np.linalg.norm(normals, axis=1, keepdims=True)
    return normals * [10, 20, 40] + [1000, -2000, 50], normals


def test_longest_side_fills_the_box_up_to_the_margin(ball):
    cloud = normalise(*ball, margin=0.1)
    extent = cloud.points.max(dim=0).values - cloud.points.min(dim=0).values
    assert extent.max().item() == pytest.approx(0.8, abs=1e-6)
    torch.testing.assert_close(cloud.points.max(dim=0).values, extent / 2)  # centred
    assert cloud.points.dtype == cloud.normals.dtype == torch.float32


def test_there_and_back(ball):
    cloud = normalise(*ball)
    np.testing.assert_allclose(cloud.normalisation.undo(cloud.points).numpy(), ball[0], atol=1e-4)
    x = torch.tensor(ball[0])
    forward = cloud.normalisation.apply(x)
    torch.testing.assert_close(forward.float(), cloud.points)


def test_to_input_units_lets_gradients_through(ball):
    cloud = normalise(*ball)
    points = cloud.points.clone().requires_grad_()
    cloud.normalisation.undo(points).sum().backward()
    torch.testing.assert_close(points.grad, torch.full_like(points, 1 / cloud.normalisation.scale))


def test_normals_a_little_off_are_renormalised_silently(ball):
    points, normals = ball
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        cloud = normalise(points, normals * 1.005)
    torch.testing.assert_close(cloud.normals, torch.tensor(normals).float())


def test_normals_far_off_are_renormalised_with_a_warning(ball):
    points, normals = ball
    with pytest.warns(UserWarning, match=r"200 of 200 normals do not have length 1"):
        cloud = normalise(points, normals * 3)
    torch.testing.assert_close(cloud.normals, torch.tensor(normals).float())


def test_bad_normals(ball):
    points, normals = ball
    normals[[3, 7]] = 0
    with pytest.raises(InputError, match=r"2 of 200 normals are zero, .* first in row 3"):
        normalise(points, normals)
    with pytest.raises(InputError, match=r"normals must be \[200, 3\] .*, not \[5, 3\]"):
        normalise(points, normals[:5])


def test_bad_points(ball):
    points, normals = ball
    with pytest.raises(InputError, match=r"has 3 points; a surface needs at least 4"):
        normalise(points[:3], normals[:3])
    with pytest.raises(InputError, match=r"all 200 points are at the same place"):
        normalise(np.ones_like(points), normals)
    with pytest.raises(InputError, match=r"must be \[n, 3\], not \[200, 2\]"):
        normalise(points[:, :2], normals)
    points[11, 1], points[20, 0], points[20, 2] = np.nan, np.inf, np.inf
    with pytest.raises(InputError, match=r"2 of 200 points are NaN or infinite, .* in row 11"):
        normalise(points, normals)


def test_bad_margin(ball):
    with pytest.raises(InputError, match=r"margin is 0.5; .* less than 0.5"):
        normalise(*ball, margin=0.5)


def test_made_directly_it_still_checks():
    points = torch.rand(10, 3)
    with pytest.raises(InputError, match=r"must have length 1; use normalise"):
        PointCloud(points, 2 * torch.ones(10, 3), Normalisation.identity())
    with pytest.raises(InputError, match=r"scale is 0.0"):
        Normalisation(torch.zeros(3, dtype=torch.float64), 0.0)
