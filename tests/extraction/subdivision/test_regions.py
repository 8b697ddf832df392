"""The regions of a skeleton, with either implementation."""

from dataclasses import replace
from functools import reduce

import pytest
import torch
from torch import nn

from shapeopt.complex.signs import unpack
from shapeopt.complex.skeleton import Skeleton
from shapeopt.extraction.extract import prepare
from shapeopt.extraction.subdivision import regions, regions_compiled, subdivide
from shapeopt.networks.affine import without_graph
from tests.sample_networks import random_mlp


def find_compiled(skeleton: Skeleton) -> regions_compiled.HashedRegions:
    of_vertices = skeleton.vertex_zeros, skeleton.vertex_plus_bits
    of_edges = skeleton.edges, skeleton.edge_zeros
    return regions_compiled.find_regions(
        skeleton.constraints, skeleton.keys, *of_vertices, *of_edges
    )


BACKENDS = {"plain": regions.find_regions, "compiled": find_compiled}
SIZES = pytest.mark.parametrize("sizes", [(1, 9, 9), (2, 16, 16), (3, 12, 8), (4, 6, 5)])


def skeleton_of(network: nn.Module, bounds) -> Skeleton:
    layers, box = prepare(network, bounds, torch.float64)
    return subdivide(without_graph(layers), box)


@pytest.mark.parametrize("backend", BACKENDS)
def test_the_quadrants_of_a_square(backend):
    axes = nn.Linear(2, 2).double()
    axes.weight.data, axes.bias.data = torch.eye(2, dtype=torch.float64), torch.zeros(2).double()
    skeleton = skeleton_of(nn.Sequential(axes), (-1, 2))
    found = BACKENDS[backend](skeleton)
    plus = unpack(plus_bits_of(found, skeleton), 2)
    assert sorted(plus.tolist()) == [[False, False], [False, True], [True, False], [True, True]]
    lower, upper = corners_of(found, skeleton)
    assert torch.equal(lower, plus.double() - 1)
    assert torch.equal(upper, 2 * plus.double())
    assert found.offsets.diff().tolist() == [4] * 4
    assert found.count_edges().tolist() == [4] * 4
    middles = skeleton.vertices[skeleton.edges.long()].mean(dim=1)
    holds = (lower[:, None] <= middles) & (middles <= upper[:, None])
    for region, touching in enumerate(holds.all(dim=2)):
        chosen = torch.arange(len(found)) == region
        assert torch.equal(found.edges_of(chosen), touching)


@SIZES
@pytest.mark.parametrize("backend", BACKENDS)
def test_regions_are_whole_and_tile_the_box(sizes, backend):
    network = random_mlp(*sizes)
    skeleton = skeleton_of(network, (-2, 2))
    found = BACKENDS[backend](skeleton)
    constraints = skeleton.constraints
    assert found.are_whole().all()
    plus_bits = plus_bits_of(found, skeleton)
    assert len(plus_bits.unique(dim=0)) == len(plus_bits) > 1
    # Each region holds the points with its signs, in its box, and there is one for every point.
    points = torch.rand(1000, sizes[0], dtype=torch.float64) * 4 - 2
    patterns, inputs = [], points
    with torch.no_grad():
        for module in network:
            inputs = module(inputs)
            if isinstance(module, nn.Linear):
                patterns.append(inputs > 0)
    of_regions = [
        unpack(plus_bits[:, constraints.words(i)], width)
        for i, width in enumerate(constraints.widths)
    ]
    same = (torch.cat(patterns, dim=1)[:, None] == torch.cat(of_regions, dim=1)).all(dim=2)
    assert torch.equal(same.sum(dim=1), torch.ones(len(points), dtype=torch.int64))
    region = same.long().argmax(dim=1)
    lower, upper = corners_of(found, skeleton)
    assert (points >= lower[region] - 1e-12).all()
    assert (points <= upper[region] + 1e-12).all()


@SIZES
def test_both_find_the_same_regions(sizes):
    skeleton = skeleton_of(random_mlp(*sizes), (-2, 2))
    dropped = torch.rand(len(skeleton.edges)) < 0.1  # as if earlier pruning had left some out
    skeleton = replace(
        skeleton,
        edges=skeleton.edges[~dropped],
        edge_zeros=skeleton.edge_zeros[~dropped],
        edge_keys=skeleton.edge_keys[~dropped],
    )
    plain, compiled = regions.find_regions(skeleton), find_compiled(skeleton)
    assert 1 < len(plain) == len(compiled)
    # The same regions by another numbering.
    numbers = torch.full((len(plain),), -1)
    names = {frozenset(corners): region for region, corners in enumerate(corner_lists(compiled))}
    for region, corners in enumerate(corner_lists(plain)):
        numbers[region] = names[frozenset(corners)]
    assert len(numbers.unique()) == len(plain)
    assert torch.equal(plain.count_edges(), compiled.count_edges()[numbers].long())
    assert not plain.are_whole().all()
    for share in (0.0, 0.1, 0.5, 1.0):
        chosen = torch.rand(len(plain)) < share
        of_compiled = torch.empty_like(chosen).index_put((numbers,), chosen)
        edges = plain.edges_of(chosen)
        assert torch.equal(edges, compiled.edges_of(of_compiled))
        assert share > 0 or not edges.any()
        assert share < 1 or edges.all()


def corner_lists(found):
    return (part.tolist() for part in found.corners.long().split(found.offsets.diff().tolist()))


def corners_of(found, skeleton):
    """Of the boxes around the regions."""
    parts = skeleton.vertices[found.corners.long()].split(found.offsets.diff().tolist())
    lower = torch.stack([part.amin(dim=0) for part in parts])
    return lower, torch.stack([part.amax(dim=0) for part in parts])


def plus_bits_of(found, skeleton):
    """A neuron that is + in a region is so at one of its corners."""
    parts = skeleton.vertex_plus_bits[found.corners.long()].split(found.offsets.diff().tolist())
    return torch.stack([reduce(torch.bitwise_or, part) for part in parts])
