"""What subdivision gives, with either backend, against truth that neither had a part in."""

from itertools import pairwise

import numpy as np
import pytest
import torch
from torch import nn

import shapeopt
from shapeopt import ExtractionError
from shapeopt.complex import skeleton
from shapeopt.complex.signs import ZobristKeys, sign_vectors
from shapeopt.complex.skeleton import Skeleton
from shapeopt.extraction.extract import prepare
from shapeopt.extraction.subdivision import subdivide
from shapeopt.networks.affine import without_graph
from tests.brute_force import brute_force_vertices
from tests.sample_networks import random_mlp

TINY = {1: [(6,), (4, 3)], 2: [(7,), (4, 3), (3, 2, 2)], 3: [(7,), (4, 3)]}

pytestmark = pytest.mark.parametrize("backend", ["plain", "compiled"])


def skeleton_of(network: nn.Module, bounds, backend: str, dtype=torch.float64) -> Skeleton:
    layers, box = prepare(network.to(dtype), bounds, dtype)
    return subdivide(without_graph(layers), box, backend=backend)


def network_of(*layers: tuple[list, list]) -> nn.Sequential:
    """The MLP with these weights and biases."""
    modules: list[nn.Module] = []
    for weight, bias in layers:
        linear = nn.Linear(len(weight[0]), len(bias)).double()
        linear.weight.data, linear.bias.data = torch.tensor(weight), torch.tensor(bias)
        modules += [linear.double(), nn.ReLU()]
    return nn.Sequential(*modules[:-1])


def rows_of(points: torch.Tensor) -> set[tuple]:
    """Distinct rows; adding 0 turns -0 into 0."""
    return {tuple(row) for row in (points.double() + 0.0).tolist()}


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_a_fold_and_a_zero_on_a_line(backend, dtype):
    network = network_of(([[1.0]], [0.0]), ([[1.0]], [-0.25]))  # relu(x) - 1/4
    skeleton = skeleton_of(network, (-1, 1), backend, dtype)
    assert skeleton.vertices.dtype == dtype
    ends = skeleton.vertices[skeleton.edges.long()].flatten(1).sort(dim=1).values
    assert rows_of(ends) == {(-1, 0), (0, 0.25), (0.25, 1)}
    assert len(skeleton.vertices) == 4


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_two_folds_and_a_bent_zero_set_in_a_square(backend, dtype):
    """f = relu(x) + relu(y) - 1/4: a 2 x 2 grid, and the zero set in three of its squares."""
    network = network_of(([[1.0, 0.0], [0.0, 1.0]], [0.0, 0.0]), ([[1.0, 1.0]], [-0.25]))
    skeleton = skeleton_of(network, (-1, 1), backend, dtype)
    grid = {(x, y) for x in (-1, 0, 1) for y in (-1, 0, 1)}
    zeros = [(0.25, -1), (0.25, 0), (0, 0.25), (-1, 0.25)]
    assert rows_of(skeleton.vertices) == grid | set(zeros)
    assert len(skeleton.vertices) == 13

    edges = {
        tuple(sorted(map(tuple, ends)))
        for ends in (skeleton.vertices[skeleton.edges.long()].double() + 0.0).tolist()
    }
    across = {tuple(sorted(pair)) for pair in pairwise(zeros)}
    assert across < edges
    assert len(edges) == len(skeleton.edges) == 12 + 4 + 3  # of the grid, halves, across

    # x, y, f, then the box's lower and upper plane of each axis.
    signs = sign_vectors(
        skeleton.vertex_plus_bits, skeleton.vertex_zeros, skeleton.constraints
    ).tolist()
    at = {tuple(x): s for x, s in zip(skeleton.vertices.tolist(), signs, strict=True)}
    assert at[0.25, -1] == [1, -1, 0, 1, 1, 0, 1]
    assert at[0.25, 0] == [1, 0, 0, 1, 1, 1, 1]
    assert at[0, 0] == [0, 0, -1, 1, 1, 1, 1]
    assert at[1, 1] == [1, 1, 1, 1, 0, 1, 0]


def test_a_plane_cuts_a_cube_in_a_hexagon(backend):
    network = network_of(([[1.0, 1.0, 1.0]], [-1.5]))
    skeleton = skeleton_of(network, (0, 1), backend)
    corners = {(x, y, z) for x in (0, 1) for y in (0, 1) for z in (0, 1)}
    hexagon = {(x, y, z) for x in (0, 0.5, 1) for y in (0, 0.5, 1) for z in (0, 0.5, 1)}
    hexagon = {point for point in hexagon if sorted(point) == [0, 0.5, 1]}
    assert rows_of(skeleton.vertices) == corners | hexagon
    assert (len(skeleton.vertices), len(skeleton.edges)) == (8 + 6, 12 + 6 + 6)
    on_plane = (skeleton.edge_zeros == 0).any(dim=1)
    lengths = skeleton.vertices[skeleton.edges.long()].diff(dim=1).norm(dim=2)[on_plane]
    assert torch.allclose(lengths, torch.full((6, 1), 0.5**0.5, dtype=torch.float64))


