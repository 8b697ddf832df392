"""A trace on one thread: the arrays that the kernel ``follow`` works on, and their growth."""

import numpy as np
import torch
from jaxtyping import Float64, Int32, Int64
from torch import Tensor

from shapeopt.extraction.tracing import kernels
from shapeopt.extraction.tracing.cells_compiled import insert
from shapeopt.extraction.tracing.zero_cells import ZeroCells

FACETS = 8
"""Room for facets, per cell; there are 4 on average."""


def followed(
    network: tuple[kernels.FlatNet, kernels.WalkSettings, kernels.Turning],
    keys: Int64[Tensor, "n"],
    plus_bits: Int32[Tensor, "n words"],
    points: Float64[Tensor, "n 3"],
    known: Int64[Tensor, "k"],
) -> ZeroCells | None:
    """The cells in the regions with the given signs and all that are connected to them; None if one
    of them does not close.

    Args:
        keys: of the cells.
        points: one on each.
        known: keys of cells that need no visit, and lead to nothing new.
    """
    seen_keys = np.concatenate([known.numpy(), keys.numpy()])
    size = 2 * len(keys) + 256
    slopes = np.empty((len(keys), 3))
    cells = keys.numpy(), plus_bits.numpy().view(np.uint32), points.numpy(), slopes
    queue = kernels.Queue(*(_grown(part, size) for part in cells))
    room = kernels.FacetRoom(
        np.zeros(size + 1, np.int64),
        np.empty(FACETS * size, np.int64),
        np.empty(FACETS * size, np.bool_),
        np.empty((FACETS * size, 3)),
    )
    seen, counts = _seen(seen_keys, size), (0, len(keys), len(seen_keys))
    while True:
        counts, is_open = kernels.follow(*network, queue, room, seen, counts)
        if is_open:
            return None
        place, length, _ = counts
        if place == length:
            break
        size *= 2
        queue = kernels.Queue(*(_grown(part, size) for part in queue))
        offsets, *facets = room
        grown = (_grown(part, FACETS * size) for part in facets)
        room = kernels.FacetRoom(_grown(offsets, size + 1), *grown)
        seen = _seen(seen.keys[seen.is_used], size)
    found = slice(room.offsets[length])
    return ZeroCells(
        torch.from_numpy(queue.keys[:length]),
        torch.from_numpy(queue.plus_bits[:length].view(np.int32)),
        torch.from_numpy(queue.slopes[:length]),
        torch.from_numpy(room.offsets[: length + 1]),
        *(torch.from_numpy(part[found]) for part in room[1:]),
    )


def _grown(rows: np.ndarray, size: int) -> np.ndarray:
    """A copy with room for more rows."""
    grown = np.empty((size, *rows.shape[1:]), rows.dtype)
    grown[: len(rows)] = rows
    return grown


def _seen(keys: np.ndarray, more: int) -> kernels.SeenKeys:
    """A table of the keys, with room for as many more."""
    slots = 1 << (2 * (len(keys) + more)).bit_length()
    seen = kernels.SeenKeys(np.empty(slots, np.int64), np.zeros(slots, np.bool_))
    insert(keys, *seen)
    return seen
