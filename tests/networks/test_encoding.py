"""Lattices of simplices, and the features on them."""

import pytest
import torch

from shapeopt.errors import InputError
from shapeopt.networks import EncodedNetwork
from shapeopt.networks.lattice import (
    ORDERS,
    PLACES,
    across,
    barycentric,
    coarser,
    corner_numbers,
    kinds_by,
    place_in,
    simplex_numbers,
    simplices_of,
)


def every(cells: int) -> torch.Tensor:
    return torch.arange(cells**3 * len(ORDERS))


def encoded(cells=(2, 4), spread=0.05, seed=0, **settings) -> EncodedNetwork:
    torch.manual_seed(seed)
    return EncodedNetwork(cells, spread=spread, **settings).double()


def test_simplices_have_one_number_each():
    numbers = every(3)
    assert torch.equal(simplex_numbers(*simplices_of(numbers, 3), 3), numbers)


def test_kinds_are_the_orders_of_values():
    values = torch.rand(200, 3)
    kinds = kinds_by(values)
    assert sorted(set(kinds.tolist())) == [*range(6)]
    orders = torch.tensor(ORDERS)[kinds]
    assert (values.gather(1, orders).diff(dim=1) <= 0).all()
    assert torch.tensor(PLACES)[kinds].equal(orders.argsort(dim=1))
    assert kinds_by(torch.ones(1, 3)) == 0  # the first axis first
    assert ORDERS[kinds_by(torch.tensor([[1, 2, 1]]))] == (1, 0, 2)


def test_points_lie_in_their_simplex():
    points = torch.rand(500, 3, dtype=torch.float64)
    places = place_in(points, 5)
    weights = barycentric(points, *places, 5)
    assert weights.min() >= -1e-12
    numbers = corner_numbers(*places, 5)
    corners = torch.stack([numbers // 36, numbers // 6 % 6, numbers % 6], dim=2) / 5
    assert torch.allclose((weights[:, :, None] * corners).sum(dim=1), points, atol=1e-14)


def test_behind_a_side_are_its_three_corners_and_another():
    cells = 3
    numbers = every(cells)
    corners = corner_numbers(*simplices_of(numbers, cells), cells)
    border = 0
    for side in range(4):
        there = across(numbers, torch.full_like(numbers, side), cells)
        others = corner_numbers(*simplices_of(there, cells), cells)
        for here, behind, one, two in zip(
            numbers.tolist(), there.tolist(), corners.tolist(), others.tolist(), strict=True
        ):
            if here == behind:
                border += 1
                continue
            kept = {*one[:side], *one[side + 1 :]}
            assert kept < {*two}
            assert one[side] not in two
    assert border == 6 * 2 * cells**2  # two triangles in each square of the border


def test_a_finer_lattice_refines():
    numbers = every(6)
    finer = simplices_of(numbers, 6)
    points = torch.rand(len(numbers), 4, dtype=torch.float64) + 1e-3
    weights = points / points.sum(dim=1, keepdim=True)
    at = corner_numbers(*finer, 6)
    corners = torch.stack([at // 49, at // 7 % 7, at % 7], dim=2) / 6
    inside = (weights[:, :, None] * corners).sum(dim=1)
    for cells in (1, 2, 3):
        one = simplex_numbers(*coarser(*finer, 6 // cells), cells)
        assert torch.equal(one, simplex_numbers(*place_in(inside, cells), cells))


def test_the_encoding_is_affine_in_simplices_and_interpolates():
    encoding = encoded((2, 4)).encoding
    points = torch.rand(200, 3, dtype=torch.float64) - 0.5
    simplices = encoding.simplices_at(points)
    assert torch.allclose(encoding(points), encoding.values_in(simplices, points), atol=1e-14)
    step = 1e-7 * torch.randn_like(points)
    moved = encoding.values_in(simplices, points + step)
    slopes = (encoding.slopes_in(simplices) * step[:, :, None]).sum(dim=1)
    assert torch.allclose(moved - encoding(points), slopes, atol=1e-13)
    at_corner = torch.tensor([[-0.5, 0.0, 0.5]], dtype=torch.float64)
    found = encoding(at_corner)[0, 3:].split(2)
    assert torch.allclose(found[0], encoding.features[0][0 * 9 + 1 * 3 + 2])
    assert torch.allclose(found[1], encoding.features[1][0 * 25 + 2 * 5 + 4])


def test_outside_of_the_box_features_stay():
    encoding = encoded().encoding
    points = torch.tensor([[0.7, 0.1, -0.9], [0.5, 0.1, -0.5]], dtype=torch.float64)
    one, two = encoding(points)[:, 3:]
    assert torch.equal(one, two)


def test_gradients_of_values():
    network = encoded(width=8)
    points = (torch.rand(20, 3, dtype=torch.float64) - 0.5).requires_grad_()
    assert torch.autograd.gradcheck(network, points)
    network(points).sum().backward()
    assert all(part.grad.abs().max() > 0 for part in network.features)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"cells": [8, 12]}, "multiple of the one before"),
        ({"cells": [8, 8]}, "multiple of the one before"),
        ({"cells": []}, "one or more numbers"),
        ({"cells": [0]}, "one or more numbers"),
        ({"cells": [711]}, "710 cubes a side at most"),
        ({"features": 0}, "at least 1 feature"),
        ({"spread": -1.0}, "must not be negative"),
        ({"width": 0}, "width is 0"),
    ],
)
def test_wrong_settings(settings, message):
    with pytest.raises(InputError, match=message):
        EncodedNetwork(**settings)
