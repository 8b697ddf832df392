"""The lattice of simplices that the unit cube is cut into: its vertices, simplices and their sides.

Each of N^3 small cubes is cut into six tetrahedra by the planes on which two of its coordinates are
equal (Freudenthal 1942; also named after Kuhn). A simplex is given by its cube c and the order o of
the axes from the largest coordinate in the cube to the least; its corners are

    c,    c + e_o1,    c + e_o1 + e_o2,    c + e_o1 + e_o2 + e_o3.

All of the lattice's planes are x_i = k / N or x_i - x_j = k / N. So the lattice of N = m M refines
that of M: every one of its simplices lies in one simplex of the coarser one.
"""

from itertools import permutations

import torch
from jaxtyping import Float, Int64
from torch import Tensor

ORDERS = tuple(permutations(range(3)))
"""The orders of the axes, by number."""

_TURNS = ((1, 2, 0), (1, 0, 2), (0, 2, 1), (2, 0, 1))
"""Behind the side opposite to each corner: the order of the axes, in places of the old one."""


def orders_of(numbers: Int64[Tensor, "n"]) -> Int64[Tensor, "n 3"]:
    """The orders with these numbers."""
    return torch.tensor(ORDERS, device=numbers.device)[numbers]


def numbers_of(orders: Int64[Tensor, "n 3"]) -> Int64[Tensor, "n"]:
    """The numbers of orders."""
    # 3 first + second takes the values 1, 2, 3, 5, 6, 7 in the order of the permutations.
    code = 3 * orders[:, 0] + orders[:, 1]
    return code - 1 - (code > 3).long()


def place_in(
    points: Float[Tensor, "n 3"], cells: int
) -> tuple[Int64[Tensor, "n 3"], Int64[Tensor, "n 3"]]:
    """The cube and the order of the simplex that each point of the unit cube lies in."""
    at = points * cells
    cubes = at.detach().floor().long().clamp_(0, cells - 1)
    return cubes, torch.argsort((at - cubes).detach(), dim=1, descending=True, stable=True)


def simplex_numbers(
    cubes: Int64[Tensor, "n 3"], orders: Int64[Tensor, "n 3"], cells: int
) -> Int64[Tensor, "n"]:
    """One number for each simplex of the lattice."""
    x, y, z = cubes.unbind(1)
    return ((x * cells + y) * cells + z) * len(ORDERS) + numbers_of(orders)


def simplices_of(
    numbers: Int64[Tensor, "n"], cells: int
) -> tuple[Int64[Tensor, "n 3"], Int64[Tensor, "n 3"]]:
    """The cubes and the orders of simplices given by number."""
    cube, order = numbers // len(ORDERS), numbers % len(ORDERS)
    cubes = torch.stack([cube // cells**2, cube // cells % cells, cube % cells], dim=1)
    return cubes, orders_of(order)


def coarser(
    cubes: Int64[Tensor, "n 3"], orders: Int64[Tensor, "n 3"], factor: int
) -> tuple[Int64[Tensor, "n 3"], Int64[Tensor, "n 3"]]:
    """The simplices of the lattice with ``factor`` times larger cubes that these lie in."""
    if factor == 1:
        return cubes, orders
    # The middle of a simplex: its coordinates in the cube are 3/4, 2/4 and 1/4 in its order.
    quarters = torch.tensor([3, 2, 1], device=cubes.device).expand_as(orders)
    middle = (4 * cubes).scatter_add(1, orders, quarters)
    within = middle % (4 * factor)
    return middle // (4 * factor), torch.argsort(within, dim=1, descending=True)


def corner_numbers(
    cubes: Int64[Tensor, "n 3"], orders: Int64[Tensor, "n 3"], cells: int
) -> Int64[Tensor, "n 4"]:
    """The lattice vertices at the corners of simplices, by number."""
    strides = torch.tensor([(cells + 1) ** 2, cells + 1, 1], device=cubes.device)
    steps = strides[orders].cumsum(dim=1)
    return torch.cat([torch.zeros_like(steps[:, :1]), steps], dim=1) + (cubes * strides).sum(
        dim=1, keepdim=True
    )


def barycentric(
    points: Float[Tensor, "n 3"],
    cubes: Int64[Tensor, "n 3"],
    orders: Int64[Tensor, "n 3"],
    cells: int,
) -> Float[Tensor, "n 4"]:
    """The points as weighted means of their simplex's corners; negative weights outside of it."""
    one, two, three = (points * cells - cubes).gather(1, orders).unbind(1)
    return torch.stack([1 - one, one - two, two - three, three], dim=1)


def barycentric_slopes(orders: Int64[Tensor, "n 3"], cells: int) -> Float[Tensor, "n 3 4"]:
    """The derivatives of the barycentric coordinates along the axes, float64."""
    of_place = torch.tensor(
        [[-1.0, 1, 0, 0], [0, -1, 1, 0], [0, 0, -1, 1]], dtype=torch.float64, device=orders.device
    )
    place = torch.argsort(orders, dim=1)
    return cells * of_place[place]


def across(
    numbers: Int64[Tensor, "n"], sides: Int64[Tensor, "n"], cells: int
) -> Int64[Tensor, "n"]:
    """The simplex behind a side of each simplex, which is opposite to its corner of that number;
    the simplex itself where the side is in the border of the unit cube."""
    cubes, orders = simplices_of(numbers, cells)
    turned = orders.gather(1, torch.tensor(_TURNS, device=numbers.device)[sides])
    moved = cubes.clone()
    step = (sides == 0).long() - (sides == 3).long()
    axis = torch.where(sides == 3, orders[:, 2], orders[:, 0])
    moved.scatter_add_(1, axis[:, None], step[:, None])
    is_inside = ((moved >= 0) & (moved < cells)).all(dim=1)
    return torch.where(is_inside, simplex_numbers(moved, turned, cells), numbers)
