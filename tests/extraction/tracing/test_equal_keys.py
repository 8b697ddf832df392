"""Equal keys, by sorting and by hashing."""

import pytest
import torch

from shapeopt.extraction.tracing import equal_keys, equal_keys_compiled

BACKENDS = {"plain": equal_keys.distinct, "compiled": equal_keys_compiled.distinct}


@pytest.mark.parametrize("backend", BACKENDS)
def test_by_hand(backend):
    found = BACKENDS[backend](torch.tensor([7, -3, 7, 0, 7, -3]))
    assert found.keys.tolist() == [-3, 0, 7]
    assert found.first.tolist() == [1, 3, 0]
    assert found.second.tolist() == [5, 3, 2]
    assert found.counts.tolist() == [2, 1, 3]
    assert found.rank.tolist() == [2, 0, 2, 1, 2, 0]


@pytest.mark.parametrize("count", [0, 1, 10_000])
def test_both_find_the_same(count):
    # Among them keys that differ in their upper halves alone, and the largest ones.
    keys = torch.randint(-50, 50, (count,)) * 2 ** torch.randint(0, 60, (count,))
    for one, two in zip(*(distinct(keys) for distinct in BACKENDS.values()), strict=True):
        assert torch.equal(one, two)
