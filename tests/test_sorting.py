"""Sorting by leading bits, against numpy."""

import numpy as np
import pytest

from shapeopt import sorting


@pytest.mark.parametrize("count", [0, 1, 2, 3, 1000, 40_000])
def test_random_keys_take_few_steps(count):
    keys = np.random.default_rng(count).integers(-(2**63), 2**63 - 1, count)
    keys = np.concatenate([keys, keys[: count // 4], keys[: count // 8]])
    order, is_sorted = sorting._by_leading_bits(keys)
    assert is_sorted
    assert np.array_equal(order, np.argsort(keys, kind="stable"))


@pytest.mark.parametrize(
    "numbers",
    [
        np.arange(5000)[::-1],
        np.array([2**63 - 1, -(2**63), 0, -1, 1] * 1000),
        np.repeat(2**40 + np.arange(50), 100)[::-1],
    ],
)
def test_numbers_that_lie_together_are_sorted_as_well(numbers):
    numbers = np.ascontiguousarray(numbers, np.int64)
    assert np.array_equal(sorting.argsort(numbers), np.argsort(numbers, kind="stable"))


def test_it_gives_up_before_it_takes_long():
    _, is_sorted = sorting._by_leading_bits(np.arange(5000)[::-1].copy())
    assert not is_sorted
