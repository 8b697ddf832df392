"""Lists of different lengths in one array, against lists of Python."""

import pytest
import torch

from shapeopt.mesh.ragged import offsets_of, owners_of, places_of, positions_of
from tests.phantom import phantom_cuda

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


def test_a_device_is_not_waited_for_where_sizes_are_known():
    with phantom_cuda() as counts:
        offsets = offsets_of(torch.tensor(SIZES).to("cuda"))
        chosen, mask = torch.tensor([3, 0]).to("cuda"), torch.tensor([0, 1, 1, 0, 1]).to("cuda") > 0
        counts.reset()
        owners = owners_of(offsets, total=6)
        kept, places = positions_of(offsets, chosen, total=3)
        where = places_of(mask, count=3)
        assert counts.syncs == 0
        assert owners.tolist() == [0, 0, 2, 2, 2, 3]
        assert kept.tolist() == [0, 1, 3]
        assert places.tolist() == [5, 0, 1]
        assert where.tolist() == [1, 2, 4]
    assert places_of(torch.tensor([False, True]), count=1).tolist() == [1]
