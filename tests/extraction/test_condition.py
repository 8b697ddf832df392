"""A network and its box at the origin."""

from fractions import Fraction
from itertools import product

import pytest
import torch

import shapeopt
from shapeopt.complex.box import Box
from shapeopt.extraction.condition import condition
from shapeopt.networks.affine import AffineLayer
from tests.sample_networks import random_mlp


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


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("middle", [0.0, 0.7, 100.7, -3e5])
def test_vertices_on_box_planes_are_exactly_there(middle, dtype):
    """Whatever rounding makes of them, and of the way to the unit box and back."""
    lower = middle + torch.tensor([-1.9, 0.0, -0.8], dtype=dtype)
    upper = middle + torch.tensor([1.7, 0.7, 0.6], dtype=dtype)
    network = random_mlp(3, 12, 12, 1, seed=1)
    with torch.no_grad():
        network[0].bias -= network[0].weight @ torch.full((3,), middle, dtype=torch.float64)
        network[-1].bias -= network((lower + upper).double() / 2)
    bounds = lower.tolist(), upper.tolist()
    whole = shapeopt.extract_complex(network, bounds, dtype=dtype)
    found = [(whole, whole.skeleton.vertex_zeros)]
    for method in ("subdivide", "trace"):
        surface = shapeopt.extract_surface(network, bounds, dtype=dtype, method=method)
        found.append((surface, surface.signs.vertex_zeros))
    for cells, zeros in found:
        assert cells.vertices.dtype == dtype
        assert cells.vertices.requires_grad
        plane = zeros.long() - whole.skeleton.constraints.num_neurons
        assert (plane < 0).all(dim=1).any()
        assert (plane >= 0).any()
        for axis, side in product(range(3), range(2)):
            bound, there = (lower, upper)[side][axis], cells.vertices[:, axis]
            on_it = (plane == 2 * axis + side).any(dim=1)
            assert (there[on_it] == bound).all()
            assert ((there - bound) * (1 - 2 * side) >= 0).all()
            given = there[on_it].sum(), network[0].weight
            (gradient,) = torch.autograd.grad(*given, retain_graph=True)
            assert not gradient.any()
