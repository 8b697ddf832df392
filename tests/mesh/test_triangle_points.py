"""Points on triangles: where they are, how they are drawn, and their gradient."""

import numpy as np
import torch

from shapeopt.mesh.triangle_points import drawn_on, points_on


def some_triangles(count: int) -> tuple[torch.Tensor, torch.Tensor]:
    torch.manual_seed(0)
    vertices = torch.rand(50, 3, dtype=torch.float64)
    return vertices, torch.stack([torch.randperm(50)[:3] for _ in range(count)])


def test_points_and_their_gradient_are_those_of_torch():
    vertices, triangles = some_triangles(200)
    weights, up = torch.rand(200, 3).double(), torch.randn(200, 3).double()
    compiled, plain = (vertices.clone().requires_grad_() for _ in range(2))
    found = points_on(compiled, triangles, weights)
    expected = (weights[:, :, None] * plain[triangles]).sum(dim=1)
    assert torch.allclose(found, expected, rtol=0, atol=1e-15)
    (found * up).sum().backward()
    (expected * up).sum().backward()
    assert torch.allclose(compiled.grad, plain.grad, rtol=0, atol=1e-14)
    in_float32 = points_on(vertices.float(), triangles, weights)
    assert in_float32.dtype == torch.float32
    assert torch.allclose(in_float32.double(), found, atol=1e-6)


def test_one_point_is_drawn_in_each_part_of_the_area():
    vertices, triangles = some_triangles(40)
    numbers = np.random.default_rng(0).uniform(size=(3, 5000))
    chosen, weights = drawn_on(vertices.numpy(), triangles.numpy(), numbers)
    a, b, c = vertices[triangles].unbind(1)
    areas = torch.linalg.cross(b - a, c - a, dim=1).norm(dim=1)
    expected = areas / areas.sum() * 5000
    counts = torch.bincount(torch.from_numpy(chosen), minlength=40)
    assert ((counts - expected).abs() <= 2).all()
    assert (weights >= 0).all()
    assert np.allclose(weights.sum(axis=1), 1)
    # Uniform in a triangle, each corner weighs a third on average.
    assert np.allclose(weights.mean(axis=0), 1 / 3, atol=0.02)


def test_triangles_without_area_get_no_point():
    vertices = torch.eye(3, dtype=torch.float64).numpy()
    triangles = np.array([[0, 0, 1], [0, 1, 2], [2, 2, 2]])
    chosen, _ = drawn_on(vertices, triangles, np.zeros((3, 1)) + 0.5)
    assert chosen.tolist() == [1]
