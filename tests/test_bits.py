"""The lowest bit of a word."""

import numpy as np

from shapeopt.bits import lowest_bit
from shapeopt.compiled import kernel


@kernel
def places(words):
    found = np.empty(len(words), np.int64)
    for i in range(len(words)):
        found[i] = lowest_bit(words[i])
    return found


def test_every_place():
    for dtype, width in ((np.uint32, 32), (np.int64, 63)):
        place = np.arange(width)
        alone = (np.ones(width, dtype) << place.astype(dtype)).astype(dtype)
        assert np.array_equal(places(alone), place)
        assert np.array_equal(places(alone | dtype(1 << (width - 1))), place)
