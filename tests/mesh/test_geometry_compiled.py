"""Edge lengths, dihedral angles and directions of the compiled kernels against torch's."""

import pytest
import torch

from shapeopt.mesh.geometry_compiled import DihedralAngles, EdgeLengths, Unit


def lengths(vertices: torch.Tensor, edges: torch.Tensor) -> torch.Tensor:
    start, end = vertices[edges].unbind(1)
    return (end - start).norm(dim=1)


def angles(normals: torch.Tensor, faces: torch.Tensor) -> torch.Tensor:
    one, two = normals[faces].unbind(1)
    return torch.atan2(torch.linalg.cross(one, two, dim=1).norm(dim=1), (one * two).sum(dim=1))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize(("compiled", "plain"), [(EdgeLengths, lengths), (DihedralAngles, angles)])
def test_values_and_gradients_are_those_of_torch(compiled, plain, dtype):
    torch.manual_seed(0)
    vectors = torch.randn(40, 3, dtype=dtype)
    pairs = torch.stack([torch.randperm(40)[:2] for _ in range(100)])
    one, other = (vectors.clone().requires_grad_() for _ in range(2))
    found, expected = compiled.apply(one, pairs), plain(other, pairs)
    torch.testing.assert_close(found, expected)
    up = torch.randn(100, dtype=dtype)
    (found * up).sum().backward()
    (expected * up).sum().backward()
    # Of two nearly parallel normals float32 leaves torch four digits.
    close = {"rtol": 1e-4, "atol": 1e-5} if dtype == torch.float32 else {}
    torch.testing.assert_close(one.grad, other.grad, **close)


def test_what_has_no_direction_has_no_gradient():
    points = torch.tensor([[1.0, 2, 3], [1, 2, 3]], dtype=torch.float64, requires_grad=True)
    length = EdgeLengths.apply(points, torch.tensor([[0, 1]]))
    # Flat, folded back, and beside a polygon without a normal.
    normals = torch.tensor(
        [[0.0, 0, 1], [0, 0, 1], [0, 0, -1], [0, 0, 0]], dtype=torch.float64, requires_grad=True
    )
    angle = DihedralAngles.apply(normals, torch.tensor([[0, 1], [0, 2], [0, 3]]))
    assert length.tolist() == [0]
    assert angle.tolist() == [0, torch.pi, 0]
    for value, given in ((length, points), (angle, normals)):
        (gradient,) = torch.autograd.grad(value.sum(), given)
        assert not gradient.any()


def test_a_second_derivative_is_refused():
    vectors = torch.randn(5, 3, dtype=torch.float64, requires_grad=True)
    (gradient,) = torch.autograd.grad(
        Unit.apply(vectors).square().sum(), vectors, create_graph=True
    )
    with pytest.raises(RuntimeError, match="once_differentiable"):
        gradient.sum().backward()


def test_a_gradient_at_numbers_that_have_changed_is_an_error():
    vertices = torch.randn(3, 3, dtype=torch.float64, requires_grad=True)
    length = EdgeLengths.apply(vertices, torch.tensor([[0, 1], [1, 2]])).sum()
    with torch.no_grad():
        vertices *= 2
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        length.backward()
