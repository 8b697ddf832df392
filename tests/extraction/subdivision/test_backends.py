"""The compiled subdivision must give the very cells that the plain torch one gives."""

import subprocess
import sys
from itertools import pairwise

import numpy as np
import pytest
import torch
from torch import nn

from shapeopt.complex.skeleton import Skeleton
from shapeopt.extraction.extract import prepare
from shapeopt.extraction.subdivision import subdivide, values_compiled
from shapeopt.extraction.subdivision.compiled import SMALL_CUT, SMALL_PASS
from shapeopt.extraction.subdivision.kernels import IN_CACHE, KEYS, Pairs, pair
from shapeopt.networks.affine import without_graph
from tests.sample_networks import octahedron, random_mlp


def both(network: nn.Module, bounds=(-2, 2), dtype=torch.float64) -> tuple[Skeleton, Skeleton]:
    layers, box = prepare(network.to(dtype), bounds, dtype)
    layers = without_graph(layers)
    return subdivide(layers, box, backend="plain"), subdivide(layers, box, backend="compiled")


def compiled(network: nn.Module, bounds=(-2, 2), **options) -> Skeleton:
    layers, box = prepare(network, bounds, torch.float64)
    return subdivide(without_graph(layers), box, backend="compiled", **options)


def sorted_cells(skeleton: Skeleton) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Keys of the vertices, edges with the keys of their ends, and positions, in one order."""
    keys = skeleton.keys.of_cells(
        skeleton.vertex_plus_bits, skeleton.vertex_zeros, skeleton.constraints
    )
    keys, order = keys.sort()
    ends = torch.empty_like(order).scatter_(0, order, torch.arange(len(order)))[
        skeleton.edges.long()
    ]
    edge_keys, by_key = skeleton.edge_keys.sort()
    edges = torch.cat([edge_keys[:, None], ends.sort(dim=1).values[by_key]], dim=1)
    return keys, edges, skeleton.vertices[order]


def assert_equal(one: Skeleton, other: Skeleton) -> None:
    keys, edges, vertices = sorted_cells(one)
    other_keys, other_edges, other_vertices = sorted_cells(other)
    assert len(keys.unique()) == len(keys)
    assert torch.equal(keys, other_keys)
    assert torch.equal(edges, other_edges)
    tolerance = 1e4 * torch.finfo(vertices.dtype).eps
    assert torch.allclose(vertices, other_vertices, rtol=0, atol=tolerance)
    assert torch.equal(edge_keys_from_signs(other), other.edge_keys)


def edge_keys_from_signs(skeleton: Skeleton) -> torch.Tensor:
    every = torch.arange(len(skeleton.edges))
    return skeleton.keys.of_cells(
        skeleton.edge_plus_bits(every), skeleton.edge_zeros, skeleton.constraints
    )


@pytest.mark.parametrize(
    "sizes",
    [
        (1, 1),
        (1, 40, 20, 1),
        (2, 70, 40, 1),
        (2, 31, 33, 3),
        (3, 16, 12, 8, 1),
        (3, 40, 1),
        (4, 9, 6, 1),
    ],
)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_equals_plain_on_random_networks(sizes, dtype):
    for seed in range(2):
        assert_equal(*both(random_mlp(*sizes, seed=seed), dtype=dtype))


def large_network() -> nn.Sequential:
    """With cuts and passes that are done in several parts, and rows that do not fit the cache."""
    return random_mlp(4, 32, 12, 1, seed=4)


def test_cuts_large_enough_to_be_shared_among_threads():
    network = large_network()
    assert_equal(*both(network, bounds=(-3, 3)))
    sizes = [16]
    skeleton = compiled(network, (-3, 3), progress=lambda *report: sizes.append(report[2]))
    assert max(after - before for before, after in pairwise(sizes)) > SMALL_CUT
    assert len(skeleton.edges) > SMALL_PASS
    assert len(skeleton.vertices) > 2 * IN_CACHE


def test_values_may_be_evaluated_in_many_parts(monkeypatch):
    """In place, and with more values a vertex in one layer than in the one before, or fewer."""
    monkeypatch.setattr(values_compiled, "SMALL", 16)
    assert_equal(*both(random_mlp(3, 5, 9, 9, 4, 1)))


@pytest.mark.parametrize(
    ("keys", "unpaired"), [([7, 9, 9, 7], 0), ([7, 9, 9, 8], 2), ([7, 7, 9, 7], -1)]
)
def test_each_key_of_a_cut_face_comes_twice(keys, unpaired):
    slots = np.zeros((1, 16), np.int64), np.zeros((1, 16), np.int32)
    pairs = Pairs(*slots, np.zeros((1, 4, 2), np.int32), np.zeros(1, np.int64), np.zeros(1, int))
    pair(0, np.array(keys).reshape(2, 2), pairs)
    assert pairs.num_unpaired.tolist() == [unpaired]


def test_parts_find_the_pairs_of_many_keys():
    rng, parts, count = np.random.default_rng(0), 8, 2 * KEYS
    keys = rng.permutation(np.repeat(rng.integers(1, 2**60, count), 2))
    pairs = Pairs(
        np.zeros((parts, 2 * IN_CACHE), np.int64),
        np.zeros((parts, 2 * IN_CACHE), np.int32),
        np.zeros((parts, count, 2), np.int32),
        np.zeros(parts, np.int64),
        np.zeros(parts, np.int64),
    )
    found = []
    for part in range(parts):
        pair(part, keys.reshape(-1, 4), pairs)
        of_part = pairs.found[part, : pairs.num_found[part]]
        assert (keys[of_part] % parts == part).all()
        found.append(of_part)
    one, two = np.concatenate(found).T
    assert not pairs.num_unpaired.any()
    assert (keys[one] == keys[two]).all()
    assert (one < two).all()
    assert sorted([*one, *two]) == list(range(len(keys)))


def test_the_order_does_not_depend_on_whether_progress_is_reported():
    network = random_mlp(3, 16, 12, 1, seed=3)
    one, other = compiled(network), compiled(network, progress=lambda *report: None)
    assert torch.equal(one.edges, other.edges)
    assert torch.equal(one.vertices, other.vertices)


def with_dead_and_equal_neurons(network: nn.Sequential) -> nn.Sequential:
    """Neurons 0 and 1 of the first layer the same, 2 opposite to it, 3 constant 0."""
    with torch.no_grad():
        first = network[0]
        first.weight[1], first.bias[1] = first.weight[0], first.bias[0]
        first.weight[2], first.bias[2] = -first.weight[0], -first.bias[0]
        first.weight[3] = 0
        first.bias[3] = 0
    return network


@pytest.mark.parametrize("dimension", [1, 2, 3])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_equals_plain_on_degenerate_networks(dimension, dtype):
    for seed in range(3):
        network = with_dead_and_equal_neurons(random_mlp(dimension, 8, 6, 1, seed=seed))
        assert_equal(*both(network, dtype=dtype))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_equals_plain_where_folds_lie_on_each_other_and_on_the_box(dtype):
    assert_equal(*both(octahedron(), bounds=(-0.5, 0.5), dtype=dtype))
    assert_equal(*both(octahedron(), bounds=(0.0, 0.5), dtype=dtype))


@pytest.mark.parametrize("name", ["bunny2d_4x32", "bunny2d_2x100", "bunny_3x16"])
def test_equals_plain_on_reference_networks(reference_network, name):
    assert_equal(*both(reference_network(name), bounds=(-0.5, 0.5)))


def test_the_order_does_not_depend_on_the_number_of_threads():
    threads = torch.get_num_threads()
    network = large_network()
    many = compiled(network, (-3, 3))
    torch.set_num_threads(1)
    try:
        one = compiled(network, (-3, 3))
    finally:
        torch.set_num_threads(threads)
    assert torch.equal(one.edges, many.edges)
    assert torch.equal(one.vertex_zeros, many.vertex_zeros)


def test_import_does_not_load_the_compiler():
    code = "import sys, shapeopt; sys.exit('numba' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_the_result_does_not_hold_the_memory_reserved_for_it():
    skeleton = compiled(large_network(), (-3, 3))
    for part in (skeleton.vertices, skeleton.edges, skeleton.edge_keys, skeleton.vertex_plus_bits):
        assert part.untyped_storage().nbytes() == part.numel() * part.element_size()


@pytest.mark.slow
def test_the_large_reference_complex(reference_network):
    skeleton = compiled(reference_network("bunny_8x32"), (-0.5, 0.5))
    assert (len(skeleton.vertices), len(skeleton.edges)) == (9_967_606, 29_866_998)
