"""Solids given by a few numbers."""

import math

import numpy as np
import pytest
import torch

from shapeopt import InputError
from shapeopt.data.shapes import box, ellipsoid, leaning_tower


def test_points_of_the_ellipsoid_lie_on_it():
    cloud = ellipsoid([3.0, 2.0, 1.0], samples=500)
    raw = cloud.normalisation.undo(cloud.points) / torch.tensor([3.0, 2.0, 1.0])
    assert float((raw.norm(dim=1) - 1).abs().max()) < 2e-3  # triangles lie within it
    outward = (cloud.points * cloud.normals).sum(dim=1)
    assert bool((outward > 0).all())
    assert cloud.normalisation.scale == pytest.approx(0.9 / 6, rel=0.02)  # as wide as its points


def test_points_of_the_box_lie_on_its_sides():
    cloud = box([2.0, 1.0, 1.0], samples=500)
    raw = cloud.normalisation.undo(cloud.points).abs() / torch.tensor([1.0, 0.5, 0.5])
    torch.testing.assert_close(raw.amax(dim=1), torch.ones(500).double(), atol=1e-5, rtol=0)
    assert np.abs(cloud.normals.numpy()).max(axis=1) == pytest.approx(1)


def test_the_tower_leans_by_what_was_asked():
    """Foot and top are level; every point is as far from the leaning axis as a disc allows."""
    cloud = leaning_tower(radius=0.2, height=2.0, lean=0.6, samples=2_000)
    x, y, z = cloud.normalisation.undo(cloud.points).unbind(1)
    radius = torch.hypot(x - 0.6 * z / 2, y)
    assert float(radius.max()) <= 0.2 + 1e-6
    ends = radius < 0.2 * math.cos(math.pi / 96) - 1e-6
    torch.testing.assert_close(z[ends].abs(), torch.ones(int(ends.sum())).double())
    assert cloud.reference.distance(cloud.points.double().numpy()).max() < 1e-6


@pytest.mark.parametrize(
    "build",
    [
        lambda: box([1.0, 0.0, 1.0]),
        lambda: ellipsoid([1.0, 1.0]),
        lambda: leaning_tower(0.1, -1.0, 0.0),
        lambda: leaning_tower(0.1, 1.0, math.nan),
    ],
)
def test_sizes_are_checked(build):
    with pytest.raises(InputError, match=r"radi|sides|lean"):
        build()
