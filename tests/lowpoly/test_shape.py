"""Fit and shape phase on small problems."""

import math

import pytest
import torch

from shapeopt import InputError
from shapeopt.data.shapes import box
from shapeopt.extraction.halfspaces import HalfSpaces
from shapeopt.lowpoly import FitSettings, Goal, ShapeSettings, fit, shape
from shapeopt.lowpoly.fit import sharpness_at
from shapeopt.lowpoly.shape import FaceControl
from shapeopt.networks import ConvexUnion
from shapeopt.training.batches import BatchSource


@pytest.fixture(scope="module")
def cloud():
    return box([0.5, 0.4, 0.3], 5000, seed=0)


@pytest.mark.thorough
def test_a_box_of_six_faces(cloud):
    """Two parts of ten planes, fitted in few steps: the shape phase keeps what a box needs."""
    batches = BatchSource(cloud, 20_000, 512)
    results = []
    for _ in range(2):
        network = ConvexUnion(2, 10)
        network.start_from(batches.points[batches.distances < 0])
        fit(network, batches, FitSettings(steps=40))
        assert network.sharpness == math.inf
        before = HalfSpaces()(network).num_faces
        settings = ShapeSettings(steps=40, samples=500)
        shape(network, batches, cloud, Goal(faces=6), settings)
        results.append(HalfSpaces()(network).detach())
    assert before > 12
    assert results[0].num_faces < 0.7 * before
    # The same every time.
    assert torch.equal(results[0].vertices, results[1].vertices)


def test_the_price_of_a_face_follows_the_goal():
    settings = ShapeSettings()
    dear, cheap = FaceControl(Goal(faces=100), settings), FaceControl(Goal(faces=100), settings)
    for step in range(20):
        dear.update(0.5 + step / 100, 150, 4e-3)
        cheap.update(0.5 + step / 100, 60, 4e-3)
    assert dear.price > 0.7 * 4e-5 > cheap.price
    far, near = FaceControl(Goal(error=4e-3), settings), FaceControl(Goal(error=4e-3), settings)
    for step in range(20):
        far.update(0.5 + step / 100, 100, 6e-3)
        near.update(0.5 + step / 100, 100, 3e-3)
    assert near.price > 0.7 * 3e-5
    assert far.price < 0.7 * 6e-5


def test_the_sharpness_grows_to_the_exact_one():
    settings = FitSettings(softest=10, hardest=1000, hard_fraction=0.5)
    values = [sharpness_at(done, settings) for done in (0.0, 0.25, 0.5, 0.9)]
    assert values == pytest.approx([10, 100, math.inf, math.inf])


@pytest.mark.parametrize(
    ("goal", "message"),
    [
        ({}, "either"),
        ({"faces": 100, "error": 1e-3}, "either"),
        ({"faces": 3}, "at least 4"),
        ({"error": 0.0}, "positive"),
    ],
)
def test_what_it_refuses(goal, message):
    with pytest.raises(InputError, match=message):
        Goal(**goal)
