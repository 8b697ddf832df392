"""Pruned subdivision must lose no cell of the zero set; its bounds must hold."""

from dataclasses import replace

import pytest
import torch

from shapeopt import EmptySurfaceError, extract_surface
from shapeopt.complex.signs import with_plus
from shapeopt.extraction.extract import prepare
from shapeopt.extraction.subdivision import bounds as pruning
from shapeopt.extraction.subdivision import subdivide
from shapeopt.extraction.subdivision.assemble import zero_set
from shapeopt.extraction.subdivision.bounds import Pruning
from shapeopt.extraction.subdivision.regions import find_regions
from shapeopt.extraction.subdivision.regions_compiled import find_regions as hashed_regions
from shapeopt.networks.affine import without_graph
from tests.sample_networks import octahedron, random_mlp

ALWAYS = Pruning(min_vertices=0, min_layers=1)


def balanced(network):
    """Shifts the output so that it changes sign in the box [-2, 2]^d."""
    with torch.no_grad():
        points = torch.rand(1000, network[0].in_features, dtype=torch.float64) * 4 - 2
        network[-1].bias -= network(points).median()
    return network


def assert_same_surface(network, bounds, backend, dtype=torch.float64) -> tuple[int, int]:
    """Compares both ways to the surface; returns the edges of the whole and the pruned skeleton."""
    layers, box = prepare(network, bounds, dtype)
    layers = without_graph(layers)
    skeletons = [
        subdivide(layers, box, surface_only=only, backend=backend, pruning=ALWAYS)
        for only in (False, True)
    ]
    whole, pruned = (zero_set(layers, box, skeleton, cap=False) for skeleton in skeletons)
    assert torch.equal(
        whole.signs.vertex_keys.sort().values, pruned.signs.vertex_keys.sort().values
    )
    assert edges_by_key(whole).tolist() == edges_by_key(pruned).tolist()
    assert polygons_by_key(whole) == polygons_by_key(pruned)
    return len(skeletons[0].edges), len(skeletons[1].edges)


def edges_by_key(surface):
    ends = surface.signs.vertex_keys[surface.edges].sort(dim=1).values
    return ends.unique(dim=0)


def polygons_by_key(surface):
    keys = surface.signs.vertex_keys[surface.face_vertices]
    return sorted(
        sorted(part.tolist()) for part in keys.split(surface.face_offsets.diff().tolist())
    )


@pytest.mark.parametrize("backend", ["plain", "compiled"])
@pytest.mark.parametrize("sizes", [(2, 12, 12, 8, 1), (3, 8, 8, 8, 1), (3, 33, 4, 1)])
def test_random_surfaces_lose_nothing(sizes, backend):
    for seed in range(3):
        assert_same_surface(balanced(random_mlp(*sizes, seed=seed)), (-2, 2), backend)


@pytest.mark.parametrize("backend", ["plain", "compiled"])
@pytest.mark.parametrize("name", ["bunny2d_4x32", "bunny_3x16"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_reference_surfaces_lose_nothing(reference_network, name, backend, dtype):
    whole, pruned = assert_same_surface(reference_network(name), (-0.5, 0.5), backend, dtype)
    assert pruned < 0.8 * whole


def test_degenerate_surface_loses_nothing():
    assert_same_surface(octahedron(), (-0.5, 0.5), "compiled")


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("sizes", [(1, 5, 5, 1), (2, 9, 7, 5, 1), (3, 9, 7, 5, 1)])
def test_bounds_hold_at_sampled_points(sizes, seed):
    network = balanced(random_mlp(*sizes, seed=seed)).double()
    layers = without_graph(prepare(network, (-2, 2), torch.float64)[0])
    centre = torch.rand(50, sizes[0], dtype=torch.float64) * 4 - 2
    half = torch.rand(50, sizes[0], dtype=torch.float64) * 0.2
    inside = centre + half * (torch.rand(500, 50, sizes[0], dtype=torch.float64) * 2 - 1)
    with torch.no_grad():
        values = network(inside)[..., 0]
    value, slope = pruning._affine_map(layers, [], centre)
    ranges, lower, upper, _ = pruning._forward(layers, value, slope, half)
    slack = 1e-12
    assert (lower <= values.amin(dim=0) + slack).all()
    assert (upper >= values.amax(dim=0) - slack).all()
    below = pruning._lower_bound(layers, ranges, value, slope, half, 1)
    above = -pruning._lower_bound(layers, ranges, value, slope, half, -1)
    assert (below <= values.amin(dim=0) + slack).all()
    assert (above >= values.amax(dim=0) - slack).all()
    # ... and say something: over a point they are the value.
    value, slope = pruning._affine_map(layers, [], inside[0])
    _, lower, upper, _ = pruning._forward(layers, value, slope, torch.zeros_like(half))
    assert torch.allclose(lower, values[0])
    assert torch.allclose(upper, values[0])


@pytest.mark.parametrize("sizes", [(1, 9, 9, 1), (2, 16, 16, 1), (3, 12, 8, 1), (4, 6, 5, 1)])
def test_regions_found_by_hashing_are_those_found_by_sorting(sizes):
    layers, box = prepare(balanced(random_mlp(*sizes)), (-2, 2), torch.float64)
    skeleton = subdivide(without_graph(layers)[:-1], box)
    dropped = torch.rand(len(skeleton.edges)) < 0.1  # as if earlier pruning had left some out
    skeleton = replace(
        skeleton,
        edges=skeleton.edges[~dropped],
        edge_zeros=skeleton.edge_zeros[~dropped],
        edge_keys=skeleton.edge_keys[~dropped],
    )
    plain, compiled = find_regions(skeleton), hashed_regions(skeleton)
    assert 1 < len(plain.vertex) == len(compiled.vertex)
    # The same regions by another numbering.
    known = plain.around >= 0
    assert torch.equal(known, compiled.around >= 0)
    numbers = torch.full((len(plain.vertex),), -1)
    numbers[plain.around[known]] = compiled.around[known].long()
    seen = numbers >= 0
    assert torch.equal(numbers[plain.around[known]], compiled.around[known].long())
    assert len(numbers[seen].unique()) == seen.sum() > 0
    for name in ("num_vertices", "num_edges", "lower", "upper"):
        ours, theirs = getattr(plain, name)[seen], getattr(compiled, name)[numbers[seen]]
        assert torch.equal(ours, theirs.to(ours.dtype))
    assert torch.equal(signs_of(plain, skeleton)[seen], signs_of(compiled, skeleton)[numbers[seen]])


def signs_of(regions, skeleton):
    signs = skeleton.vertex_plus_bits[regions.vertex]
    for neuron in regions.plus.unbind(1):
        signs = with_plus(signs, neuron, skeleton.constraints)
    return signs


def test_a_network_without_zeros_is_reported_with_its_range():
    layers, box = prepare(octahedron(radius=-1.0), (-0.5, 0.5), None)
    layers = without_graph(layers)
    skeleton = subdivide(layers, box, surface_only=True, pruning=ALWAYS)
    with pytest.raises(EmptySurfaceError, match="outside"):
        zero_set(layers, box, skeleton, cap=False)


@pytest.mark.slow
def test_the_large_reference_surface(reference_network):
    with torch.no_grad():
        surface = extract_surface(reference_network("bunny_8x32"), dtype=torch.float64)
    assert (surface.num_vertices, surface.num_edges) == (111_642, 223_277)
