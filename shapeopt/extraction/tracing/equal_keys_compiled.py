"""Equal keys compiled for the CPU, the twin of ``equal_keys.py``: found by hashing, so that the
distinct ones alone are sorted."""

from typing import no_type_check

import numpy as np
import torch
from jaxtyping import Int64
from torch import Tensor

from shapeopt.compiled import kernel, small_kernel
from shapeopt.extraction.tracing.equal_keys import Distinct
from shapeopt.sorting import argsort
from shapeopt.vectors import fetch

AHEAD = 16
"""Keys whose places in memory are on their way while one is looked for."""

FREE = -1
"""The number of no key."""


def distinct(keys: Int64[Tensor, "n"]) -> Distinct:
    """See :class:`Distinct`."""
    number, first, second, counts = _number(keys.numpy())
    named = keys.numpy()[first]
    order = argsort(named)
    place = np.empty_like(order)
    place[order] = np.arange(len(order))
    found = named[order], first[order], second[order], counts[order], place[number]
    return Distinct(*(torch.from_numpy(part) for part in found))


@kernel
@no_type_check
def _number(keys):
    """Numbers the keys in the order in which they come first; see :class:`Distinct`."""
    count, last, slots = len(keys), len(keys) - 1, 256
    while slots < 2 * count:
        slots *= 2
    table = np.full((slots, 2), FREE, np.int64)  # a key, and its number
    number, first, found = np.empty(count, np.int64), np.empty(count, np.int64), 0
    for i in range(count):
        fetch(table, 2 * _slot(keys[min(i + AHEAD, last)], slots))
        key = keys[i]
        slot = _slot(key, slots)
        while table[slot, 1] != FREE and table[slot, 0] != key:
            slot = (slot + 1) & (slots - 1)
        if table[slot, 1] == FREE:
            table[slot, 0], table[slot, 1] = key, found
            first[found] = i
            found += 1
        number[i] = table[slot, 1]
    first = first[:found]
    second, counts = first.copy(), np.zeros(found, np.int64)
    for i in range(count):
        fetch(second, number[min(i + AHEAD, last)])
        fetch(counts, number[min(i + AHEAD, last)])
        same = number[i]
        if counts[same] == 1:
            second[same] = i
        counts[same] += 1
    return number, first, second, counts


@small_kernel
@no_type_check
def _slot(key, slots):
    return (key ^ (key >> 32)) & (slots - 1)
