"""Lists of cells compiled for the CPU, the twin of ``zero_cells.py`` and ``seen_cells.py``."""

from typing import no_type_check

import numpy as np
import torch
from jaxtyping import Bool, Float64, Int32, Int64, UInt32
from torch import Tensor

from shapeopt.compiled import in_parts, kernel
from shapeopt.extraction.tracing.seen_cells import SeenCells
from shapeopt.extraction.tracing.zero_cells import ZeroCells
from shapeopt.sorting import argsort
from shapeopt.vectors import fetch

SMALL = 1 << 14
"""Up to so many cells are put in order in one part: handing work to threads would cost more."""

AHEAD = 8
"""Cells whose rows, or keys whose slots, are on their way while one is copied."""

TYPICAL = 5
"""Corners of a cell."""


def in_order(cells: ZeroCells) -> ZeroCells:
    """See :meth:`ZeroCells.in_order`; in 3D."""
    keys, plus_bits, slopes, offsets, *facets = arrays_of(cells)
    order = argsort(keys)
    out_offsets = np.concatenate([[0], np.cumsum(np.diff(offsets)[order])])
    out_facets = [np.empty_like(part) for part in facets]
    given = order, offsets, tuple(facets), out_offsets, tuple(out_facets)
    in_parts(_order_facets, len(order), SMALL, *given)
    of_cells = (part.take(order, axis=0) for part in (keys, plus_bits, slopes))
    return _cells_of((*of_cells, out_offsets, *out_facets))


def keys_behind(cells: ZeroCells, plus_key: Int64[np.ndarray, "constraints"]) -> Int64[Tensor, "m"]:
    """See :meth:`ZeroCellSolver.keys_behind`.

    Args:
        plus_key: what a + of each constraint adds to a key; 0 for planes of the box.
    """
    keys, _, _, *facets, _ = arrays_of(cells)
    behind = np.empty(len(facets[1]), np.int64)
    in_parts(_turn_keys, len(keys), SMALL, keys, tuple(facets), plus_key, behind)
    return torch.from_numpy(behind)


def across(
    cells: ZeroCells,
    facets: Int64[Tensor, "n"],
    words: Int64[np.ndarray, "constraints"],
    bits: UInt32[np.ndarray, "constraints"],
) -> tuple[Int32[Tensor, "n words"], Float64[Tensor, "n 3"]]:
    """See :meth:`ZeroCellSolver.across`.

    Args:
        facets: in ascending order.
        words, bits: the column and the bit of each constraint's sign; no bit for planes of the box.
    """
    _, plus_bits, _, offsets, constraints, _, corners = arrays_of(cells)
    count = len(facets)
    found = np.empty((count, plus_bits.shape[1]), np.int32), np.empty((count, 3))
    given = (plus_bits, offsets, constraints, corners), facets.numpy(), (words, bits)
    in_parts(_cross, count, SMALL, *given, *found)
    there, middles = found
    return torch.from_numpy(there), torch.from_numpy(middles)


def retained(
    cells: ZeroCells,
    corner: Int64[Tensor, "m"],
    holds: Bool[Tensor, "v"],
    positions: Float64[Tensor, "v 3"],
) -> tuple[ZeroCells, Int32[Tensor, "k words"], Float64[Tensor, "k 3"]]:
    """See :meth:`ZeroCells.retained`."""
    arrays = arrays_of(cells)
    _, plus_bits, _, offsets, *_ = arrays
    given = corner.numpy(), holds.numpy(), positions.numpy()
    held, sizes = _held(offsets, *given[:2])
    kept = _kept(held == sizes, arrays[:3], *arrays[3:6], corner.numpy(), positions.numpy())
    changed, base = _changed(held, sizes, plus_bits, offsets, *given)
    return _cells_of(kept), torch.from_numpy(changed), torch.from_numpy(base)


class SeenCellsInTable(SeenCells):
    """All cells so far, in a hash table."""

    def __init__(self, known: Int64[Tensor, "k"]):
        self._table, self._is_used = np.empty(256, np.int64), np.zeros(256, np.bool_)
        self._count = 0
        self._add(known.numpy())

    def facets_to_new(self, keys: Int64[Tensor, "c"], behind: Int64[Tensor, "m"]) -> Tensor:
        """As in :class:`SeenCells`."""
        self._add(keys.numpy())
        return torch.from_numpy(self._add(behind.numpy()))

    def _add(self, keys: np.ndarray) -> np.ndarray:
        """Where keys stand that are added now."""
        size = len(self._table)
        while size < 2 * (self._count + len(keys)):
            size *= 2
        if size > len(self._table):
            old = self._table[self._is_used]
            self._table, self._is_used = np.empty(size, np.int64), np.zeros(size, np.bool_)
            insert(old, self._table, self._is_used)
        added = insert(keys, self._table, self._is_used)
        self._count += len(added)
        return added


def arrays_of(cells: ZeroCells) -> tuple[np.ndarray, ...]:
    """The attributes of cells for kernels, in their order."""
    of_cells = cells.keys, cells.plus_bits, cells.slopes
    facets = cells.offsets, cells.facet_constraints, cells.is_plus, cells.corners
    return tuple(part.numpy() for part in (*of_cells, *facets))


def _cells_of(arrays: tuple[np.ndarray, ...]) -> ZeroCells:
    return ZeroCells(*(torch.from_numpy(part) for part in arrays))


