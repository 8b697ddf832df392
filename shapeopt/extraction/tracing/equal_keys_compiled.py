"""Equal keys compiled for the CPU, the twin of ``equal_keys.py``: found by hashing, so that the
distinct ones alone are sorted."""

from typing import no_type_check

import numpy as np
import torch
from jaxtyping import Int64
from torch import Tensor

from shapeopt.compiled import kernel
from shapeopt.extraction.tracing.equal_keys import Distinct
from shapeopt.sorting import argsort


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
    slots = 256
    while slots < 2 * len(keys):
        slots *= 2
    number_in = np.full(slots, -1, np.int64)
    number = np.empty(len(keys), np.int64)
    first, second = np.empty(len(keys), np.int64), np.empty(len(keys), np.int64)
    counts = np.zeros(len(keys), np.int64)
    found = 0
    for i in range(len(keys)):
        key = keys[i]
        slot = (key ^ (key >> 32)) & (slots - 1)
        while number_in[slot] >= 0 and keys[first[number_in[slot]]] != key:
            slot = (slot + 1) & (slots - 1)
        if number_in[slot] < 0:
            number_in[slot] = found
            first[found] = second[found] = i
            found += 1
        same = number_in[slot]
        if counts[same] == 1:
            second[same] = i
        counts[same] += 1
        number[i] = same
    return number, first[:found], second[:found], counts[:found]
