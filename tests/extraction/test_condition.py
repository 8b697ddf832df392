"""A network and its box at the origin."""

from fractions import Fraction

import torch

from shapeopt.complex.box import Box
from shapeopt.extraction.condition import condition
from shapeopt.networks.affine import AffineLayer


def test_a_bias_is_moved_to_the_last_bit():
    """b + w . origin, whose terms are 1e7 times the sum."""
    generator = torch.Generator().manual_seed(0)
    weight = torch.randn(50, 3, generator=generator, dtype=torch.float64)
    origin = torch.tensor([5e6, -3e6, 1e6], dtype=torch.float64)
    rest = torch.randn(50, generator=generator, dtype=torch.float64)
    layer = AffineLayer(weight, rest - weight @ origin)
    unit = condition([layer, layer], Box(origin - 1, origin + 1))
    assert torch.equal(unit.origin, origin)
    for row, bias, found in zip(weight, layer.bias, unit.layers[0].bias, strict=True):
        terms = zip(row.tolist(), origin.tolist(), strict=True)
        exact = Fraction(float(bias)) + sum(Fraction(w) * Fraction(x) for w, x in terms)
        assert abs(Fraction(float(found)) - exact) <= Fraction(2) ** -52 * abs(exact)
