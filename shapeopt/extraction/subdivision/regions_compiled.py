"""The regions of a skeleton compiled for the CPU, the twin of ``regions.py``: found by hashing
their keys, not by sorting them."""

from typing import NamedTuple, no_type_check

import numpy as np
import torch

from shapeopt.compiled import PARTS, each_part, in_parts, kernel, small_kernel
from shapeopt.complex.keys_compiled import keys_of_cells
from shapeopt.complex.signs import bit_positions
from shapeopt.complex.skeleton import Skeleton
from shapeopt.extraction.subdivision.regions import Regions
from shapeopt.mesh.ragged import offsets_of

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
        key, region: of each slot; -1 where it is free.
        num_corners: of each region.
    """

    key: np.ndarray
    region: np.ndarray
    num_corners: np.ndarray


def find_regions(skeleton: Skeleton) -> Regions:
    """Groups vertices and edges by the regions around them."""
    cells = _cells_of(skeleton)
    dimension = skeleton.constraints.dimension
    count, num_edges = len(cells.vertex_zeros), len(cells.edges)
    at = np.empty((count, 1 << dimension), np.int32)
    threads = min(torch.get_num_threads(), PARTS)
    parts = 1 << (threads - 1).bit_length() if count > SMALL else 1
    slots = 1 << max(8, (4 * count // parts).bit_length())
    while True:
        table = _empty_table(parts, slots)
        counts = each_part(_enter_vertices, parts, parts > 1, cells, table, at)
        if min(counts) >= 0:
            break
        slots *= 2
    first = np.concatenate([[0], np.cumsum(counts)])
    offsets = offsets_of(
        torch.from_numpy(np.concatenate([table.num_corners[p, :n] for p, n in enumerate(counts)]))
    )
    corners = _group(cells, at, first, parts, offsets.numpy())
    around = np.empty((1 << (dimension - 1), num_edges), np.int32)
    of_regions = np.zeros((PARTS, len(offsets) - 1), np.int32)
    in_parts(_enter_edges, num_edges, SMALL, cells, at, around, of_regions)
    return Regions(
        torch.from_numpy(around),
        offsets,
        torch.from_numpy(corners),
        torch.from_numpy(of_regions.sum(axis=0, dtype=np.int32)),
    )


def _cells_of(skeleton: Skeleton) -> _Cells:
    constraints, keys = skeleton.constraints, skeleton.keys
    positions = bit_positions(constraints, torch.device("cpu"))
    of_vertices = keys_of_cells(keys, skeleton.vertex_plus_bits, skeleton.vertex_zeros)
    return _Cells(
        skeleton.vertex_zeros.numpy(),
        of_vertices.numpy(),
        skeleton.vertex_plus_bits.numpy(),
        skeleton.edges.numpy(),
        skeleton.edge_zeros.numpy(),
        keys.zero.numpy(),
        keys.plus.numpy(),
        positions.words.numpy(),
        positions.bits.numpy(),
        constraints.num_neurons,
    )


def _empty_table(parts: int, slots: int) -> _Table:
    return _Table(
        np.empty((parts, slots), np.int64),
        np.full((parts, slots), -1, np.int32),
        np.zeros((parts, slots // 2), np.int32),
    )


@small_kernel
@no_type_check
def _turn(cells, vertex, turned):
    """Puts the keys of the regions around a vertex into ``turned``, by side; 0 for none."""
    zeros = cells.vertex_zeros[vertex]
    count = len(zeros)
    key, outside = cells.vertex_keys[vertex], 0
    for z in range(count):
        key -= cells.zero_key[zeros[z]]
        if zeros[z] >= cells.num_neurons:
            outside |= 1 << z
    for side in range(1 << count):
        turned[side] = key
        for z in range(count):
            if (side >> z) & 1:
                turned[side] += cells.plus_key[zeros[z]]
        if outside & ~side:  # beyond a box plane
            turned[side] = 0
        elif turned[side] == 0:
            turned[side] = 1


@small_kernel
@no_type_check
def _find(part, key, table):
    """The slot of a region, or the free one where it belongs."""
    mask = table.key.shape[1] - 1
    at = (key >> 8) & mask
    while table.region[part, at] >= 0 and table.key[part, at] != key:
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
                table.key[part, slot], table.region[part, slot] = key, region
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


@kernel
@no_type_check
def _enter_edges(part, start, stop, cells, at, around, num_edges):
    """Notes the regions around the edges start..stop, and counts the edges of each.

    They are some of those around an end. Of the zero that this end has for itself they are on the
    side where the other end is.
    """
    num_zeros = cells.edge_zeros.shape[1]
    places = np.empty(num_zeros, np.int64)
    for edge in range(start, stop):
        u, v = cells.edges[edge, 0], cells.edges[edge, 1]
        others = 0
        for z in range(num_zeros):
            zero, place = cells.edge_zeros[edge, z], 0
            while cells.vertex_zeros[u, place] != zero:
                place += 1
            places[z] = place
            others += place
        own = num_zeros * (num_zeros + 1) // 2 - others
        zero = cells.vertex_zeros[u, own]
        is_plus = (
            zero >= cells.num_neurons
            or (cells.plus_bits[v, cells.column[zero]] & cells.bit[zero]) != 0
        )
        for side in range(1 << num_zeros):
            at_vertex = int(is_plus) << own
            for z in range(num_zeros):
                at_vertex |= ((side >> z) & 1) << places[z]
            region = at[u, at_vertex]
            around[side, edge] = region
            if region >= 0:
                num_edges[part, region] += 1
