"""Polygons put together by their keys, compiled for the CPU: the twin of what ``assemble.py`` does
in torch, for networks without encoding."""

from collections.abc import Sequence
from typing import NamedTuple, no_type_check

import numpy as np
import torch
from jaxtyping import Int64

from shapeopt.compiled import each_part, in_parts, kernel, small_kernel
from shapeopt.complex.signs import BitPositions, Constraints, ZobristKeys
from shapeopt.complex.surface import SurfaceSigns
from shapeopt.complex.zero_set import ZeroSet
from shapeopt.extraction.tracing.cells_compiled import arrays_of
from shapeopt.extraction.tracing.equal_keys import Distinct
from shapeopt.extraction.tracing.equal_keys_compiled import distinct
from shapeopt.extraction.tracing.zero_cells import ZeroCells
from shapeopt.vectors import fetch, fetch_row

SMALL = 1 << 14
"""Up to so many vertices are found in one part: handing work to threads would cost more."""

AHEAD = 8
"""Vertices or edges whose rows are on their way while one is filled in."""


class _Polygons(NamedTuple):
    """The arrays of :class:`ZeroCells`."""

    keys: np.ndarray
    plus_bits: np.ndarray
    slopes: np.ndarray
    offsets: np.ndarray
    constraints: np.ndarray
    is_plus: np.ndarray
    corners: np.ndarray


class _Vertices(NamedTuple):
    """Room for what is known of vertices."""

    positions: np.ndarray
    zeros: np.ndarray
    plus_bits: np.ndarray


def mesh_of_polygons(
    cells: ZeroCells, constraints: Constraints, keys: ZobristKeys, bits: BitPositions
) -> ZeroSet | None:
    """The mesh, in 3D; None if polygons disagree about where they meet."""
    polygons = _Polygons(*arrays_of(cells))
    named = _keys(polygons, keys.zero.numpy(), keys.plus.numpy())
    vertices, edges = each_part(_distinct, 2, len(named[0]) > SMALL, named)
    first, output = vertices.first.numpy(), constraints.output
    index = np.int16 if constraints.index_dtype == torch.int16 else np.int32
    of_edges = vertices.rank, edges.first, edges.second, edges.counts
    found = _edges(polygons, *(part.numpy() for part in of_edges), output)
    agree, owner, ends, edge_faces, edge_zeros = found
    if not agree:
        return None
    of_bits = bits.words.numpy(), bits.bits.numpy()
    count, words = len(first), cells.plus_bits.shape[1]
    found_vertices = _Vertices(
        np.empty((count, 3)), np.empty((count, 3), index), np.empty((count, words), np.int32)
    )
    given = polygons, (first, owner), output, of_bits, found_vertices
    in_parts(_find_vertices, count, SMALL, *given)
    at, zeros, plus_bits = found_vertices
    return ZeroSet(
        torch.from_numpy(at),
        torch.from_numpy(ends),
        torch.from_numpy(edge_faces),
        cells.offsets,
        vertices.rank,
        SurfaceSigns(
            constraints,
            torch.from_numpy(zeros),
            torch.from_numpy(plus_bits),
            torch.from_numpy(edge_zeros.astype(index)),
            cells.plus_bits,
            vertices.keys,
        ),
        torch.full_like(cells.keys, -1),
        has_caps=False,
        is_oriented=True,
        slopes=cells.slopes,
    )


def _distinct(part: int, named: Sequence[Int64[np.ndarray, "m"]]) -> Distinct:
    return distinct(torch.from_numpy(named[part]))


