"""Tracing against edge subdivision, which needs no seeds and finds everything."""

import pytest
import torch
from torch import nn

import shapeopt
from shapeopt import EmptySurfaceError, ExtractionError, InputError
from shapeopt.extraction.tracing.seeds import find_seeds
from tests.extraction.tracing.comparing import (
    BACKENDS,
    assert_same,
    cells,
    centred_mlp,
    solver_of,
    traced,
    trained_mlp,
)
from tests.sample_networks import octahedron

pytestmark = pytest.mark.filterwarnings("error:edge subdivision was used")
"""Tracing that gives up would be right here by falling back."""


@pytest.mark.parametrize(
    ("name", "backend"),
    [
        ("bunny2d_4x32", "plain"),
        ("bunny2d_2x100", "plain"),
        ("bunny_3x16", "plain"),
        ("bunny_3x16", "compiled"),
    ],
)
def test_reference_networks(reference_network, name, backend):
    network = reference_network(name).double()
    with torch.no_grad():
        expected = shapeopt.extract_surface(network)
        assert_same(traced(network, backend=backend), expected)
        extractor = shapeopt.Tracing(backend=backend)
        single = shapeopt.extract_surface(network, extractor=extractor, dtype=torch.float32)
    assert single.vertices.dtype == torch.float32
    assert_same(single, expected, tolerance=1e-6)


@pytest.mark.slow
def test_bunny_8x32_has_the_known_counts(reference_network):
    with torch.no_grad():
        surface = shapeopt.extract_surface(reference_network("bunny_8x32"), method="trace")
    assert (surface.num_vertices, surface.num_edges) == (111_642, 223_277)
    assert surface.euler_characteristic == 1


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("sizes", [(3, 16, 16, 1), (3, 8, 24, 8, 1), (3, 40, 1)])
def test_random_networks(sizes, backend, seed):
    network = centred_mlp(*sizes, seed=seed)
    with torch.no_grad():
        assert_same(traced(network, backend=backend), shapeopt.extract_surface(network))


@pytest.mark.parametrize("seed", range(6))
def test_random_networks_in_2d(seed):
    network = centred_mlp(2, 20, 20, 1, seed=seed)
    with torch.no_grad():
        assert_same(traced(network), shapeopt.extract_surface(network))


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(10))
@pytest.mark.parametrize("hidden", [(32, 32, 32), (64, 64, 64), (32, 32, 32, 32)])
def test_larger_random_and_trained_networks(hidden, seed):
    # One of them has a part 0.024 wide, which slips through the default grid.
    for network in (
        centred_mlp(3, *hidden, 1, seed=seed),
        trained_mlp(3, *hidden, 1, seed=seed).double(),
    ):
        with torch.no_grad():
            expected = shapeopt.extract_surface(network)
            assert_same(traced(network, seeds=64), expected)


@pytest.mark.parametrize("backend", BACKENDS)
def test_several_components(backend):
    network = trained_mlp(3, 24, 24, 1, seed=0).double()
    with torch.no_grad():
        expected = shapeopt.extract_surface(network)
        assert expected.euler_characteristic == 6
        assert_same(traced(network, backend=backend), expected)


def test_only_components_with_a_seed_are_found():
    network = trained_mlp(3, 24, 24, 1, seed=0).double()
    seeds = torch.tensor([[-0.1, -0.2, 0.0]])
    with torch.no_grad():
        one = traced(network, seeds=seeds)
        every = traced(network)
    assert one.is_closed
    assert one.euler_characteristic == 2
    assert 0 < one.num_vertices < every.num_vertices
    assert set(one.signs.vertex_keys.tolist()) < set(every.signs.vertex_keys.tolist())


def test_a_part_between_the_points_of_the_grid_is_found_on_the_halved_grid():
    network = octahedron(0.34)
    with torch.no_grad():
        network[0].bias[:3] -= torch.tensor([0.25, 0.25, 0.25])
        network[0].bias[3:] += torch.tensor([0.25, 0.25, 0.25])
        expected = shapeopt.extract_surface(network)
        # Points of the grid of 2 cells are at -0.5, 0 and 0.5, those of the halved one at 0.25.
        assert_same(traced(network, seeds=2), expected)
        # Without a seed subdivision would have made it.
        assert len(find_seeds(solver_of(network, "auto"), 2)) > 0


