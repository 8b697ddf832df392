"""Vectors in kernels."""

import numba
import numpy as np

from shapeopt import vectors


@numba.njit
def _combined(array, chosen, out):
    value = vectors.repeated(0.5)
    for i in range(len(chosen)):
        at = vectors.number(chosen, i)
        factor = vectors.repeated(vectors.number(array, at))
        value = vectors.multiply_add(factor, vectors.loaded(array, at + 1), value)
    vectors.store(out, 2, value)


def test_a_sum_of_products():
    array, chosen = np.random.default_rng(0).normal(size=20), np.array([15, 0, 3], np.int16)
    out = np.full(8, -1.0)
    _combined(array, chosen, out)
    wanted = 0.5 + sum(array[at] * array[at + 1 : at + 5] for at in chosen)
    np.testing.assert_allclose(out[2:6], wanted, rtol=0, atol=1e-15)
    assert (out[[0, 1, 6, 7]] == -1).all()


@numba.njit
def _larger(one, two, out):
    vectors.store(out, 0, vectors.larger(vectors.loaded(one, 0), vectors.loaded(two, 0)))


def test_the_larger_ones():
    one, two, out = np.array([1.0, -2, np.nan, -np.inf]), np.array([2.0, -3, 3, 0]), np.empty(4)
    _larger(one, two, out)
    np.testing.assert_array_equal(out, [2, -2, np.nan, 0])
