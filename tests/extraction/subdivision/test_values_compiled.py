"""The values of a layer by the compiled kernel against torch's."""

import pytest
import torch

from shapeopt.compiled import PARTS
from shapeopt.extraction.subdivision import values_compiled
from shapeopt.extraction.subdivision.values_compiled import layer_values
from shapeopt.networks.affine import AffineLayer


def random_layer(width: int, size: int, dtype: torch.dtype, *, is_linear: bool = False):
    linear = torch.arange(width) % 3 == 0 if is_linear else None
    return AffineLayer(torch.randn(width, size, dtype=dtype), torch.randn(width).to(dtype), linear)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize(("size", "width", "count"), [(3, 16, 1), (9, 1, 30), (17, 33, 1001)])
@pytest.mark.parametrize("is_linear", [False, True])
def test_values_are_those_of_torch(size, width, count, dtype, is_linear, monkeypatch):
    torch.manual_seed(0)
    monkeypatch.setattr(values_compiled, "SMALL", 100)
    before = random_layer(size, 2, dtype, is_linear=is_linear)
    layer, values = random_layer(width, size, dtype), torch.randn(count, size, dtype=dtype)
    for layer_before, inputs in ((None, values), (before, before.activated(values.clone()))):
        after = torch.full((count, width), torch.nan, dtype=dtype)
        largest = layer_values(layer, layer_before, values.numpy(), after.numpy())
        expected = layer.values(inputs)
        torch.testing.assert_close(after, expected)
        assert torch.equal(largest, after.abs().amax(dim=0))


def test_rows_may_be_overwritten_by_their_own_values(monkeypatch):
    torch.manual_seed(0)
    monkeypatch.setattr(values_compiled, "SMALL", PARTS)
    layer, values = random_layer(9, 9, torch.float64), torch.randn(103, 9, dtype=torch.float64)
    expected = torch.empty_like(values)
    layer_values(layer, layer, values.numpy(), expected.numpy())
    layer_values(layer, layer, values.numpy(), values.numpy())
    assert torch.equal(values, expected)
