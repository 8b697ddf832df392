"""Cells of every dimension, found from the skeleton.

A k-cell has d - k zeros. Turning k - 1 of an edge's d - 1 zeros into + or - names every k-cell at
that edge, so the cells are the distinct keys that come out, and each comes out once per edge.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import combinations, product

import torch
from jaxtyping import Float, Int, Int32, Int64
from torch import Tensor

from shapeopt.complex.signs import Constraints, unpack, with_plus
from shapeopt.complex.skeleton import Skeleton
from shapeopt.errors import InputError
from shapeopt.networks.affine import AffineLayer


@dataclass(frozen=True)
class Cells:
    """All cells of one dimension k, and the skeleton's edges around each of them.

    Attributes:
        keys: cell key of each cell.
        zeros: the d - k constraints that are 0 on each cell.
        plus_bits: packed + signs of each cell.
        edge_offsets, edges: cell i has the edges ``edges[edge_offsets[i]:edge_offsets[i + 1]]``.
    """

    keys: Int64[Tensor, "n"]
    zeros: Int[Tensor, "n d_minus_k"]
    plus_bits: Int32[Tensor, "n words"]
    edge_offsets: Int64[Tensor, "n_plus_1"]
    edges: Int64[Tensor, "m"]

    def __len__(self) -> int:
        return len(self.keys)

    def select(self, chosen: Int64[Tensor, "c"]) -> "Cells":
        """The chosen cells only."""
        sizes = self.edge_offsets.diff()[chosen]
        offsets = torch.nn.functional.pad(sizes.cumsum(0), (1, 0))
        shift = (self.edge_offsets[chosen] - offsets[:-1]).repeat_interleave(sizes)
        edges = self.edges[torch.arange(len(shift), device=shift.device) + shift]
        return Cells(self.keys[chosen], self.zeros[chosen], self.plus_bits[chosen], offsets, edges)

    @staticmethod
    def concatenate(parts: "Sequence[Cells]") -> "Cells":
        """All cells of the parts, which have the same dimension."""
        sizes = torch.cat([part.edge_offsets.diff() for part in parts])
        return Cells(
            torch.cat([part.keys for part in parts]),
            torch.cat([part.zeros for part in parts]),
            torch.cat([part.plus_bits for part in parts]),
            torch.nn.functional.pad(sizes.cumsum(0), (1, 0)),
            torch.cat([part.edges for part in parts]),
        )

    def edge_cells(self) -> Int64[Tensor, "m"]:
        """The cell that each entry of ``edges`` belongs to."""
        cells = torch.arange(len(self), device=self.edges.device)
        return cells.repeat_interleave(self.edge_offsets.diff())


def count_cells(skeleton: Skeleton, dimension: int) -> int:
    """Number of cells of the given dimension, without building them."""
    if dimension == 0:
        return len(skeleton.vertices)
    if dimension == 1:
        return len(skeleton.edges)
    every = torch.arange(len(skeleton.edges), device=skeleton.edges.device)
    keys = [part.keys for part in _incidences(skeleton, every, dimension)]
    return len(torch.unique(torch.cat(keys)))


def collect_cells(
    skeleton: Skeleton,
    dimension: int,
    edges: Int64[Tensor, "n"] | None = None,
    within: int | None = None,
) -> Cells:
    """The cells of dimension k >= 1 around the given edges (all of them if None).

    With ``within``, only cells on which that constraint is 0; all given edges must lie in it.
    A cell comes out whole only if all its edges are given.

    Raises:
        InputError: for a dimension below 1 or above the dimension of the space.
    """
    d = skeleton.constraints.dimension
    if not 1 <= dimension <= d:
        raise InputError(
            f"there are no cells of dimension {dimension} with edges in {d} dimensions"
        )
    if edges is None:
        edges = torch.arange(len(skeleton.edges), device=skeleton.edges.device)
    parts = list(_incidences(skeleton, edges, dimension, within))
    keys, order = torch.sort(torch.cat([part.keys for part in parts]), stable=True)
    cell_edges = torch.cat([part.edges for part in parts])[order]
    keys, counts = torch.unique_consecutive(keys, return_counts=True)
    offsets = torch.nn.functional.pad(counts.cumsum(0), (1, 0))

    one = order[offsets[:-1]]
    zeros = torch.cat([part.zeros for part in parts])[one]
    plus = torch.cat([part.plus for part in parts])[one]
    signs = skeleton.edge_plus_bits(cell_edges[offsets[:-1]])
    for column in plus.unbind(1):
        signs = with_plus(signs, column, skeleton.constraints)
    return Cells(keys, zeros, signs, offsets, cell_edges)


def cell_vertices(
    cells: Cells, skeleton: Skeleton
) -> tuple[Int64[Tensor, "n_plus_1"], Int64[Tensor, "m"]]:
    """Vertices of each cell: cell i has ``vertices[offsets[i]:offsets[i + 1]]``, in order."""
    count = len(skeleton.vertices)
    ends = skeleton.edges[cells.edges].long()
    pairs = torch.unique(cells.edge_cells()[:, None] * count + ends)
    sizes = torch.bincount(pairs // count, minlength=len(cells))
    return torch.nn.functional.pad(sizes.cumsum(0), (1, 0)), pairs % count


def incidence(skeleton: Skeleton, dimension: int) -> Int64[Tensor, "m 2"]:
    """Pairs (i, j) of a k-cell i in a (k + 1)-cell j, sorted by j; k is the given dimension.

    Raises:
        InputError: if there are no cells of dimension k or k + 1.
    """
    if not 0 <= dimension < skeleton.constraints.dimension:
        raise InputError(
            f"incidence({dimension}) is between cells of dimension {dimension} and "
            f"{dimension + 1}, and there are none in {skeleton.constraints.dimension} dimensions"
        )
    if dimension == 0:
        edge = torch.arange(len(skeleton.edges), device=skeleton.edges.device)
        return torch.stack([skeleton.edges.long().flatten(), edge.repeat_interleave(2)], dim=1)
    above = collect_cells(skeleton, dimension + 1)
    if dimension == 1:
        return torch.stack([above.edges, above.edge_cells()], dim=1)
    below = collect_cells(skeleton, dimension)
    # Turning one zero of a cell into + or - gives the cells that it bounds.
    constraints, keys = skeleton.constraints, skeleton.keys
    zeros = below.zeros.long()
    without = below.keys[:, None] - keys.zero[zeros]
    sides = torch.stack([without, without + keys.plus[zeros]])
    exists = torch.stack([zeros < constraints.num_neurons, torch.ones_like(zeros).bool()])
    _, cell, _ = torch.nonzero(exists, as_tuple=True)
    pairs = torch.stack([cell, torch.searchsorted(above.keys, sides[exists])], dim=1)
    return pairs[torch.argsort(pairs[:, 1], stable=True)]


def region_maps(
    layers: Sequence[AffineLayer], constraints: Constraints, signs: Int32[Tensor, "r words"]
) -> tuple[Float[Tensor, "r out d"], Float[Tensor, "r out"]]:
    """Weights and bias of the network in regions with the given packed + signs, with graph."""
    first = layers[0]
    weight = first.weight.expand(len(signs), -1, -1)
    bias = first.bias.expand(len(signs), -1)
    for index, layer in enumerate(layers[1:]):
        active = unpack(signs[:, constraints.words(index)], constraints.widths[index])
        weight = layer.weight @ (weight * active[:, :, None])
        bias = torch.addmm(layer.bias, bias * active, layer.weight.T)
    return weight, bias


@dataclass(frozen=True)
class _Incidences:
    """Pairs of an edge and a cell at it. ``plus`` pads with a box plane, whose + means nothing."""

    keys: Int64[Tensor, "n"]
    edges: Int64[Tensor, "n"]
    zeros: Int[Tensor, "n d_minus_k"]
    plus: Int[Tensor, "n k_minus_1"]


def _incidences(
    skeleton: Skeleton, edges: Int64[Tensor, "n"], dimension: int, within: int | None = None
) -> Iterator[_Incidences]:
    """Yields the pairs for each choice of zeros to turn, and of their new signs."""
    constraints, keys = skeleton.constraints, skeleton.keys
    zeros = skeleton.edge_zeros[edges].long()
    positions = range(zeros.shape[1])
    for turned in combinations(positions, dimension - 1):
        kept = [position for position in positions if position not in turned]
        chosen = zeros[:, list(turned)]
        for sides in product((False, True), repeat=len(turned)):
            is_plus = torch.tensor(sides, dtype=torch.bool, device=zeros.device).expand_as(chosen)
            exists = (is_plus | (chosen < constraints.num_neurons)).all(dim=1)
            if within is not None:
                exists &= (zeros[:, kept] == within).any(dim=1)
            plus = torch.where(is_plus, chosen, constraints.num_constraints - 1)
            key = skeleton.edge_keys[edges] - keys.zero[chosen].sum(1) + keys.plus[plus].sum(1)
            yield _Incidences(key[exists], edges[exists], zeros[:, kept][exists], plus[exists])
