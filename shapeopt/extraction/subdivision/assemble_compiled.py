"""The polygons of a zero set in 3D compiled for the CPU, the twin of ``assemble.py``: one pass over
its edges finds them by hashing their keys, one pass over them puts their corners in order."""

from typing import NamedTuple, no_type_check

import numpy as np
import torch
from jaxtyping import Int64
from torch import Tensor

from shapeopt.compiled import kernel, small_kernel
from shapeopt.complex.keys_compiled import keys_of_cells
from shapeopt.complex.signs import bit_positions
from shapeopt.complex.skeleton import Skeleton
from shapeopt.complex.surface import SurfaceSigns
from shapeopt.complex.zero_set import ZeroSet
from shapeopt.mesh.polygons import does_not_close_up
from shapeopt.sorting import argsort


class _Edges(NamedTuple):
    """The edges on f = 0, and what turns their zeros into + or -.

    Attributes:
        numbers: in the skeleton.
        ends, zeros, keys: of all edges of the skeleton.
        zero_key, plus_key: what each constraint adds to a cell's key if it is 0, or +.
        num_neurons: a zero from there on is a box plane.
    """

    numbers: np.ndarray
    ends: np.ndarray
    zeros: np.ndarray
    keys: np.ndarray
    zero_key: np.ndarray
    plus_key: np.ndarray
    num_neurons: int


class _Found(NamedTuple):
    """The polygons in the order that they are met in.

    Attributes:
        sides: of each edge the polygon where its other zero is -, and that where it is +; -1: none.
        keys: of each polygon.
        sizes: number of edges.
        first: twice an edge, by its place among the edges on f = 0; plus 1 if it is a + there.
    """

    sides: np.ndarray
    keys: np.ndarray
    sizes: np.ndarray
    first: np.ndarray


def polygons_of(skeleton: Skeleton, edges: Int64[Tensor, "e"]) -> ZeroSet:
    """The zero set with the given edges, which are all those of a 3D skeleton on f = 0.

    Raises:
        ExtractionError: if the edges of a polygon do not close up.
    """
    constraints, keys = skeleton.constraints, skeleton.keys
    every = _Edges(
        edges.numpy(),
        skeleton.edges.numpy(),
        skeleton.edge_zeros.numpy(),
        skeleton.edge_keys.numpy(),
        keys.zero.numpy(),
        keys.plus.numpy(),
        constraints.num_neurons,
    )
    found = _Found(*_find(every))
    order = argsort(found.keys)
    kept, ends = _renumber(every, len(skeleton.vertices))
    offsets, corners, sides, is_closed = _arrange(found, order, ends, len(kept))
    if not is_closed:
        raise does_not_close_up()
    at = bit_positions(constraints, torch.device("cpu"))
    words = skeleton.vertex_plus_bits.numpy()
    plus_bits = _signs(found.first[order], every, words, at.words.numpy(), at.bits.numpy())
    vertices = torch.from_numpy(kept)
    zeros = skeleton.vertex_zeros[vertices]
    vertex_bits = skeleton.vertex_plus_bits[vertices]
    return ZeroSet(
        skeleton.vertices[vertices],
        torch.from_numpy(ends),
        torch.from_numpy(sides),
        torch.from_numpy(offsets),
        torch.from_numpy(corners),
        SurfaceSigns(
            constraints,
            zeros,
            vertex_bits,
            skeleton.edge_zeros[edges],
            torch.from_numpy(plus_bits),
            keys_of_cells(keys, vertex_bits, zeros),
        ),
        torch.full((len(order),), -1),
        has_caps=False,
        is_oriented=False,
    )


@kernel
@no_type_check
def edges_on(edge_zeros, constraint):
    """The edges on which the constraint is 0."""
    edges, count = np.empty(len(edge_zeros), np.int64), 0
    for edge in range(len(edge_zeros)):
        is_on = False
        for z in range(edge_zeros.shape[1]):
            is_on |= edge_zeros[edge, z] == constraint
        edges[count] = edge
        count += int(is_on)
    return edges[:count].copy()


@small_kernel
@no_type_check
def _other_zero(edges, number):
    """The constraint that is 0 on an edge beside the output."""
    one, two = edges.zeros[number, 0], edges.zeros[number, 1]
    return two if one == edges.num_neurons - 1 else one


