"""What hangs together, beside an independent library."""

import numpy as np
import pytest
import torch
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from shapeopt.mesh.components import connected


@pytest.mark.parametrize("pair", [[-1, 2], [0, 5]])
def test_what_is_not_there_hangs_on_nothing(pair):
    with pytest.raises(ValueError, match="from 0 to 4"):
        connected(5, torch.tensor([[0, 1], pair]))


@pytest.mark.parametrize("pairs", [0, 10, 300, 2000])
def test_the_first_of_each_component(pairs):
    count = 500
    given = torch.randint(count, (pairs, 2), generator=torch.Generator().manual_seed(0))
    graph = coo_array((np.ones(pairs), tuple(given.numpy().T)), shape=(count, count))
    labels = connected_components(graph, directed=False)[1]
    _, first = np.unique(labels, return_index=True)
    assert connected(count, given).tolist() == first[labels].tolist()
