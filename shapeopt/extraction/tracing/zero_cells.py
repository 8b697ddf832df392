"""The cells of the zero set that tracing works with: a polygon (in 2D a segment) per region."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import torch
from jaxtyping import Bool, Float, Int32, Int64, Shaped
from torch import Tensor


@dataclass(frozen=True)
class ZeroCells:
    """Polygons (in 2D: segments), one per region that the zero set meets.

    Attributes:
        keys: cell key of each piece.
        signs: packed + signs of its region, f not among them.
        offsets: piece i has the facets ``offsets[i]`` to ``offsets[i + 1]``; those of a polygon
            are counter-clockwise seen from f > 0.
        facets: the constraint each facet (edge of a polygon, end of a segment) lies on.
        is_plus: whether that constraint is a neuron that is + in the region.
        corners: where the facet starts; a polygon's edge ends at the corner of the next one.
    """

    keys: Int64[Tensor, "p"]
    signs: Int32[Tensor, "p words"]
    offsets: Int64[Tensor, "p_plus_1"]
    facets: Int64[Tensor, "m"]
    is_plus: Bool[Tensor, "m"]
    corners: Float[Tensor, "m d"]

    def __len__(self) -> int:
        return len(self.keys)

    @staticmethod
    def concatenate(parts: "Sequence[ZeroCells]") -> "ZeroCells":
        """All pieces of the parts."""
        sizes = torch.cat([part.offsets.diff() for part in parts])
        return ZeroCells(
            torch.cat([part.keys for part in parts]),
            torch.cat([part.signs for part in parts]),
            torch.nn.functional.pad(sizes.cumsum(0), (1, 0)),
            torch.cat([part.facets for part in parts]),
            torch.cat([part.is_plus for part in parts]),
            torch.cat([part.corners for part in parts]),
        )

    def select(self, chosen: Int64[Tensor, "c"], corners: Float[Tensor, "m d"]) -> "ZeroCells":
        """The chosen pieces only, with their part of the given new corners."""
        sizes = self.offsets.diff()[chosen]
        offsets = torch.nn.functional.pad(sizes.cumsum(0), (1, 0))
        shift = (self.offsets[chosen] - offsets[:-1]).repeat_interleave(sizes)
        facets = torch.arange(len(shift), device=shift.device) + shift
        return ZeroCells(
            self.keys[chosen],
            self.signs[chosen],
            offsets,
            self.facets.index_select(0, facets),
            self.is_plus.index_select(0, facets),
            corners.index_select(0, facets),
        )

    def sums(self, numbers: Shaped[Tensor, "m ..."]) -> Shaped[Tensor, "p ..."]:
        """The sum over the facets of each piece, as a difference of running sums."""
        running = numbers.cumsum(dim=0)[self.offsets[1:] - 1]
        return running.diff(dim=0, prepend=torch.zeros_like(running[:1]))

    @cached_property
    def facet_cells(self) -> Int64[Tensor, "m"]:
        """The piece each facet belongs to."""
        pieces = torch.arange(len(self), device=self.keys.device)
        return pieces.repeat_interleave(self.offsets.diff())

    @cached_property
    def next_facets(self) -> Int64[Tensor, "m"]:
        """The facet after each one, around the same piece."""
        following = torch.arange(1, len(self.facets) + 1, device=self.facets.device)
        following[self.offsets[1:] - 1] = self.offsets[:-1]
        return following

    def facet_middles(self) -> Float[Tensor, "m d"]:
        """A point inside each facet."""
        if self.corners.shape[1] == 2:
            return self.corners
        return (self.corners + self.corners[self.next_facets]) / 2


Outlines = tuple[Int64[Tensor, "n"], Int64[Tensor, "m"], Float[Tensor, "m d"]]
"""Corners of each polygon, 0 for one that does not close; then, polygon by polygon, the line along
which the edge from each corner on runs, and the corner."""