@kernel
@no_type_check
def _find(edges):
    """The polygons by key: all at - sides first, then those at + sides."""
    count = len(edges.numbers)
    slots = 256
    while slots < 4 * count:
        slots *= 2
    polygon_in = np.full(slots, -1, np.int32)
    sides = np.full((count, 2), -1, np.int64)
    keys = np.empty(2 * count, np.int64)
    sizes = np.zeros(2 * count, np.int64)
    first = np.empty(2 * count, np.int64)
    num_polygons = 0
    for side in range(2):
        for i in range(count):
            number = edges.numbers[i]
            zero = _other_zero(edges, number)
            if side == 0 and zero >= edges.num_neurons:
                continue
            key = edges.keys[number] - edges.zero_key[zero]
            if side == 1:
                key += edges.plus_key[zero]
            slot = (key ^ (key >> 32)) & (slots - 1)
            while polygon_in[slot] >= 0 and keys[polygon_in[slot]] != key:
                slot = (slot + 1) & (slots - 1)
            if polygon_in[slot] < 0:
                polygon_in[slot] = num_polygons
                keys[num_polygons] = key
                first[num_polygons] = 2 * i + side
                num_polygons += 1
            polygon = polygon_in[slot]
            sides[i, side] = polygon
            sizes[polygon] += 1
    return sides, keys[:num_polygons], sizes[:num_polygons], first[:num_polygons]


@kernel
@no_type_check
def _renumber(edges, num_vertices):
    """The vertices of the edges in order, and the ends of the edges as places among them."""
    place = np.full(num_vertices, -1, np.int64)
    for number in edges.numbers:
        place[edges.ends[number, 0]] = 0
        place[edges.ends[number, 1]] = 0
    kept = np.empty(num_vertices, np.int64)
    count = 0
    for vertex in range(num_vertices):
        if place[vertex] == 0:
            kept[count] = vertex
            place[vertex] = count
            count += 1
    ends = np.empty((len(edges.numbers), 2), np.int64)
    for i, number in enumerate(edges.numbers):
        ends[i, 0] = place[edges.ends[number, 0]]
        ends[i, 1] = place[edges.ends[number, 1]]
    return kept[:count].copy(), ends


@kernel
@no_type_check
def _arrange(found, order, ends, num_vertices):
    """Offsets and corners of the polygons in the given order, the polygons at each edge, and
    whether all of them close up."""
    num_polygons, count = len(order), len(ends)
    rank = np.empty(num_polygons, np.int64)
    offsets = np.zeros(num_polygons + 1, np.int64)
    for place in range(num_polygons):
        rank[order[place]] = place
        offsets[place + 1] = offsets[place] + found.sizes[order[place]]
    sides = np.empty((count, 2), np.int64)
    polygon_edges = np.empty(offsets[num_polygons], np.int64)
    filled = offsets[:-1].copy()
    for side in range(2):
        for i in range(count):
            if found.sides[i, side] < 0:
                continue
            polygon = rank[found.sides[i, side]]
            polygon_edges[filled[polygon]] = i
            filled[polygon] += 1
    for i in range(count):
        one = rank[found.sides[i, 0]] if found.sides[i, 0] >= 0 else -1
        two = rank[found.sides[i, 1]]
        sides[i, 0] = two if one < 0 else min(one, two)
        sides[i, 1] = -1 if one < 0 else max(one, two)

    corners = np.empty(len(polygon_edges), np.int64)
    # The edges of the polygon at work that end in a vertex; their number tells whose they are.
    at = np.zeros((num_vertices, 2), np.int64)
    degree = np.zeros(num_vertices, np.int64)
    for polygon in range(num_polygons):
        start, stop = offsets[polygon], offsets[polygon + 1]
        for k in range(start, stop):
            for end in range(2):
                vertex = ends[polygon_edges[k], end]
                if degree[vertex] == 2:
                    return offsets, corners, sides, False
                at[vertex, degree[vertex]] = polygon_edges[k]
                degree[vertex] += 1
        edge = polygon_edges[start]
        vertex = ends[edge, 0]
        is_closed = True
        for k in range(start, stop):
            corners[k] = vertex
            is_closed &= degree[vertex] == 2 and (k == start or vertex != corners[start])
            vertex = ends[edge, 0] + ends[edge, 1] - vertex
            edge = at[vertex, 0] + at[vertex, 1] - edge
        if not is_closed or vertex != corners[start]:
            return offsets, corners, sides, False
        for k in range(start, stop):
            degree[corners[k]] = 0
    return offsets, corners, sides, True


@kernel
@no_type_check
def _signs(first, edges, words, column, bit):
    """Packed + signs of polygons given by an edge and its side."""
    signs = np.empty((len(first), words.shape[1]), words.dtype)
    for i in range(len(first)):
        number = edges.numbers[first[i] >> 1]
        u, v = edges.ends[number, 0], edges.ends[number, 1]
        for word in range(words.shape[1]):
            signs[i, word] = words[u, word] | words[v, word]
        if first[i] & 1:
            zero = _other_zero(edges, number)
            signs[i, column[zero]] |= bit[zero]
    return signs