@pytest.mark.parametrize("method", ["subdivide", "trace"])
def test_gradient_is_that_of_finite_differences(method):
    network = centred_mlp(3, 8, 8, 1, seed=3)
    surface = shapeopt.extract_surface(network, method=method)
    weights = torch.rand(surface.num_vertices, 3, generator=torch.Generator().manual_seed(0))
    order = surface.signs.vertex_keys.argsort()
    (surface.vertices[order] * weights).sum().backward()
    parameter = network[2].weight
    for index in [(0, 0), (3, 5), (7, 2)]:
        values = []
        for step in (1e-7, -1e-7):
            with torch.no_grad():
                parameter[index] += step
                moved = shapeopt.extract_surface(network, method=method)
                parameter[index] -= step
            assert torch.equal(
                moved.signs.vertex_keys.sort().values, surface.signs.vertex_keys[order]
            )
            values.append(
                float((moved.vertices[moved.signs.vertex_keys.argsort()] * weights).sum())
            )
        expected = (values[0] - values[1]) / 2e-7
        assert float(parameter.grad[index]) == pytest.approx(expected, rel=1e-4, abs=1e-5)


def duplicated_neurons(network: nn.Sequential) -> None:
    network[0].weight[1], network[0].bias[1] = network[0].weight[0], network[0].bias[0]
    network[2].weight[4], network[2].bias[4] = 2 * network[2].weight[7], 2 * network[2].bias[7]


def opposite_neurons(network: nn.Sequential) -> None:
    network[0].weight[6], network[0].bias[6] = -network[0].weight[0], -network[0].bias[0]


def dead_neurons(network: nn.Sequential) -> None:
    network[0].weight[1] = 0
    network[0].bias[1] = 0
    network[2].weight[3] = 0
    network[2].bias[3] = -1


def neuron_on_the_box(network: nn.Sequential) -> None:
    network[0].weight[0] = torch.tensor([1.0, 0.0, 0.0])
    network[0].bias[0] = -0.5


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize(
    "degrade", [duplicated_neurons, opposite_neurons, dead_neurons, neuron_on_the_box]
)
def test_coinciding_folds_are_kept_apart_as_in_subdivision(degrade, backend):
    network = centred_mlp(3, 10, 10, 1, seed=1)
    with torch.no_grad():
        degrade(network)
        network[-1].bias -= network(torch.rand(999, 3, dtype=torch.float64) - 0.5).median()
        expected = shapeopt.extract_surface(network)
        found = traced(network, backend=backend)
    assert cells(found)[0] == cells(expected)[0]
    assert cells(found)[1] == cells(expected)[1]


def with_related_neurons(network: nn.Sequential, count: int) -> nn.Sequential:
    """Makes some neurons of each hidden layer copies, negatives or multiples of others, or dead."""
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for layer in [*network][:-1:2]:
            for number in range(count):
                one, other = torch.randint(len(layer.bias), (2,), generator=generator).tolist()
                factor = (1.0, -1.0, 2.0, 0.0)[number % 4]
                layer.weight[one] = factor * layer.weight[other]
                layer.bias[one] = factor * layer.bias[other]
        points = torch.rand(1000, 3, dtype=torch.float64, generator=generator) - 0.5
        network[-1].bias -= network(points).median()
    return network


@pytest.mark.thorough
@pytest.mark.parametrize("backend", BACKENDS)
def test_networks_far_from_general_position_are_traced_or_refused(backend):
    num_traced = 0
    for seed in range(8):
        network = with_related_neurons(centred_mlp(3, 33, 65, 1, seed=seed), 12)
        with torch.no_grad():
            try:
                found = traced(network, backend=backend)
            except ExtractionError:
                continue
            assert cells(found) == cells(shapeopt.extract_surface(network))
        num_traced += 1
    # All of them, where this was written; rounding may decide otherwise elsewhere.
    assert num_traced >= 7


def test_messages():
    network = centred_mlp(3, 6, 1, seed=0)
    with pytest.raises(InputError, match="cap"):
        shapeopt.extract_surface(network, method="trace", cap=True)
    with pytest.raises(InputError, match=r"\[n, 3\]"):
        traced(network, seeds=torch.zeros(5, 2))
    with torch.no_grad():
        network[-1].bias += 100
    with pytest.raises(EmptySurfaceError, match="f ranges from"):
        shapeopt.extract_surface(network, method="trace")
