"""The cells of the zero set that tracing works with: a polygon (in 2D a segment) per region."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import torch
from jaxtyping import Bool, Float, Int32, Int64, Shaped
from torch import Tensor

from shapeopt.mesh.ragged import offsets_of, owners_of, places_of, positions_of


class Outlines(NamedTuple):
    """Where cells end, before they have keys.

    Attributes:
        counts: facets of each cell; 0 for one that does not close.
        slopes: the gradient of f in each one's region.
        constraints: cell by cell, the constraint that each facet lies on.
        corners: where the facet starts.
        num_open: how many cells do not close.
        is_plus: whether each facet's constraint is a neuron that is + in the region; None if that
            is not known yet.
    """

    counts: Int64[Tensor, "n"]
    slopes: Float[Tensor, "n d"]
    constraints: Int64[Tensor, "m"]
    corners: Float[Tensor, "m d"]
    num_open: int
    is_plus: Bool[Tensor, "m"] | None = None

    def facet_cells(self) -> Int64[Tensor, "m"]:
        """The cell that each facet belongs to."""
        return owners_of(offsets_of(self.counts), len(self.corners))

    def completed_by(self, others: "Outlines", at: Int64[Tensor, "k"]) -> "Outlines":
        """The same with the given cells, so far open, from the others."""
        cells = torch.cat([self.facet_cells(), at[others.facet_cells()]])
        order = torch.sort(cells, stable=True).indices
        return Outlines(
            self.counts.index_copy(0, at, others.counts),
            self.slopes,
            torch.cat([self.constraints, others.constraints])[order],
            torch.cat([self.corners, others.corners])[order],
            self.num_open - len(at) + others.num_open,
        )


@dataclass(frozen=True)
class ZeroCells:
    """Polygons (in 2D: segments), one per region that the zero set meets.

    A facet is an edge of a polygon, or an end of a segment.

    Attributes:
        keys: cell key of each cell.
        plus_bits: packed + signs of its region, f not among them.
        slopes: the gradient of f there, with the weights that the cell was found with.
        offsets: cell i has the facets ``offsets[i]`` to ``offsets[i + 1]``; those of a polygon
            are counter-clockwise seen from f > 0.
        facet_constraints: the constraint each facet lies on.
        is_plus: whether that constraint is a neuron that is + in the region.
        corners: where the facet starts; a polygon's edge ends at the corner of the next one.
    """

    keys: Int64[Tensor, "p"]
    plus_bits: Int32[Tensor, "p words"]
    slopes: Float[Tensor, "p d"]
    offsets: Int64[Tensor, "p_plus_1"]
    facet_constraints: Int64[Tensor, "m"]
    is_plus: Bool[Tensor, "m"]
    corners: Float[Tensor, "m d"]

    def __len__(self) -> int:
        return len(self.keys)

    @staticmethod
    def concatenate(parts: "Sequence[ZeroCells]") -> "ZeroCells":
        """All cells of the parts."""
        return ZeroCells(
            torch.cat([part.keys for part in parts]),
            torch.cat([part.plus_bits for part in parts]),
            torch.cat([part.slopes for part in parts]),
            offsets_of(torch.cat([part.offsets.diff() for part in parts])),
            torch.cat([part.facet_constraints for part in parts]),
            torch.cat([part.is_plus for part in parts]),
            torch.cat([part.corners for part in parts]),
        )

    def select(
        self, chosen: Int64[Tensor, "c"], corners: Float[Tensor, "m d"], num_facets: int
    ) -> "ZeroCells":
        """The chosen cells only, which have so many facets, with their part of the new corners."""
        offsets, facets = positions_of(self.offsets, chosen, num_facets)
        return ZeroCells(
            self.keys[chosen],
            self.plus_bits[chosen],
            self.slopes[chosen],
            offsets,
            self.facet_constraints.index_select(0, facets),
            self.is_plus.index_select(0, facets),
            corners.index_select(0, facets),
        )

    def retained(
        self,
        corner: Int64[Tensor, "m"],
        holds: Bool[Tensor, "v"],
        positions: Float[Tensor, "v d"],
    ) -> tuple["ZeroCells", Int32[Tensor, "k words"], Float[Tensor, "k d"]]:
        """The cells all of whose corners hold, with those corners; and of the cells some of whose
        corners hold the signs, and the middle of these corners.

        Args:
            corner: the vertex that each facet starts at.
            holds, positions: of the vertices.
        """
        at_corners = holds.index_select(0, corner)
        corners = positions.index_select(0, corner)
        held, sizes = self.sums(at_corners), self.offsets.diff()
        is_kept = held == sizes
        chosen = torch.stack([is_kept, (held > 0) & ~is_kept])
        counts = torch.stack([chosen.sum(dim=1), (chosen * sizes).sum(dim=1)]).tolist()
        (num_kept, num_partly), (facets_of_kept, facets_of_partly) = counts
        kept = self.select(places_of(is_kept, num_kept), corners, facets_of_kept)
        partly = places_of(chosen[1], num_partly)
        some = self.select(partly, torch.where(at_corners[:, None], corners, 0), facets_of_partly)
        return kept, some.plus_bits, some.sums(some.corners) / held[partly, None]

    def in_order(self) -> "ZeroCells":
        """The same by their keys, and every polygon from its edge on the lowest constraint on: an
        order that no longer tells how the cells were found."""
        total = len(self.corners)
        chosen = torch.sort(self.keys).indices
        offsets, facets = positions_of(self.offsets, chosen, total)
        if self.corners.shape[1] == 3:
            constraints = self.facet_constraints[facets]
            owner, start = owners_of(offsets, total), offsets[:-1]
            lowest = torch.empty_like(start)
            lowest.scatter_reduce_(0, owner, constraints, "amin", include_self=False)
            is_first = constraints == lowest[owner]
            first = torch.empty_like(start)
            place = torch.arange(total, device=start.device) - start[owner]
            first.scatter_reduce_(
                0, owner, torch.where(is_first, place, total), "amin", include_self=False
            )
            turned = (place + first[owner]) % offsets.diff()[owner]
            facets = facets[start[owner] + turned]
        return ZeroCells(
            self.keys[chosen],
            self.plus_bits[chosen],
            self.slopes[chosen],
            offsets,
            self.facet_constraints[facets],
            self.is_plus[facets],
            self.corners[facets],
        )

    def sums(self, numbers: Shaped[Tensor, "m ..."]) -> Shaped[Tensor, "p ..."]:
        """The sum over the facets of each cell, as a difference of running sums."""
        running = numbers.cumsum(dim=0)[self.offsets[1:] - 1]
        return running.diff(dim=0, prepend=torch.zeros_like(running[:1]))

    @cached_property
    def facet_cells(self) -> Int64[Tensor, "m"]:
        """The cell each facet belongs to."""
        return owners_of(self.offsets, len(self.corners))

    @cached_property
    def next_facets(self) -> Int64[Tensor, "m"]:
        """The facet after each one, around the same cell."""
        following = torch.arange(1, len(self.corners) + 1, device=self.keys.device)
        following[self.offsets[1:] - 1] = self.offsets[:-1]
        return following

    def middles(self, facets: Int64[Tensor, "n"]) -> Float[Tensor, "n d"]:
        """A point inside each of the facets."""
        starts = self.corners[facets]
        if self.corners.shape[1] == 2:
            return starts
        return (starts + self.corners[self.next_facets[facets]]) / 2
