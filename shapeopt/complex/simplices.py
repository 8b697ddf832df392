"""Regions of an encoded network: a simplex of the finest lattice, beside the sign pattern.

In every simplex an encoding is affine, and so is f for each sign pattern. So polygons are cut at
the four sides of their simplex, too, and behind a side lies the same sign pattern in the next
simplex. The sides take the places of the box planes among the constraints, and the simplex's number
goes with the packed signs, in a column of its own.

In cell keys a simplex counts as the sum of random numbers of its corners, and what lies on a side
or an edge of it as the sum over that side's or edge's corners: the same from all simplices around.
"""

from itertools import combinations

import torch
from jaxtyping import Bool, Float, Int, Int32, Int64
from torch import Tensor

from shapeopt.complex.signs import Constraints, zobrist_keys
from shapeopt.complex.skeleton import Skeleton
from shapeopt.networks.encoding import BOX, Encoding
from shapeopt.networks.lattice import (
    across,
    corner_numbers,
    simplices_of,
)

SIDES = 4
"""Constraints of a simplex; what remains of a box's six places is always positive."""


def simplices_in(plus_bits: Int32[Tensor, "n words"]) -> Int64[Tensor, "n"]:
    """The simplices that go with packed signs."""
    return plus_bits[:, -1].long()


class Simplices:
    """The simplices of an encoding's finest lattice.

    Args:
        encoding: without graph, in float64.
    """

    def __init__(self, encoding: Encoding):
        self.encoding = encoding
        self.cells = encoding.finest

    def column_at(self, points: Float[Tensor, "n 3"]) -> Int32[Tensor, "n 1"]:
        """The column for the simplices that points lie in."""
        return self.encoding.simplices_at(points).int()[:, None]

    def behind(
        self, plus_bits: Int32[Tensor, "n words"], sides: Int64[Tensor, "n"]
    ) -> Int32[Tensor, "n words"]:
        """The packed signs behind sides; where the number is none of a side, they stay."""
        here = simplices_in(plus_bits)
        is_side = (sides >= 0) & (sides < SIDES)
        there = across(here, sides.clamp(0, SIDES - 1), self.cells)
        return torch.cat([plus_bits[:, :-1], torch.where(is_side, there, here).int()[:, None]], 1)

    def is_at_border(
        self, plus_bits: Int32[Tensor, "n words"], sides: Int64[Tensor, "n"]
    ) -> Bool[Tensor, "n"]:
        """Whether nothing lies behind each side."""
        here = simplices_in(plus_bits)
        return across(here, sides.clamp(0, SIDES - 1), self.cells) == here

    def planes(
        self, plus_bits: Int32[Tensor, "n words"], sides: Int[Tensor, "n k"]
    ) -> Int64[Tensor, "n 6"]:
        """The planes of the box that what lies on sides is in, as :meth:`Box.put_on_planes` counts
        them; -1 for one that it is not in.

        Args:
            sides: numbers that are none of a side do not count.
        """
        corners = self.encoding.corners_of(simplices_in(plus_bits))
        number = torch.arange(SIDES, device=sides.device)
        # A side is opposite to the corner of its number, so that corner is not on it.
        is_off = (sides[:, :, None] == number).any(dim=1)
        on_bounds = torch.stack([corners == bound for bound in BOX], dim=3).flatten(2)
        is_in = (on_bounds | is_off[:, :, None]).all(dim=1)
        return torch.where(is_in, torch.arange(6, device=sides.device), -1)

    def keys(self, plus_bits: Int32[Tensor, "n words"]) -> Int64[Tensor, "n"]:
        """The simplices' part of cell keys."""
        return self._of_corners(plus_bits).sum(dim=1)

    def turns(
        self, plus_bits: Int32[Tensor, "n words"], sides: Int64[Tensor, "n"]
    ) -> Int64[Tensor, "n"]:
        """What the key of a cell changes by on a side; 0 where the number is none of a side."""
        is_side = (sides >= 0) & (sides < SIDES)
        of_corner = self._of_corners(plus_bits).gather(1, sides.clamp(0, SIDES - 1)[:, None])[:, 0]
        return torch.where(is_side, -of_corner, 0)

    def maps(
        self, plus_bits: Int32[Tensor, "n words"], points: Float[Tensor, "n 3"]
    ) -> tuple[Float[Tensor, "4 n inputs"], Float[Tensor, "4 n 6"]]:
        """The first layer's inputs, and the constraints of the simplices: each one's value at the
        points, then its slopes along the axes. Sides are measured in box lengths."""
        here = simplices_in(plus_bits)
        values, slopes = self.encoding.maps_in(here, points)
        sides = points.new_zeros(4, len(points), 6)
        sides[0] = 1
        sides[0, :, :SIDES] = self.encoding.heights_in(here, points)
        sides[1:, :, :SIDES] = self.encoding.height_slopes_in(here).transpose(0, 1)
        return torch.cat([values[None], slopes.transpose(0, 1)]), sides

    def _of_corners(self, plus_bits: Int32[Tensor, "n words"]) -> Int64[Tensor, "n 4"]:
        """A random number for each corner, by hashing its own."""
        simplices = simplices_of(simplices_in(plus_bits), self.cells)
        return mixed(corner_numbers(*simplices, self.cells))


