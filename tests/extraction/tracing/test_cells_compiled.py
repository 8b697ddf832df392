"""Lists of cells: the compiled functions give what the plain ones do."""

from dataclasses import fields

import pytest
import torch

from shapeopt.extraction.tracing.cells_compiled import SeenCellsInTable, in_order, retained
from shapeopt.extraction.tracing.seen_cells import SeenCells
from shapeopt.extraction.tracing.zero_cells import ZeroCells


def random_cells(count: int, seed: int = 0) -> ZeroCells:
    """Polygons of 3 to 7 corners, on constraints of which none occurs twice in a cell."""
    generator = torch.Generator().manual_seed(seed)
    sizes = torch.randint(3, 8, (count,), generator=generator)
    total = int(sizes.sum())
    constraints = [torch.randperm(40, generator=generator)[:size] for size in sizes.tolist()]
    return ZeroCells(
        torch.randperm(10 * count, generator=generator)[:count] - 5 * count,
        torch.randint(-(2**31), 2**31, (count, 2), generator=generator).int(),
        torch.rand(count, 3, generator=generator, dtype=torch.float64),
        torch.nn.functional.pad(sizes.cumsum(0), (1, 0)),
        torch.cat(constraints),
        torch.rand(total, generator=generator) < 0.5,
        torch.rand(total, 3, generator=generator, dtype=torch.float64),
    )


def assert_equal(one: ZeroCells, two: ZeroCells) -> None:
    for field in fields(ZeroCells):
        assert torch.equal(getattr(one, field.name), getattr(two, field.name)), field.name


def test_the_order():
    cells = random_cells(200)
    assert_equal(in_order(cells), cells.in_order())


@pytest.mark.parametrize("share", [0.0, 0.3, 0.9, 1.0])
def test_what_is_retained(share):
    cells = random_cells(300)
    generator = torch.Generator().manual_seed(1)
    corner = torch.randint(250, (len(cells.corners),), generator=generator)
    holds = torch.rand(250, generator=generator) < share
    positions = torch.rand(250, 3, generator=generator, dtype=torch.float64)
    kept, plus_bits, middles = retained(cells, corner, holds, positions)
    expected = cells.retained(corner, holds, positions)
    assert_equal(kept, expected[0])
    assert torch.equal(plus_bits, expected[1])
    assert torch.allclose(middles, expected[2], rtol=0, atol=1e-12)


def test_new_cells_are_found_once():
    """Fronts over a grid of numbered cells, each with its four neighbours behind its facets."""
    side = 30
    names = torch.arange(side * side).view(side, side) * 0x9E3779B97F4A7 % 2**62
    around = torch.nn.functional.pad(names, (1, 1, 1, 1), value=-1)
    shifted = [around[1:-1, :-2], around[1:-1, 2:], around[:-2, 1:-1], around[2:, 1:-1]]
    behind = torch.stack([torch.where(part < 0, names, part) for part in shifted], dim=2)
    known, place = names[:3].flatten(), {int(key): i for i, key in enumerate(names.flatten())}
    seen = [SeenCells(known), SeenCellsInTable(known)]
    front = names[4, 4:5]
    total = 0
    while len(front):
        at = torch.tensor([place[int(key)] for key in front])
        keys = behind.view(-1, 4)[at].flatten()
        new = [keys[part.facets_to_new(front, keys)] for part in seen]
        assert torch.equal(*(part.sort().values for part in new))
        total += len(front)
        front = new[1]
    assert total == (side - 3) * side
