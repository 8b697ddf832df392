"""Lengths and directions at any scale, and their gradients."""

import pytest
import torch
from torch.nn.functional import normalize

from shapeopt.mesh.safe_norm import safe_norm, unit

DIRECTIONS = torch.tensor([[3.0, 0, 4], [-1, 2, -2], [0, 0, -1]], dtype=torch.float64)


@pytest.mark.parametrize(
    ("size", "dtype"),
    [
        (1.0, torch.float64),
        (1e-300, torch.float64),
        (5e-324, torch.float64),
        (1e-40, torch.float64),
        (1e300, torch.float64),
        (1.0, torch.float32),
        (1e-38, torch.float32),
        (1e-40, torch.float32),  # below the normal numbers
        (1e37, torch.float32),
    ],
)
def test_every_row_gets_length_one(size, dtype):
    rows = (size * DIRECTIONS).to(dtype)
    found = unit(rows)
    of_size_one = rows.double() / rows.double().abs().amax(dim=1, keepdim=True)
    expected = normalize(of_size_one, dim=1).to(dtype)
    torch.testing.assert_close(found, expected, rtol=0, atol=4 * torch.finfo(dtype).eps)
    assert found.dtype == dtype


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_zero_rows_stay_and_have_no_gradient(dtype):
    rows = torch.tensor([[0.0, 0, 0], [3, 0, 4]], dtype=dtype, requires_grad=True)
    assert unit(rows)[0].tolist() == [0, 0, 0]
    assert safe_norm(rows).tolist() == [0, 5]
    for value in (unit(rows), safe_norm(rows)):
        (gradient,) = torch.autograd.grad(value.sum(), rows)
        assert torch.isfinite(gradient).all()
        assert gradient[0].tolist() == [0, 0, 0]
        assert gradient[1].abs().sum() > 0


@pytest.mark.parametrize(("dtype", "atol"), [(torch.float32, 1e-6), (torch.float64, 1e-14)])
@pytest.mark.parametrize(
    ("function", "naive"),
    [(unit, lambda x: normalize(x, dim=1)), (safe_norm, lambda x: x.norm(dim=1))],
    ids=["unit", "safe_norm"],
)
def test_gradients_of_ordinary_rows(function, naive, dtype, atol):
    rows = torch.randn(50, 3, dtype=dtype, requires_grad=True)
    weights = torch.randn_like(naive(rows))
    (found,) = torch.autograd.grad((weights * function(rows)).sum(), rows)
    (expected,) = torch.autograd.grad((weights * naive(rows)).sum(), rows)
    assert expected.abs().max() > 0.1
    torch.testing.assert_close(found, expected, rtol=10 * atol, atol=100 * atol)


def test_the_gradient_of_a_tiny_row_is_large_but_right():
    """d(x / |x|) is of the order of 1 / |x|."""
    size = 2.0**-60
    rows = (size * DIRECTIONS).requires_grad_()
    ordinary = DIRECTIONS.clone().requires_grad_()
    weights = torch.arange(9.0, dtype=torch.float64).view(3, 3)
    (found,) = torch.autograd.grad((weights * unit(rows)).sum(), rows)
    (expected,) = torch.autograd.grad((weights * unit(ordinary)).sum(), ordinary)
    torch.testing.assert_close(found * size, expected)
