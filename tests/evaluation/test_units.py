import re
import warnings

import numpy as np
import pytest
import torch
import trimesh

from shapeopt.data import MeshReference
from shapeopt.evaluation.measures import evaluate
from shapeopt.evaluation.units import unlike
from tests.evaluation.test_measures import Surface

POINTS = np.random.default_rng(0).uniform(-1, 1, (200, 3))


@pytest.mark.parametrize(
    ("factor", "words"),
    [
        (1000, "1000 times larger.*millimetres and metres"),
        (1 / 1000, "1000 times smaller.*millimetres and metres"),
        (25.4, "25.4 times larger.*inches"),
        (60, "60 times larger than the truth: bring both to the same units"),
    ],
)
def test_other_units(factor, words):
    assert re.search(words, unlike(factor * POINTS, POINTS))


def test_another_place():
    assert "times their size apart" in unlike(POINTS + np.array([10, 0, 0]), POINTS)


@pytest.mark.parametrize("factor", [0.3, 1, 5])
def test_what_may_be_a_bad_result_is_none(factor):
    assert unlike(factor * POINTS + 0.5, POINTS) is None


def test_evaluating_warns():
    ball = trimesh.creation.icosphere(subdivisions=1)
    vertices, faces = np.array(ball.vertices), np.array(ball.faces)
    truth = MeshReference(vertices, faces)
    with pytest.warns(UserWarning, match="1000 times larger"):
        evaluate(Surface(torch.tensor(1000 * vertices), torch.tensor(faces)), truth, 100)
    with warnings.catch_warnings(action="error"):
        evaluate(Surface(torch.tensor(vertices), torch.tensor(faces)), truth, 100)
