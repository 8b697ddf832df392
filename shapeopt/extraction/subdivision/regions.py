"""The regions of a skeleton, found by sorting their keys, in plain torch on any device.

This is the oracle: the compiled twin for the CPU (``regions_compiled.py``) must find the same
regions, which it may number otherwise.
"""

from abc import ABC, abstractmethod
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Int, Int64
from torch import Tensor

from shapeopt.complex.skeleton import Skeleton
from shapeopt.mesh.ragged import offsets_of


@dataclass(frozen=True)
class Regions(ABC):
    """The regions of a skeleton, or what pruning left of them.

    Attributes:
        dimension: of the space.
        offsets: region i has the corners ``offsets[i]`` to ``offsets[i + 1]``.
        corners: vertices of the skeleton, region by region.
    """

    dimension: int
    offsets: Int64[Tensor, "r_plus_1"]
    corners: Int[Tensor, "m"]

    def __len__(self) -> int:
        return len(self.offsets) - 1

    @abstractmethod
    def count_edges(self) -> Int[Tensor, "r"]:
        """Edges that are left of each region."""

    @abstractmethod
    def edges_of(self, chosen: Bool[Tensor, "r"]) -> Bool[Tensor, "e"]:
        """Which edges of the skeleton are edges of a chosen region."""

    def are_whole(self) -> Bool[Tensor, "r"]:
        """Whether nothing of a region was dropped: then ``dimension`` edges meet at a corner."""
        return 2 * self.count_edges() == self.dimension * self.offsets.diff()


@dataclass(frozen=True)
class SortedRegions(Regions):
    """What :func:`find_regions` finds.

    Attributes:
        around: the regions around each edge, -1 where there is none.
    """

    around: Int64[Tensor, "sides e"]

    def count_edges(self) -> Int64[Tensor, "r"]:
        """See :class:`Regions`."""
        return torch.bincount(self.around[self.around >= 0], minlength=len(self))

    def edges_of(self, chosen: Bool[Tensor, "r"]) -> Bool[Tensor, "e"]:
        """See :class:`Regions`."""
        # The last entry is for the -1 that stands for no region.
        return torch.cat([chosen, chosen.new_zeros(1)])[self.around].any(dim=0)


def find_regions(skeleton: Skeleton) -> SortedRegions:
    """Groups vertices and edges by the regions around them, by sorting the regions' keys."""
    constraints = skeleton.constraints
    zeros = skeleton.vertex_zeros.long()
    base = skeleton.keys.of_cells(skeleton.vertex_plus_bits, zeros, constraints)
    turned, exists = _turned(skeleton, zeros, base)
    vertex = torch.nonzero(exists, as_tuple=True)[1]
    key, order = torch.sort(turned[exists], stable=True)
    names, num_corners = torch.unique_consecutive(key, return_counts=True)

    turned, exists = _turned(skeleton, skeleton.edge_zeros.long(), skeleton.edge_keys)
    around = torch.where(exists, torch.searchsorted(names, turned), -1)
    return SortedRegions(constraints.dimension, offsets_of(num_corners), vertex[order], around)


def _turned(
    skeleton: Skeleton, zeros: Int64[Tensor, "n k"], keys: Int64[Tensor, "n"]
) -> tuple[Int64[Tensor, "sides n"], Bool[Tensor, "sides n"]]:
    """The keys that every way to turn all zeros of cells into + or - gives, and whether there is
    such a region: none is on the outer side of a box plane."""
    place = torch.arange(zeros.shape[1], device=zeros.device)
    numbers = torch.arange(2 ** len(place), device=zeros.device)
    sides = ((numbers[:, None] >> place) & 1).bool()
    without = keys - skeleton.keys.zero[zeros].sum(dim=1)
    plus = skeleton.keys.plus[zeros]
    inside = zeros < skeleton.constraints.num_neurons
    turned = torch.stack([without + (plus * side).sum(dim=1) for side in sides])
    exists = torch.stack([(side | inside).all(dim=1) for side in sides])
    return turned, exists
