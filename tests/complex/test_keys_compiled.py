"""Cell keys of the compiled kernel against torch's."""

import pytest
import torch

from shapeopt.complex.keys_compiled import keys_of_cells
from shapeopt.complex.signs import Constraints, ZobristKeys


@pytest.mark.parametrize("widths", [(5, 1), (16, 40, 32, 1)])
def test_keys_are_those_of_torch(widths):
    constraints = Constraints(widths, 3)
    keys = ZobristKeys(constraints, torch.device("cpu"))
    generator = torch.Generator().manual_seed(0)
    # Bits behind the last neuron of a layer are never set.
    used = torch.cat(
        [
            torch.tensor([2 ** min(32, width - first) - 1])
            for width in widths
            for first in range(0, width, 32)
        ]
    )
    words = torch.randint(0, 2**32, (200, len(used)), generator=generator) & used
    packed = (words - 2**32 * (words >= 2**31)).to(torch.int32)
    shape = (200, 3)
    zeros = torch.randint(0, constraints.num_constraints, shape, generator=generator)
    for dtype in (torch.int16, torch.int64):
        given = packed, zeros.to(dtype)
        assert torch.equal(keys_of_cells(keys, *given), keys.of_cells(*given, constraints))
