"""Regions in an order in which next to each other are those that have first layers in common:
compiled for the CPU, for vertices that are solved one after the other."""

from typing import no_type_check

import numpy as np

from shapeopt.compiled import kernel

DIGIT = 11
"""Bits that are left of a layer's signs, mixed, to put regions in order by."""

MIXER = np.uint64(0x9E3779B97F4A7C15)
"""An odd number with bits all over: the leading bits of its multiples are well mixed."""


@kernel
@no_type_check
def in_sign_order(plus_bits, words):
    """The places of regions, sorted by the signs of the first layer, then of the second, and so on:
    next to each other are regions that have layers in common.

    Signs are compared by hashes; those of the last hidden layer do not count.

    Args:
        words: each layer's first column.
    """
    count = len(plus_bits)
    order, ordered, digits = np.arange(count), np.empty(count, np.int64), np.empty(count, np.int64)
    starts = np.empty((1 << DIGIT) + 1, np.int64)
    for layer in range(len(words) - 3, -1, -1):
        starts[:] = 0
        for row in range(count):
            mixed = np.uint64(0)
            for word in range(words[layer], words[layer + 1]):
                mixed = (mixed ^ np.uint64(plus_bits[row, word])) * MIXER
            digits[row] = mixed >> np.uint64(64 - DIGIT)
            starts[digits[row] + 1] += 1
        for digit in range(1 << DIGIT):
            starts[digit + 1] += starts[digit]
        for i in range(count):
            row = order[i]
            place = starts[digits[row]]
            starts[digits[row]] = place + 1
            ordered[place] = row
        order, ordered = ordered, order
    return order
