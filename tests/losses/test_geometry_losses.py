"""Geometry losses on solids whose values are known by hand."""

import math

import pytest
import torch

from shapeopt import InputError, extract_surface
from shapeopt.losses import EdgeLength, FaceCount, Smoothness
from tests.networks import random_mlp
from tests.solids import box_solid, two_triangles


@pytest.mark.parametrize(
    ("loss", "expected"),
    [
        (EdgeLength(1.0), 24.0),
        (EdgeLength(1.0, reduction="mean"), 2.0),
        (EdgeLength(1.0, power=2.0), 4 * (1 + 4 + 9)),
        (Smoothness(1.0, power=1.0), math.pi / 2),
        (Smoothness(1.0), (math.pi / 2) ** 2),
        (FaceCount(1.0), 24.0**2 / (math.pi * 22)),
    ],
)
def test_values_on_a_box(loss, expected):
    assert float(loss(box_solid(1, 2, 3))) == pytest.approx(expected)


def test_smoothness_is_weighted_by_length():
    """One edge of length 2 bent by 0.5: border edges do not count."""
    assert float(Smoothness(1.0)(two_triangles(0.5))) == pytest.approx(0.25)


def test_face_count_leaves_out_the_border():
    surface = two_triangles(0.5)
    assert float(FaceCount(1.0)(surface)) == pytest.approx(2.0**2 / (math.pi * 2))


def test_face_count_counts_random_folds():
    """A one-layer network's folds are planes: on many of them Crofton's formula is close."""
    network = random_mlp(3, 150, 1, seed=2)
    with torch.no_grad():
        network[-1].bias -= network(torch.zeros(1, 3, dtype=torch.float64))[0]
        surface = extract_surface(network, bounds=(-0.5, 0.5))
    assert float(FaceCount(1.0)(surface)) == pytest.approx(surface.num_faces, rel=0.25)


@pytest.mark.parametrize("loss", [EdgeLength(1.0, power=2.0), Smoothness(1.0), FaceCount(1.0)])
def test_gradients_of_vertices_are_finite_differences(loss):
    vertices = box_solid(1, 2, 3).vertices.detach()
    if isinstance(loss, Smoothness):
        surface_of, start = two_triangles, torch.tensor(0.7)
        value = [float(loss(surface_of(float(start) + h))) for h in (1e-6, -1e-6)]
        assert (value[0] - value[1]) / 2e-6 == pytest.approx(2 * 0.7, rel=1e-6)
        return
    surface = box_solid(1, 2, 3)
    (gradient,) = torch.autograd.grad(loss(surface), surface.vertices)
    for vertex in range(8):
        for axis in range(3):
            values = []
            for h in (1e-6, -1e-6):
                moved = vertices.clone()
                moved[vertex, axis] += h
                values.append(float(loss(surface.with_vertices(moved))))
            difference = (values[0] - values[1]) / 2e-6
            assert difference == pytest.approx(float(gradient[vertex, axis]), abs=1e-6)


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: EdgeLength(1.0, power=0.5), "power"),
        (lambda: EdgeLength(float("nan")), "weight"),
        (lambda: Smoothness(1.0, power=0.0), "power"),
    ],
)
def test_settings_are_checked(build, message):
    with pytest.raises(InputError, match=message):
        build()