@kernel
@no_type_check
def insert(keys, table, is_used):
    """Puts keys into a table that has room for them; returns where those stand that were not in
    it, each once."""
    added, count, last = np.empty(len(keys), np.int64), 0, len(table) - 1
    for i in range(len(keys)):
        ahead = keys[min(i + 2 * AHEAD, len(keys) - 1)]
        ahead = (ahead ^ (ahead >> 32)) & last
        fetch(table, ahead)
        fetch(is_used, ahead)
        slot = (keys[i] ^ (keys[i] >> 32)) & last
        while is_used[slot] and table[slot] != keys[i]:
            slot = (slot + 1) & last
        if not is_used[slot]:
            table[slot], is_used[slot] = keys[i], True
            added[count] = i
            count += 1
    return added[:count]


@kernel
@no_type_check
def _turn_keys(part, start, stop, keys, facets, plus_key, behind):
    """Fills in the keys behind the facets of the cells start..stop."""
    offsets, constraints, is_plus = facets
    for cell in range(start, stop):
        for facet in range(offsets[cell], offsets[cell + 1]):
            turned = plus_key[constraints[facet]]
            behind[facet] = keys[cell] + (-turned if is_plus[facet] else turned)


@kernel
@no_type_check
def _cross(part, start, stop, cells, facets, of_signs, there, middles):
    """Fills in the signs behind the facets at start..stop, and their middles."""
    (plus_bits, offsets, constraints, corners), (words, bits) = cells, of_signs
    cell = np.searchsorted(offsets, facets[start], side="right") - 1 if start < stop else 0
    for i in range(start, stop):
        facet = facets[i]
        while offsets[cell + 1] <= facet:
            cell += 1
        crossed = constraints[facet]
        for word in range(plus_bits.shape[1]):
            there[i, word] = plus_bits[cell, word]
        there[i, words[crossed]] ^= bits[crossed]
        following = facet + 1 if facet + 1 < offsets[cell + 1] else offsets[cell]
        for axis in range(3):
            middles[i, axis] = (corners[facet, axis] + corners[following, axis]) / 2


@kernel
@no_type_check
def _order_facets(part, first_place, last_place, order, offsets, facets, out_offsets, out_facets):
    """Fills in the facets of the cells at some places of the order, every polygon from its lowest
    constraint on."""
    constraints, is_plus, corners = facets
    out_constraints, out_is_plus, out_corners = out_facets
    for place in range(first_place, last_place):
        fetch(offsets, order[min(place + 2 * AHEAD, last_place - 1)])
        ahead = offsets[order[min(place + AHEAD, last_place - 1)]]
        fetch(constraints, ahead)
        fetch(is_plus, ahead)
        for line in range(0, 3 * TYPICAL, 8):
            fetch(corners, 3 * ahead + line)
        at = out_offsets[place]
        start, stop = offsets[order[place]], offsets[order[place] + 1]
        first = start
        for facet in range(start, stop):
            if constraints[facet] < constraints[first]:
                first = facet
        for k in range(stop - start):
            facet = first + k if first + k < stop else first + k - (stop - start)
            out_constraints[at], out_is_plus[at] = constraints[facet], is_plus[facet]
            for axis in range(3):
                out_corners[at, axis] = corners[facet, axis]
            at += 1


@kernel
@no_type_check
def _held(offsets, corner, holds):
    """How many corners of each cell hold, and how many it has."""
    held, sizes = np.zeros(len(offsets) - 1, np.int64), np.empty(len(offsets) - 1, np.int64)
    for cell in range(len(held)):
        sizes[cell] = offsets[cell + 1] - offsets[cell]
        for facet in range(offsets[cell], offsets[cell + 1]):
            held[cell] += holds[corner[facet]]
    return held, sizes


@kernel
@no_type_check
def _kept(is_kept, of_cells, offsets, constraints, is_plus, corner, positions):
    """The cells that are kept, with corners at the positions."""
    keys, plus_bits, slopes = of_cells
    out_offsets, cell, total = np.zeros(is_kept.sum() + 1, np.int64), 0, 0
    for old in range(len(is_kept)):
        total += offsets[old + 1] - offsets[old] if is_kept[old] else 0
    out_constraints, out_is_plus = np.empty(total, np.int64), np.empty(total, np.bool_)
    out_corners, at = np.empty((total, 3)), 0
    for old in range(len(is_kept)):
        if not is_kept[old]:
            continue
        for facet in range(offsets[old], offsets[old + 1]):
            out_constraints[at], out_is_plus[at] = constraints[facet], is_plus[facet]
            for axis in range(3):
                out_corners[at, axis] = positions[corner[facet], axis]
            at += 1
        cell += 1
        out_offsets[cell] = at
    kept = keys[is_kept], plus_bits[is_kept], slopes[is_kept]
    return *kept, out_offsets, out_constraints, out_is_plus, out_corners


@kernel
@no_type_check
def _changed(held, sizes, plus_bits, offsets, corner, holds, positions):
    """The signs of cells some of whose corners hold, and the middle of those."""
    is_changed = (held > 0) & (held < sizes)
    middle, place = np.zeros((is_changed.sum(), 3)), 0
    for cell in range(len(held)):
        if not is_changed[cell]:
            continue
        for facet in range(offsets[cell], offsets[cell + 1]):
            if holds[corner[facet]]:
                for axis in range(3):
                    middle[place, axis] += positions[corner[facet], axis] / held[cell]
        place += 1
    return plus_bits[is_changed], middle
