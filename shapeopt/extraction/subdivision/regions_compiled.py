"""The regions of a skeleton compiled for the CPU, the twin of ``regions.py``: found by hashing
their keys, not by sorting them."""

from dataclasses import dataclass
from typing import NamedTuple, no_type_check

import numpy as np
import torch
from jaxtyping import Bool, Int, Int32
from torch import Tensor

from shapeopt.compiled import PARTS, each_part, in_parts, inner_kernel, kernel
from shapeopt.complex.keys_compiled import keys_of_cells
from shapeopt.complex.signs import Constraints, ZobristKeys, bit_positions
from shapeopt.extraction.subdivision.regions import Regions

SMALL = 1 << 15
"""Regions around fewer vertices are found in one part: each part goes through all of them. Those
around fewer edges are read in one part, too."""


class _Cells(NamedTuple):
    """The cells of a skeleton, and what turns a zero's key into a region's.

    Attributes:
        vertex_zeros, vertex_keys, plus_bits, edges, edge_zeros: of the skeleton.
        zero_key, plus_key: of each constraint.
        column, bit: where each constraint's + sign is in the packed signs.
        num_neurons: a zero from there on is a box plane.
    """

    vertex_zeros: np.ndarray
    vertex_keys: np.ndarray
    plus_bits: np.ndarray
    edges: np.ndarray
    edge_zeros: np.ndarray
    zero_key: np.ndarray
    plus_key: np.ndarray
    column: np.ndarray
    bit: np.ndarray
    num_neurons: int


class _Table(NamedTuple):
    """Regions by key, a part of all keys in each row; open addressing, half of the slots free.

    Attributes:
        region: in each slot; -1 where it is free.
        key, num_corners: of each region.
    """

    region: np.ndarray
    key: np.ndarray
    num_corners: np.ndarray


@dataclass(frozen=True)
class HashedRegions(Regions):
    """What :func:`find_regions` finds.

    Attributes:
        cells: of the skeleton.
        at: the regions around each vertex, by side: bit z is 1 where its zero z is +; -1: none.
    """

    cells: _Cells
    at: np.ndarray

    def count_edges(self) -> Int32[Tensor, "r"]:
        """See :class:`Regions`."""
        counts = np.zeros((PARTS, len(self)), np.int32)
        in_parts(_count_edges, len(self.cells.edges), SMALL, self.cells, self.at, counts)
        return torch.from_numpy(counts.sum(axis=0, dtype=np.int32))

    def edges_of(self, chosen: Bool[Tensor, "r"]) -> Bool[Tensor, "e"]:
        """See :class:`Regions`."""
        edges = np.empty(len(self.cells.edges), np.bool_)
        given = chosen.numpy(), self.offsets.numpy(), self.corners.numpy()
        are_corners = _corners_of(*given, len(self.at))
        cells = self.cells, self.at, edges
        in_parts(_edges_of, len(edges), SMALL, chosen.numpy(), are_corners, *cells)
        return torch.from_numpy(edges)


