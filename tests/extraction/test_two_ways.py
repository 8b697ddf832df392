"""A union of convex parts by half-spaces and a boolean union, and as any network by its folds."""

import pytest
import torch

import shapeopt
from shapeopt.networks import ConvexUnion

pytest.importorskip("manifold3d")
from shapeopt.extraction.halfspaces import HalfSpaces

SMALL = [(1, 8, 0), (3, 8, 0)]
LARGE = [(6, 10, 1), (10, 12, 2)]


@pytest.mark.parametrize(
    ("parts", "planes", "seed"),
    [*SMALL, *(pytest.param(*case, marks=pytest.mark.slow) for case in LARGE)],
)
def test_both_ways_give_the_same_mesh(parts, planes, seed):
    network = ConvexUnion(parts, planes, seed=seed).double().requires_grad_(False)
    generator = torch.Generator().manual_seed(seed)
    moves = torch.randn(network.planes.shape, generator=generator, dtype=torch.float64)
    network.planes += 0.1 * moves
    one, two = HalfSpaces()(network), shapeopt.extract_surface(network)
    for name in ("num_vertices", "num_edges", "num_faces", "is_closed"):
        assert getattr(one, name) == getattr(two, name)
    torch.testing.assert_close(one.area(), two.area(), rtol=1e-12, atol=0)
    torch.testing.assert_close(one.volume(), two.volume(), rtol=1e-12, atol=0)
    apart = (one.vertices[:, None] - two.vertices).norm(dim=2)
    assert float(apart.amin(dim=1).max()) < 1e-12
    assert float(apart.amin(dim=0).max()) < 1e-12
