"""The time that kernels are compiled in is known, and no part of a step's."""

import time
from typing import no_type_check

import numba
import numpy as np

from shapeopt.compiled import kernel
from shapeopt.compiling import clock, working_time


@no_type_check
def twice(x):
    return 2 * x


def test_only_compiling_counts():
    doubled = numba.njit(twice)
    before, working, wall = clock.seconds, working_time(), time.perf_counter()
    doubled(np.ones(3))
    wall = time.perf_counter() - wall
    took = clock.seconds - before
    assert 0.005 < took <= wall
    assert abs(working_time() - working - (wall - took)) < 0.05
    doubled(np.ones(5))  # compiled for any length
    assert clock.seconds == before + took


def test_what_was_kept_is_not_compiled():
    kernel(twice)(1.0)
    before = clock.seconds
    kernel(twice)(1.0)
    assert clock.seconds == before
