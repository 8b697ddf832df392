"""The regions of a skeleton compiled for the CPU, the twin of ``regions.py``: found by hashing
their keys, not by sorting them."""

from typing import NamedTuple, no_type_check

import numpy as np
import torch

from shapeopt.compiled import PARTS, each_part, kernel
from shapeopt.complex.skeleton import Skeleton
from shapeopt.extraction.subdivision.regions import Regions
from shapeopt.mesh.ragged import offsets_of

SMALL = 1 << 15
"""Regions around fewer vertices are found in one part: each part goes through all of them."""


class _Cells(NamedTuple):
    """Cells of one dimension: their zeros, keys, and what turns a zero's key into a region's."""

    zeros: np.ndarray
    keys: np.ndarray
    zero_key: np.ndarray
    plus_key: np.ndarray
    num_neurons: int


class _Table(NamedTuple):
    """Regions by key, a part of all keys in each row; open addressing, half of the slots free.

    Attributes:
        key, region: of each slot; -1 where it is free.
        num_corners, num_edges: of each region.
    """

    key: np.ndarray
    region: np.ndarray
    num_corners: np.ndarray
    num_edges: np.ndarray


def find_regions(skeleton: Skeleton) -> Regions:
    """Groups vertices and edges by the regions around them."""
    constraints, keys = skeleton.constraints, skeleton.keys
    numbers = keys.zero.numpy(), keys.plus.numpy(), constraints.num_neurons
    base = keys.of_cells(skeleton.vertex_plus_bits, skeleton.vertex_zeros, constraints)
    of_vertices = _Cells(skeleton.vertex_zeros.numpy(), base.numpy(), *numbers)
    of_edges = _Cells(skeleton.edge_zeros.numpy(), skeleton.edge_keys.numpy(), *numbers)
    at = np.full((len(base), 1 << constraints.dimension), -1, np.int32)
    around = np.full((1 << of_edges.zeros.shape[1], len(of_edges.keys)), -1, np.int32)

    threads = min(torch.get_num_threads(), PARTS)
    parts = 1 << (threads - 1).bit_length() if len(base) > SMALL else 1
    in_threads = parts > 1
    slots = 1 << max(8, (4 * len(base) // parts).bit_length())
    while True:
        table = _empty_table(parts, slots)
        counts = each_part(_enter_vertices, parts, in_threads, of_vertices, table, at)
        if min(counts) >= 0:
            break
        slots *= 2
    first = np.concatenate([[0], np.cumsum(counts)])
    each_part(_enter_edges, parts, in_threads, of_edges, first, table, around)

    def joined(numbers: np.ndarray) -> torch.Tensor:
        return torch.from_numpy(np.concatenate([numbers[p, :n] for p, n in enumerate(counts)]))

    offsets = offsets_of(joined(table.num_corners))
    corners = _group(of_vertices, at, first, parts, offsets.numpy())
    num_edges = joined(table.num_edges)
    return Regions(torch.from_numpy(around), offsets, torch.from_numpy(corners), num_edges)


def _empty_table(parts: int, slots: int) -> _Table:
    most = slots // 2
    return _Table(
        np.empty((parts, slots), np.int64),
        np.full((parts, slots), -1, np.int32),
        np.zeros((parts, most), np.int32),
        np.zeros((parts, most), np.int32),
    )


@kernel
@no_type_check
def _turn(cells, index, turned):
    """Puts the keys of the regions around a cell into ``turned``, by side; 0 for none."""
    zeros = cells.zeros[index]
    count = len(zeros)
    key, outside = cells.keys[index], 0
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


@kernel
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
    """Enters every vertex into the part's regions around it, and notes them in ``at``, by side.

    Returns the number of regions, or -1 if there is no room for them.
    """
    parts, most, count = len(table.key), table.num_corners.shape[1], 0
    turned = np.empty(at.shape[1], np.int64)
    for vertex in range(len(at)):
        _turn(cells, vertex, turned)
        for side in range(at.shape[1]):
            key = turned[side]
            if key == 0 or key & (parts - 1) != part:
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
def _enter_edges(part, cells, first, table, around):
    """Notes the part's regions around every edge, and counts their edges."""
    sides, parts = around.shape[0], len(table.key)
    turned = np.empty(sides, np.int64)
    for edge in range(around.shape[1]):
        _turn(cells, edge, turned)
        for side in range(sides):
            key = turned[side]
            if key == 0 or key & (parts - 1) != part:
                continue
            region = table.region[part, _find(part, key, table)]
            if region >= 0:
                table.num_edges[part, region] += 1
                around[side, edge] = first[part] + region


@kernel
@no_type_check
def _group(cells, at, first, parts, offsets):
    """The vertices region by region. ``at`` numbers the regions within a part."""
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
                corners[filled[region]] = vertex
                filled[region] += 1
    return corners
