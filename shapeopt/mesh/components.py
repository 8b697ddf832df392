"""What hangs together."""

import numpy as np
import torch
from jaxtyping import Int64
from torch import Tensor


def connected(count: int, pairs: Int64[Tensor, "n 2"]) -> Int64[Tensor, "count"]:
    """For each of ``count`` things the first one that the pairs connect it to, or itself."""
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    one, two = pairs.cpu().numpy().T
    graph = coo_array((np.ones(len(one), np.int8), (one, two)), shape=(count, count))
    _, labels = connected_components(graph, directed=False)
    _, first = np.unique(labels, return_index=True)
    return torch.from_numpy(first[labels].astype(np.int64)).to(pairs.device)
