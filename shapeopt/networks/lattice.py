"""The lattice of simplices that the unit cube is cut into: its vertices, simplices and their sides.

Each of N^3 small cubes is cut into six tetrahedra by the planes on which two of its coordinates are
equal (Freudenthal 1942; also named after Kuhn). A simplex is given by its cube c and its kind, the
order o of the axes from the largest coordinate in the cube to the least; its corners are

    c,    c + e_o1,    c + e_o1 + e_o2,    c + e_o1 + e_o2 + e_o3.

All of the lattice's planes are x_i = k / N or x_i - x_j = k / N. So the lattice of N = m M refines
that of M: every one of its simplices lies in one simplex of the coarser one.
"""

from collections.abc import Sequence
from functools import lru_cache
from itertools import permutations

import torch
from jaxtyping import Float, Int64, Real
from torch import Tensor

ORDERS = tuple(permutations(range(3)))
"""The order of the axes of each kind."""

PLACES = tuple(tuple(order.index(axis) for axis in range(3)) for order in ORDERS)
"""The place of each axis in the order of each kind."""

_TURNS = ((1, 2, 0), (1, 0, 2), (0, 2, 1), (2, 0, 1))
"""Behind the side opposite to each corner: the order of the axes, in places of the old one."""

KINDS_BEHIND = tuple(
    tuple(ORDERS.index(tuple(order[place] for place in turn)) for turn in _TURNS)
    for order in ORDERS
)
"""The kind of the simplex behind each side of each kind."""

STEPS_BEHIND = tuple(
    tuple(
        tuple(
            (axis == order[0] and side == 0) - (axis == order[2] and side == 3) for axis in range(3)
        )
        for side in range(4)
    )
    for order in ORDERS
)
"""From a simplex's cube to that of the simplex behind each side."""

# Whether x >= y, x >= z and y >= z, as bits: two of the eight cases cannot be.
_KIND_OF_COMPARISONS = tuple(
    next(
        (
            kind
            for kind, place in enumerate(PLACES)
            if (place[0] < place[1], place[0] < place[2], place[1] < place[2]) == signs
        ),
        0,
    )
    for signs in (tuple(bool(code >> bit & 1) for bit in (2, 1, 0)) for code in range(8))
)


@lru_cache(maxsize=64)
def table(rows: Sequence, device: torch.device) -> Int64[Tensor, "..."]:
    """A table of this file as a tensor, made once for each device."""
    return torch.tensor(rows, device=device)


def kinds_by(values: Real[Tensor, "n 3"]) -> Int64[Tensor, "n"]:
    """The kinds in which the axes stand from the largest value to the least; of equal ones the
    first axis goes first."""
    x, y, z = values.unbind(1)
    code = 4 * (x >= y).long() + 2 * (x >= z).long() + (y >= z).long()
    return table(_KIND_OF_COMPARISONS, values.device)[code]


def place_in(
    points: Float[Tensor, "n 3"], cells: int
) -> tuple[Int64[Tensor, "n 3"], Int64[Tensor, "n"]]:
    """The cube and the kind of the simplex that each point of the unit cube lies in."""
    at = points.detach() * cells
    cubes = at.floor().clamp_(0, cells - 1)
    return cubes.long(), kinds_by(at - cubes)


def simplex_numbers(
    cubes: Int64[Tensor, "n 3"], kinds: Int64[Tensor, "n"], cells: int
) -> Int64[Tensor, "n"]:
    """One number for each simplex of the lattice."""
    x, y, z = cubes.unbind(1)
    return ((x * cells + y) * cells + z) * len(ORDERS) + kinds


def simplices_of(
    numbers: Int64[Tensor, "n"], cells: int
) -> tuple[Int64[Tensor, "n 3"], Int64[Tensor, "n"]]:
    """The cubes and the kinds of simplices given by number."""
    cube, kinds = numbers // len(ORDERS), numbers % len(ORDERS)
    row = cube // cells
    return torch.stack([row // cells, row % cells, cube % cells], dim=1), kinds


def coarser(
    cubes: Int64[Tensor, "n 3"], kinds: Int64[Tensor, "n"], factor: int
) -> tuple[Int64[Tensor, "n 3"], Int64[Tensor, "n"]]:
    """The simplices of the lattice with ``factor`` times larger cubes that these lie in."""
    if factor == 1:
        return cubes, kinds
    # The middle of a simplex: its coordinates in the cube are 3/4, 2/4 and 1/4 in its order.
    middle = 4 * cubes + (3 - table(PLACES, kinds.device)[kinds])
    larger = middle // (4 * factor)
    return larger, kinds_by(middle - 4 * factor * larger)


@lru_cache(maxsize=64)
def _corner_steps(cells: int, device: torch.device) -> Int64[Tensor, "6 4"]:
    """From the number of a cube's first vertex to those of the corners of each kind."""
    strides = ((cells + 1) ** 2, cells + 1, 1)
    rows = [[sum(strides[axis] for axis in order[:k]) for k in range(4)] for order in ORDERS]
    return torch.tensor(rows, device=device)


def corner_numbers(
    cubes: Int64[Tensor, "n 3"], kinds: Int64[Tensor, "n"], cells: int
) -> Int64[Tensor, "n 4"]:
    """The lattice vertices at the corners of simplices, by number."""
    x, y, z = cubes.unbind(1)
    first = (x * (cells + 1) + y) * (cells + 1) + z
    return first[:, None] + _corner_steps(cells, kinds.device)[kinds]


def barycentric(
    points: Float[Tensor, "n 3"],
    cubes: Int64[Tensor, "n 3"],
    kinds: Int64[Tensor, "n"],
    cells: int,
) -> Float[Tensor, "n 4"]:
    """The points as weighted means of their simplex's corners; negative weights outside of it."""
    orders = table(ORDERS, kinds.device)[kinds]
    one, two, three = (points * cells - cubes).gather(1, orders).unbind(1)
    return torch.stack([1 - one, one - two, two - three, three], dim=1)


def slopes_between(
    corners: Float[Tensor, "n 4 k"], kinds: Int64[Tensor, "n"], cells: int
) -> Float[Tensor, "n 3 k"]:
    """The slopes along the axes of what has these values at the corners: from each corner to the
    next one leads a step along one axis."""
    places = table(PLACES, kinds.device)[kinds]
    steps = corners.diff(dim=1)
    return cells * steps.gather(1, places[:, :, None].expand_as(steps))


def across(
    numbers: Int64[Tensor, "n"], sides: Int64[Tensor, "n"], cells: int
) -> Int64[Tensor, "n"]:
    """The simplex behind a side of each simplex, which is opposite to its corner of that number;
    the simplex itself where the side is in the border of the unit cube."""
    cubes, kinds = simplices_of(numbers, cells)
    moved = cubes + table(STEPS_BEHIND, numbers.device)[kinds, sides]
    behind = table(KINDS_BEHIND, numbers.device)[kinds, sides]
    is_inside = ((moved >= 0) & (moved < cells)).all(dim=1)
    return torch.where(is_inside, simplex_numbers(moved, behind, cells), numbers)