def box_planes(
    constraints: Constraints,
    zeros: Int[Tensor, "v d"],
    plus_bits: Int32[Tensor, "v words"],
    simplices: Simplices | None,
) -> Int[Tensor, "v k"]:
    """The planes of the box that vertices lie on, as :meth:`Box.put_on_planes` counts them.

    Args:
        zeros: the constraints that are 0 at each.
        plus_bits: packed + signs of each.
        simplices: of an encoded network, whose last constraints are not planes but sides.
    """
    planes = zeros - constraints.num_neurons
    return planes if simplices is None else simplices.planes(plus_bits, planes)


def simplex_skeleton(
    constraints: Constraints, encoding: Encoding, simplices: Int64[Tensor, "s"]
) -> Skeleton:
    """Corners and edges of simplices, each for itself, with all signs clear.

    What several simplices have in common is there once for each of them, with a key of its own.
    """
    device, first_side = simplices.device, constraints.num_neurons
    ends = torch.tensor(list(combinations(range(4), 2)), device=device)
    # On an edge are the sides opposite to the two other corners.
    edge_zeros = first_side + ends.flip(0).to(constraints.index_dtype)
    corner_zeros = [[first_side + side for side in range(4) if side != i] for i in range(4)]
    zeros = torch.tensor(corner_zeros, dtype=constraints.index_dtype, device=device)
    plus_bits = torch.zeros(
        4 * len(simplices), constraints.num_words + 1, dtype=torch.int32, device=device
    )
    plus_bits[:, -1] = simplices.int().repeat_interleave(4)
    keys = zobrist_keys(constraints, device)
    of_edges = keys.zero[edge_zeros.long()].sum(dim=1)
    first_corners = 4 * torch.arange(len(simplices), device=device)
    return Skeleton(
        constraints,
        encoding.corners_of(simplices).flatten(0, 1),
        zeros.repeat(len(simplices), 1),
        plus_bits,
        (first_corners[:, None, None] + ends).flatten(0, 1).int(),
        edge_zeros.repeat(len(simplices), 1),
        (mixed(simplices)[:, None] + of_edges).flatten(),
        keys,
    )


def mixed(numbers: Int64[Tensor, "..."]) -> Int64[Tensor, "..."]:
    """Numbers of 64 bits that look random, the same for equal ones (splitmix64: Steele, Lea and
    Flood, *Fast splittable pseudorandom number generators*, OOPSLA 2014)."""
    z = (numbers + 1) * _signed(0x9E3779B97F4A7C15)
    z = (z ^ _shifted(z, 30)) * _signed(0xBF58476D1CE4E5B9)
    z = (z ^ _shifted(z, 27)) * _signed(0x94D049BB133111EB)
    return z ^ _shifted(z, 31)


def _shifted(z: Int64[Tensor, "..."], bits: int) -> Int64[Tensor, "..."]:
    """To the right, with zeros from the left."""
    return (z >> bits) & ((1 << (64 - bits)) - 1)


def _signed(number: int) -> int:
    return number - 2**64 if number >= 2**63 else number