@kernel
@no_type_check
def _keys(polygons, zero_key, plus_key):
    """The keys of every polygon's corners, and of its edges from there on."""
    keys, offsets = polygons.keys, polygons.offsets
    constraints, is_plus = polygons.constraints, polygons.is_plus
    of_corners = np.empty(len(constraints), np.int64)
    of_edges = np.empty(len(constraints), np.int64)
    for polygon in range(len(keys)):
        start, stop = offsets[polygon], offsets[polygon + 1]
        before = stop - 1
        turn = zero_key[constraints[before]]
        turn_before = turn - plus_key[constraints[before]] if is_plus[before] else turn
        for facet in range(start, stop):
            turn = zero_key[constraints[facet]]
            turn = turn - plus_key[constraints[facet]] if is_plus[facet] else turn
            of_edges[facet] = keys[polygon] + turn
            of_corners[facet] = keys[polygon] + turn + turn_before
            turn_before = turn
    return of_corners, of_edges


@kernel
@no_type_check
def _edges(polygons, vertex, first, second, counts, output):
    """Whether polygons agree about their edges: the two at an edge run through it in opposite
    directions. And the polygon of each facet; and each edge's vertices, polygons and zeros."""
    offsets, constraints = polygons.offsets, polygons.constraints
    owner, following = np.empty(len(vertex), np.int64), np.empty(len(vertex), np.int64)
    for polygon in range(len(offsets) - 1):
        start, stop = offsets[polygon], offsets[polygon + 1]
        for facet in range(start, stop):
            owner[facet] = polygon
            following[facet] = vertex[facet + 1 if facet + 1 < stop else start]
    agree, count = True, len(first)
    ends, faces = np.empty((count, 2), np.int64), np.empty((count, 2), np.int64)
    zeros = np.empty((count, 2), np.int64)
    for edge in range(count):
        ahead = min(edge + AHEAD, count - 1)
        for facet in (first[ahead], second[ahead]):
            fetch(vertex, facet)
            fetch(following, facet)
            fetch(owner, facet)
        fetch(constraints, first[ahead])
        one, two = first[edge], second[edge]
        is_inner = constraints[one] < output
        ends[edge, 0], ends[edge, 1] = vertex[one], following[one]
        faces[edge, 0], faces[edge, 1] = owner[one], owner[two] if is_inner else -1
        zeros[edge, 0], zeros[edge, 1] = constraints[one], output
        agree &= counts[edge] == 1 + is_inner
        if is_inner:
            agree &= vertex[two] == following[one] and following[two] == vertex[one]
    return agree, owner, ends, faces, zeros


@kernel
@no_type_check
def _find_vertices(part, start, stop, polygons, facets, output, of_bits, vertices):
    """Fills in the vertices start..stop, by the polygon that has each first.

    Args:
        facets: the one where each vertex comes first, and the polygon of each facet.
        of_bits: the word and the bit of each constraint's sign.
    """
    (first, owner), (words, bits) = facets, of_bits
    of_polygons, corners = polygons.plus_bits, polygons.corners
    offsets, constraints = polygons.offsets, polygons.constraints
    positions, zeros, plus_bits = vertices
    for vertex in range(start, stop):
        _fetch(first[min(vertex + 2 * AHEAD, stop - 1)], owner, constraints, corners)
        polygon = owner[first[min(vertex + AHEAD, stop - 1)]]
        fetch(offsets, polygon)
        fetch_row(of_polygons, polygon)
        facet, polygon = first[vertex], owner[first[vertex]]
        before = facet - 1 if facet > offsets[polygon] else offsets[polygon + 1] - 1
        one, two = constraints[facet], constraints[before]
        zeros[vertex, 0], zeros[vertex, 1], zeros[vertex, 2] = min(one, two), max(one, two), output
        for word in range(plus_bits.shape[1]):
            plus_bits[vertex, word] = of_polygons[polygon, word]
        plus_bits[vertex, words[one]] &= ~bits[one]
        plus_bits[vertex, words[two]] &= ~bits[two]
        for axis in range(3):
            positions[vertex, axis] = corners[facet, axis]


@small_kernel
@no_type_check
def _fetch(facet, owner, constraints, corners):
    """Has what is known of a facet brought nearer."""
    fetch(owner, facet)
    fetch(constraints, facet)
    fetch_row(corners, facet)
