"""Lists of different lengths in one array, against lists of Python."""

import pytest
import torch

from shapeopt.mesh.ragged import offsets_of, owners_of, positions_of

SIZES = [2, 0, 3, 1, 0]


def as_lists(offsets, values):
    return [part.tolist() for part in values.split(offsets.diff().tolist())]


@pytest.mark.parametrize("dtype", [torch.int32, torch.int64])
def test_offsets_and_owners(dtype):
    offsets = offsets_of(torch.tensor(SIZES, dtype=dtype))
    assert offsets.tolist() == [0, 2, 2, 5, 6, 6]
    assert owners_of(offsets).tolist() == [0, 0, 2, 2, 2, 3]


@pytest.mark.parametrize("chosen", [[], [2], [3, 0], [1, 2, 2, 4], [0, 1, 2, 3, 4]])
def test_positions_of_chosen_lists(chosen):
    offsets, values = offsets_of(torch.tensor(SIZES)), torch.arange(10, 16)
    lists = as_lists(offsets, values)
    kept, places = positions_of(offsets, torch.tensor(chosen, dtype=torch.int64))
    assert as_lists(kept, values[places]) == [lists[i] for i in chosen]


def test_no_lists():
    offsets = offsets_of(torch.zeros(0, dtype=torch.int64))
    assert offsets.tolist() == [0]
    assert len(owners_of(offsets)) == 0