@pytest.mark.parametrize("seed", range(8))
@pytest.mark.parametrize(
    "sizes", [(d, *hidden, 1) for d, choices in TINY.items() for hidden in choices]
)
def test_vertices_are_those_that_brute_force_finds(sizes, seed, backend):
    network = random_mlp(*sizes, seed=seed)
    expected = brute_force_vertices(network, -2.0, 2.0)
    vertices = skeleton_of(network, (-2, 2), backend).vertices.numpy()
    assert len(vertices) == len(expected)
    distances = np.abs(vertices[:, None] - expected[None]).max(axis=2)
    assert distances.min(axis=0).max() < 1e-9
    assert distances.min(axis=1).max() < 1e-9


@pytest.mark.parametrize("dimension", [1, 2, 3])
def test_several_outputs_all_cut(dimension, backend):
    network = random_mlp(dimension, 4, 3, seed=1)
    vertices = skeleton_of(network, (-2, 2), backend).vertices
    assert len(vertices) == len(brute_force_vertices(network, -2.0, 2.0))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("sizes", [(1, 40, 1), (2, 40, 9, 3), (3, 33, 3, 1), (4, 9, 6, 1)])
def test_cells_meet_as_constraints_in_general_position_do(sizes, dtype, backend):
    network = random_mlp(*sizes)
    skeleton = skeleton_of(network, (-2, 2), backend, dtype)
    constraints, ends = skeleton.constraints, skeleton.edges.long()
    # Edges leave a vertex to both sides of a neuron, and to the inner side of a box plane.
    degree = torch.bincount(ends.flatten(), minlength=len(skeleton.vertices))
    is_neuron = skeleton.vertex_zeros < constraints.num_neurons
    assert torch.equal(degree, constraints.dimension + is_neuron.sum(dim=1))
    # An edge's zeros are zeros of both its ends.
    shared = skeleton.edge_zeros[:, None, :, None] == skeleton.vertex_zeros[ends][:, :, None, :]
    assert shared.any(dim=3).all()
    # No two cells are one, and keys say what the signs say.
    every = torch.arange(len(ends))
    plus_bits = skeleton.edge_plus_bits(every)
    edge_keys = skeleton.keys.of_cells(plus_bits, skeleton.edge_zeros, constraints)
    assert torch.equal(edge_keys, skeleton.edge_keys)
    assert len(edge_keys.unique()) == len(edge_keys)


@pytest.mark.parametrize("sizes", [(1, 40, 1), (2, 40, 9, 3), (3, 33, 3, 1), (4, 9, 6, 1)])
def test_signs_are_those_of_the_network_at_the_vertices(sizes, backend):
    network = random_mlp(*sizes)
    skeleton = skeleton_of(network, (-2, 2), backend)
    values, inputs = [], skeleton.vertices
    with torch.no_grad():
        for module in network:
            inputs = module(inputs)
            if isinstance(module, nn.Linear):
                values.append(inputs)
    values = torch.cat(values, dim=1)
    signs = sign_vectors(skeleton.vertex_plus_bits, skeleton.vertex_zeros, skeleton.constraints)
    signs = signs[:, : values.shape[1]]
    assert values[signs == 0].abs().max() < 1e-12
    assert (values * signs)[signs != 0].min() > 0


def test_a_budget_stops_the_extraction_and_says_how_far_it_got(backend):
    network = random_mlp(3, 16, 16, 1)
    with pytest.raises(ExtractionError, match=r"neuron \d+ of layer 1 with [\d,]+ vertices"):
        shapeopt.extract_complex(network, bounds=(-2, 2), max_bytes=400_000, backend=backend)
    shapeopt.extract_complex(network, bounds=(-2, 2), max_bytes=40_000_000, backend=backend)


def test_a_layer_whose_values_pass_the_budget_is_not_evaluated(backend):
    network = random_mlp(3, 16, 2000, 1)
    with pytest.raises(ExtractionError, match=r"neuron 0 of layer 1 with [\d,]+ vertices"):
        shapeopt.extract_complex(network, bounds=(-2, 2), max_bytes=5_000_000, backend=backend)


def test_progress_reports_every_neuron(backend):
    reports = []
    whole = shapeopt.extract_complex(
        random_mlp(2, 5, 4, 1),
        bounds=(-2, 2),
        progress=lambda *report: reports.append(report),
        backend=backend,
    )
    assert [report[:2] for report in reports] == [
        (layer, neuron) for layer, width in enumerate((5, 4, 1)) for neuron in range(width)
    ]
    assert reports[-1][2] == len(whole.vertices)


@pytest.mark.parametrize("dimension", [3, 4])
def test_cells_that_share_a_key_are_noticed(dimension, backend, monkeypatch):
    def few_keys(constraints, device):
        keys = ZobristKeys(constraints, device)
        keys.zero.remainder_(3)
        return keys

    monkeypatch.setattr(skeleton, "zobrist_keys", few_keys)
    with pytest.raises(ExtractionError, match="two cells share a 64-bit key"):
        skeleton_of(random_mlp(dimension, 9, 1), (-1, 1), backend)