def find_regions(
    constraints: Constraints,
    keys: ZobristKeys,
    vertex_zeros: Int[Tensor, "v d"],
    plus_bits: Int32[Tensor, "v words"],
    edges: Int[Tensor, "e 2"],
    edge_zeros: Int[Tensor, "e d_minus_1"],
) -> HashedRegions:
    """Groups vertices by the regions around them. The edges' keys are not needed.

    How regions are numbered depends on the number of threads.
    """
    positions = bit_positions(constraints, torch.device("cpu"))
    cells = _Cells(
        vertex_zeros.numpy(),
        keys_of_cells(keys, plus_bits, vertex_zeros).numpy(),
        plus_bits.numpy(),
        edges.numpy(),
        edge_zeros.numpy(),
        keys.zero.numpy(),
        keys.plus.numpy(),
        positions.words.numpy(),
        positions.bits.numpy(),
        constraints.num_neurons,
    )
    count, dimension = vertex_zeros.shape
    at = np.empty((count, 1 << dimension), np.int32)
    threads = min(torch.get_num_threads(), PARTS)
    parts = 1 << (threads - 1).bit_length() if count > SMALL else 1
    slots = 1 << max(8, (2 * count // parts).bit_length())
    while True:
        table = _empty_table(parts, slots)
        counts = each_part(_enter_vertices, parts, parts > 1, cells, table, at)
        if min(counts) >= 0:
            break
        slots *= 2
    first = np.concatenate([[0], np.cumsum(counts)])
    num_corners = [table.num_corners[part, :number] for part, number in enumerate(counts)]
    offsets = np.cumsum(np.concatenate([[0], *num_corners]))
    corners = _group(cells, at, first, parts, offsets)
    grouped = torch.from_numpy(offsets), torch.from_numpy(corners)
    return HashedRegions(dimension, *grouped, cells, at)


def _empty_table(parts: int, slots: int) -> _Table:
    return _Table(
        np.full((parts, slots), -1, np.int32),
        np.empty((parts, slots // 2), np.int64),
        np.zeros((parts, slots // 2), np.int32),
    )


@inner_kernel
@no_type_check
def _turn(cells, vertex, turned):
    """Puts the keys of the regions around a vertex into ``turned``, by side; 0 for none."""
    count = cells.vertex_zeros.shape[1]
    key, outside = cells.vertex_keys[vertex], 0
    for z in range(count):
        zero = cells.vertex_zeros[vertex, z]
        key -= cells.zero_key[zero]
        outside |= int(zero >= cells.num_neurons) << z
    turned[0] = key
    for z in range(count):
        plus = cells.plus_key[cells.vertex_zeros[vertex, z]]
        for side in range(1 << z):
            turned[side + (1 << z)] = turned[side] + plus
    for side in range(1 << count):
        if outside & ~side:  # beyond a box plane
            turned[side] = 0
        elif turned[side] == 0:
            turned[side] = 1


@inner_kernel
@no_type_check
def _find(part, key, table):
    """The slot of a region, or the free one where it belongs."""
    mask = table.region.shape[1] - 1
    at = (key >> 8) & mask
    while table.region[part, at] >= 0 and table.key[part, table.region[part, at]] != key:
        at = (at + 1) & mask
    return at


@kernel
@no_type_check
def _enter_vertices(part, cells, table, at):
    """Enters every vertex into the part's regions around it, and notes them in ``at``, by side;
    -1 for none.

    Returns the number of regions, or -1 if there is no room for them.
    """
    parts, most, count = len(table.key), table.num_corners.shape[1], 0
    turned = np.empty(at.shape[1], np.int64)
    for vertex in range(len(at)):
        _turn(cells, vertex, turned)
        for side in range(at.shape[1]):
            key = turned[side]
            if key & (parts - 1) != part:
                continue
            if key == 0:
                at[vertex, side] = -1
                continue
            slot = _find(part, key, table)
            region = table.region[part, slot]
            if region < 0:
                if count == most:
                    return -1
                region, count = count, count + 1
                table.region[part, slot], table.key[part, region] = region, key
            table.num_corners[part, region] += 1
            at[vertex, side] = region
    return count


@kernel
@no_type_check
def _group(cells, at, first, parts, offsets):
    """The vertices region by region. ``at`` numbers the regions within a part, and afterwards
    through all of them."""
    turned = np.empty(at.shape[1], np.int64)
    corners = np.empty(offsets[-1], np.int32)
    filled = offsets[:-1].copy()
    for vertex in range(len(at)):
        if parts > 1:
            _turn(cells, vertex, turned)
        for side in range(at.shape[1]):
            region = at[vertex, side]
            if region >= 0:
                if parts > 1:
                    region += first[turned[side] & (parts - 1)]
                    at[vertex, side] = region
                corners[filled[region]] = vertex
                filled[region] += 1
    return corners


@inner_kernel
@no_type_check
def _own_zero(cells, edge):
    """The zero that the first end of an edge has for itself, by its place there, and whether the
    edge is on the + side of it: the regions around the edge are those on that side of the end."""
    u, v = cells.edges[edge, 0], cells.edges[edge, 1]
    zero, own = 0, 0
    for place in range(cells.vertex_zeros.shape[1]):
        zero += cells.vertex_zeros[u, place]
    for z in range(cells.edge_zeros.shape[1]):
        zero -= cells.edge_zeros[edge, z]
    for place in range(cells.vertex_zeros.shape[1]):
        own += place * int(cells.vertex_zeros[u, place] == zero)
    is_plus = (
        zero >= cells.num_neurons or (cells.plus_bits[v, cells.column[zero]] & cells.bit[zero]) != 0
    )
    return own, int(is_plus)


@inner_kernel
@no_type_check
def _side(i, own, is_plus):
    """Side i of those that the zero ``own`` is + or - on."""
    below = i & ((1 << own) - 1)
    return ((i - below) << 1) | (is_plus << own) | below


@kernel
@no_type_check
def _count_edges(part, start, stop, cells, at, num_edges):
    """Counts the edges start..stop of each region."""
    for edge in range(start, stop):
        own, is_plus = _own_zero(cells, edge)
        for i in range(at.shape[1] >> 1):
            region = at[cells.edges[edge, 0], _side(i, own, is_plus)]
            if region >= 0:
                num_edges[part, region] += 1


@kernel
@no_type_check
def _corners_of(chosen, offsets, corners, num_vertices):
    """Which vertices are corners of a chosen region."""
    are_corners = np.zeros(num_vertices, np.bool_)
    for region in range(len(chosen)):
        if chosen[region]:
            for k in range(offsets[region], offsets[region + 1]):
                are_corners[corners[k]] = True
    return are_corners


@kernel
@no_type_check
def _edges_of(part, start, stop, chosen, are_corners, cells, at, edges):
    """Which of the edges start..stop have a chosen region around them."""
    for edge in range(start, stop):
        u, v = cells.edges[edge, 0], cells.edges[edge, 1]
        is_chosen = False
        if are_corners[u] and are_corners[v]:
            own, is_plus = _own_zero(cells, edge)
            for i in range(at.shape[1] >> 1):
                region = at[u, _side(i, own, is_plus)]
                is_chosen |= region >= 0 and chosen[region]
        edges[edge] = is_chosen
