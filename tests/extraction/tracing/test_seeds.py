"""Seeds from a grid: what lies between its points, and what it costs."""

import pytest
import torch

from shapeopt.complex.box import Box
from shapeopt.extraction.tracing.seeds import grid_seeds, sample_grid


@pytest.mark.parametrize("dimension", [2, 3])
@pytest.mark.parametrize("place", [0.5, 1.0])
def test_specks_between_the_points_of_the_grid_are_found(dimension, place):
    """A ball around the middle of a cell, or of one of its sides, that touches no corner."""
    cells, radius = 8, 0.03
    side = torch.ones(dimension, dtype=torch.float64)
    middle = -0.5 * side + side / cells * 2.5
    middle[-1] += (place - 0.5) / cells
    evaluated = []

    def function(points: torch.Tensor) -> torch.Tensor:
        evaluated.append(points)
        return (points - middle).norm(dim=1) - radius

    samples = sample_grid(function, Box(-0.5 * side, 0.5 * side), cells)
    found = grid_seeds(function, samples, cells)
    assert len(found) > 0
    torch.testing.assert_close(
        (found - middle).norm(dim=1), torch.full((len(found),), radius, dtype=torch.float64)
    )
    # The second call is for the halved cells, which share their points.
    of_halves = evaluated[1]
    assert len(of_halves) > 3**dimension - 2**dimension
    assert len(of_halves.unique(dim=0)) == len(of_halves)
    on_finer_grid = (of_halves + 0.5) * 2 * cells
    torch.testing.assert_close(on_finer_grid, on_finer_grid.round())
