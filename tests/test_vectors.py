"""Vectors in kernels."""

import numba
import numpy as np
import pytest

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


@numba.njit
def _arithmetic(one, two, out):
    a, b = vectors.loaded(one, 0), vectors.loaded(two, 0)
    vectors.store(out, 0, vectors.plus(a, b))
    vectors.store(out, 4, vectors.minus(a, b))
    vectors.store(out, 8, vectors.times(a, b))
    vectors.store(out, 12, vectors.smaller(a, b))
    vectors.store(out, 16, vectors.absolute(a))
    vectors.store(out, 20, vectors.over(a, b))
    return vectors.total(a)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_arithmetic_of_both_types(dtype):
    one, two = np.random.default_rng(0).normal(size=(2, 4)).astype(dtype)
    out = np.empty((6, 4), dtype)
    total = _arithmetic(one, two, out)
    wanted = [one + two, one - two, one * two, np.minimum(one, two), np.abs(one), one / two]
    np.testing.assert_array_equal(out, wanted)
    assert total == (one[0] + one[2]) + (one[1] + one[3])


def test_rows_that_do_not_follow_each_other_are_refused():
    with pytest.raises(numba.TypingError, match="rows follow each other"):
        _larger(np.zeros((4, 4))[:, 0], np.zeros(4), np.zeros(4))
