"""The regions of a skeleton compiled for the CPU, the twin of ``regions.py``: found by hashing
their keys, not by sorting them."""

from typing import NamedTuple, no_type_check

import numpy as np
import torch

from shapeopt.complex.skeleton import Skeleton
from shapeopt.extraction.compiled import PARTS, each_part, kernel
from shapeopt.extraction.subdivision.regions import Regions


class _Cells(NamedTuple):
    """Cells of one dimension: their zeros, keys, and what turns a zero's key into a region's."""

    zeros: np.ndarray
    keys: np.ndarray
    zero_key: np.ndarray
    plus_key: np.ndarray
    num_neurons: int


class _Table(NamedTuple):
    """Regions by key, a part of all keys in each row; open addressing, half of the slots free."""

    key: np.ndarray
    region: np.ndarray  # -1: free
    vertex: np.ndarray
    side: np.ndarray  # bit k: zero k of the vertex is + in the region
    num_vertices: np.ndarray
    num_edges: np.ndarray
    lower: np.ndarray
    upper: np.ndarray


def find_regions(skeleton: Skeleton) -> Regions:
    """Groups vertices and edges by the regions around them."""
    constraints, keys = skeleton.constraints, skeleton.keys
    numbers = keys.zero.numpy(), keys.plus.numpy(), constraints.num_neurons
    base = keys.of_cells(skeleton.vertex_plus_bits, skeleton.vertex_zeros, constraints)
    of_vertices = _Cells(skeleton.vertex_zeros.numpy(), base.numpy(), *numbers)
    of_edges = _Cells(skeleton.edge_zeros.numpy(), skeleton.edge_keys.numpy(), *numbers)
    around = np.full((1 << of_edges.zeros.shape[1], len(of_edges.keys)), -1, np.int32)
    points = skeleton.vertices.float().numpy()

    slots = 1 << max(8, (4 * len(base) // PARTS).bit_length())
    while True:
        table = _empty_table(slots, constraints.dimension)
        counts = each_part(_enter_vertices, PARTS, True, of_vertices, points, table)
        if min(counts) >= 0:
            break
        slots *= 2
    offsets = np.concatenate([[0], np.cumsum(counts)])
    each_part(_enter_edges, PARTS, True, of_edges, offsets, table, around)

    def joined(rows: np.ndarray) -> torch.Tensor:
        return torch.from_numpy(np.concatenate([rows[p, :n] for p, n in enumerate(counts)]))

    vertex, side = joined(table.vertex), joined(table.side)
    is_plus = (side[:, None] >> torch.arange(constraints.dimension)) & 1
    zeros = skeleton.vertex_zeros[vertex]
    return Regions(
        torch.from_numpy(around),
        vertex,
        torch.where(is_plus.bool(), zeros, constraints.num_constraints - 1),
        joined(table.num_vertices),
        joined(table.num_edges),
        joined(table.lower),
        joined(table.upper),
    )


def _empty_table(slots: int, dimension: int) -> _Table:
    most = slots // 2
    return _Table(
        np.empty((PARTS, slots), np.int64),
        np.full((PARTS, slots), -1, np.int32),
        np.empty((PARTS, most), np.int32),
        np.empty((PARTS, most), np.int32),
        np.zeros((PARTS, most), np.int32),
        np.zeros((PARTS, most), np.int32),
        np.full((PARTS, most, dimension), np.inf, np.float32),
        np.full((PARTS, most, dimension), -np.inf, np.float32),
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
def _enter_vertices(part, cells, points, table):
    """Enters every vertex into the part's regions around it.

    Returns the number of regions, or -1 if there is no room for them.
    """
    d = points.shape[1]
    turned = np.empty(1 << d, np.int64)
    parts, most, count = len(table.key), table.vertex.shape[1], 0
    for vertex in range(len(points)):
        _turn(cells, vertex, turned)
        for side in range(1 << d):
            key = turned[side]
            if key == 0 or key & (parts - 1) != part:
                continue
            at = _find(part, key, table)
            region = table.region[part, at]
            if region < 0:
                if count == most:
                    return -1
                region, count = count, count + 1
                table.key[part, at], table.region[part, at] = key, region
                table.vertex[part, region], table.side[part, region] = vertex, side
            table.num_vertices[part, region] += 1
            for k in range(d):
                x = points[vertex, k]
                table.lower[part, region, k] = min(table.lower[part, region, k], x)
                table.upper[part, region, k] = max(table.upper[part, region, k], x)
    return count


@kernel
@no_type_check
def _enter_edges(part, cells, offsets, table, around):
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
                around[side, edge] = offsets[part] + region
