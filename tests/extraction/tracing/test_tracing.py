"""Tracing against edge subdivision, which needs no seeds and finds everything."""

from contextlib import suppress
from itertools import pairwise

import numpy as np
import pytest
import torch
from torch import nn

import shapeopt
from shapeopt import EmptySurfaceError, ExtractionError, InputError, PolyhedralSurface
from shapeopt.extraction.extract import prepare
from shapeopt.extraction.tracing import trace as tracing
from shapeopt.extraction.tracing.assemble import assemble
from shapeopt.extraction.tracing.compiled import CompiledZeroCellSolver
from shapeopt.extraction.tracing.plain import ZeroCellSolver
from shapeopt.extraction.tracing.seeds import grid_seeds, sample_grid
from tests.sample_networks import octahedron, random_mlp


def centred_mlp(*sizes: int, seed: int) -> nn.Sequential:
    """A random network whose zero set halves the box."""
    network = random_mlp(*sizes, seed=seed)
    with torch.no_grad():
        values = network(torch.rand(1000, sizes[0], dtype=torch.float64) - 0.5)
        network[-1].bias -= values.median()
    return network


def trained_mlp(*sizes: int, seed: int, steps: int = 200) -> nn.Sequential:
    """A network trained on the distance to three balls, which give it several components."""
    generator = torch.Generator().manual_seed(seed)
    centres = torch.tensor([[-0.25, -0.25, 0.0], [0.25, -0.2, 0.1], [0.0, 0.25, -0.1]])
    centres = centres[:, : sizes[0]]
    torch.manual_seed(seed)
    network = shapeopt.sdf_network(sizes[1], len(sizes) - 2, sizes[0])
    optimiser = torch.optim.Adam(network.parameters(), lr=1e-2)
    for _ in range(steps):
        fit_step(network, optimiser, centres, generator)
    return network


def fit_step(network, optimiser, centres, generator, radius=0.15) -> None:
    points = torch.rand(1024, centres.shape[1], generator=generator) - 0.5
    distances = (points[:, None] - centres).norm(dim=2).amin(dim=1) - radius
    loss = (network(points)[:, 0] - distances).abs().mean()
    optimiser.zero_grad()
    loss.backward()
    optimiser.step()


def cells(surface: PolyhedralSurface):
    """Vertices, edges and polygons as sorted keys; a polygon as its cycle from the least key on."""
    assert surface.signs is not None
    keys = surface.signs.vertex_keys
    corners = keys[surface.face_vertices].tolist()
    offsets = surface.face_offsets.tolist()
    cycles = []
    for start, end in pairwise(offsets):
        cycle = corners[start:end]
        least = cycle.index(min(cycle))
        cycles.append((*cycle[least:], *cycle[:least]))
    edges = keys[surface.edges].sort(dim=1).values.tolist()
    return sorted(keys.tolist()), sorted(map(tuple, edges)), sorted(cycles)


def assert_same(traced: PolyhedralSurface, subdivided: PolyhedralSurface, tolerance=1e-9) -> None:
    for found, expected in zip(cells(traced), cells(subdivided), strict=True):
        assert found == expected
    one, two = traced.signs.vertex_keys.argsort(), subdivided.signs.vertex_keys.argsort()
    for field in ("vertex_zeros", "vertex_plus_bits"):
        mine, theirs = getattr(traced.signs, field)[one], getattr(subdivided.signs, field)[two]
        assert torch.equal(mine.sort(dim=1).values, theirs.sort(dim=1).values)
    moved = (traced.vertices[one] - subdivided.vertices[two]).abs().max()
    assert float(moved) < tolerance
    traced_normals = sorted(traced.face_normals.double().sum(dim=1).tolist())
    normals = sorted(subdivided.face_normals.double().sum(dim=1).tolist())
    assert np.allclose(traced_normals, normals, atol=1e3 * tolerance)


@pytest.mark.parametrize("name", ["bunny2d_4x32", "bunny2d_2x100", "bunny_3x16"])
def test_reference_networks(reference_network, name):
    network = reference_network(name).double()
    with torch.no_grad():
        expected = shapeopt.extract_surface(network)
        assert_same(shapeopt.extract_surface(network, method="trace"), expected)
        single = shapeopt.extract_surface(network, method="trace", dtype=torch.float32)
    assert single.vertices.dtype == torch.float32
    assert_same(single, expected, tolerance=1e-6)


@pytest.mark.slow
def test_bunny_8x32_has_the_known_counts(reference_network):
    with torch.no_grad():
        surface = shapeopt.extract_surface(reference_network("bunny_8x32"), method="trace")
    assert (surface.num_vertices, surface.num_edges) == (111_642, 223_277)
    assert surface.euler_characteristic == 1


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("sizes", [(3, 16, 16, 1), (3, 8, 24, 8, 1), (2, 20, 20, 1), (3, 40, 1)])
def test_random_networks(sizes, seed):
    network = centred_mlp(*sizes, seed=seed)
    with torch.no_grad():
        expected = shapeopt.extract_surface(network)
        assert_same(shapeopt.extract_surface(network, method="trace"), expected)


def tracer_of(network: nn.Module, **settings):
    """Gives the surface of the network, warm from the second call on."""
    extractor = shapeopt.Tracing(**settings)
    return lambda: shapeopt.extract_surface(network, extractor=extractor)


def test_in_plain_torch():
    network = trained_mlp(3, 16, 16, 1, seed=0)
    tracer = tracer_of(network, backend="plain")
    with torch.no_grad():
        for _ in range(4):
            expected = shapeopt.extract_surface(network, dtype=torch.float64)
            cold = shapeopt.extract_surface(network, method="trace", backend="plain")
            assert_same(cold, expected, 1e-5)
            assert_same(tracer(), expected, 1e-5)
            for parameter in network.parameters():
                parameter += 1e-4 * torch.randn_like(parameter)


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
            assert_same(shapeopt.extract_surface(network, method="trace", seeds=64), expected)


def test_several_components():
    network = trained_mlp(3, 24, 24, 1, seed=0).double()
    with torch.no_grad():
        expected = shapeopt.extract_surface(network)
        assert expected.euler_characteristic == 6
        assert_same(shapeopt.extract_surface(network, method="trace"), expected)


def test_only_components_with_a_seed_are_found():
    network = trained_mlp(3, 24, 24, 1, seed=0).double()
    seeds = torch.tensor([[-0.1, -0.2, 0.0]])
    with torch.no_grad():
        one = shapeopt.extract_surface(network, method="trace", seeds=seeds)
        every = shapeopt.extract_surface(network, method="trace")
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
        assert_same(shapeopt.extract_surface(network, method="trace", seeds=2), expected)


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


@pytest.mark.parametrize(
    "degrade", [duplicated_neurons, opposite_neurons, dead_neurons, neuron_on_the_box]
)
def test_coinciding_folds_are_kept_apart_as_in_subdivision(degrade):
    network = centred_mlp(3, 10, 10, 1, seed=1)
    with torch.no_grad():
        degrade(network)
        network[-1].bias -= network(torch.rand(999, 3, dtype=torch.float64) - 0.5).median()
        expected = shapeopt.extract_surface(network)
        traced = shapeopt.extract_surface(network, method="trace")
    assert cells(traced)[0] == cells(expected)[0]
    assert cells(traced)[1] == cells(expected)[1]


def solvers(network):
    """The plain and the compiled solver for a network."""
    constant, domain = tracing.in_double(*prepare(network, (-0.5, 0.5), None))
    scale = sample_grid(constant, domain, 8).scale
    return ZeroCellSolver(constant, domain, scale), CompiledZeroCellSolver(constant, domain, scale)


SIZES = [(3, 5, 1), (3, 16, 16, 1), (3, 40, 33, 7, 1)]


@pytest.mark.parametrize("sizes", SIZES)
def test_the_compiled_pieces_are_those_of_torch(sizes):
    network = centred_mlp(*sizes, seed=0)
    mesh = shapeopt.extract_surface(network, dtype=torch.float64).detach()
    middles = torch.segment_reduce(
        mesh.vertices[mesh.face_vertices], "mean", lengths=mesh.face_offsets.diff()
    )
    one, other = (solver.solve(mesh.signs.face_plus_bits, middles) for solver in solvers(network))
    for name in ("keys", "signs", "offsets", "facets", "is_plus"):
        assert torch.equal(getattr(one, name), getattr(other, name))
    assert torch.allclose(one.corners, other.corners, rtol=0, atol=1e-9)


@pytest.mark.parametrize("shift", [0.0, 1e-4, 1e-3])
@pytest.mark.parametrize("sizes", SIZES)
def test_the_compiled_vertices_are_those_of_torch(sizes, shift):
    network = centred_mlp(*sizes, seed=0)
    mesh = shapeopt.extract_surface(network, dtype=torch.float64).detach()
    given = mesh.vertices, mesh.signs.vertex_zeros.long(), mesh.signs.vertex_plus_bits
    torch.manual_seed(0)
    with torch.no_grad():
        for parameter in network.parameters():
            parameter += shift * torch.randn_like(parameter)
    (positions, holds, rows), compiled = (
        solver.solve_vertices(*given) for solver in solvers(network)
    )
    assert torch.equal(holds, compiled[1])
    assert holds.double().mean() > (0.1 if shift else 0.99)
    assert shift < 1e-3 or sizes == SIZES[0] or not holds.all()
    assert torch.allclose(positions[holds], compiled[0][holds], rtol=0, atol=1e-9)
    assert torch.allclose(rows, compiled[2], rtol=0, atol=1e-9)


def test_lost_polygons_are_an_error_and_not_a_hole():
    layers, box = prepare(centred_mlp(3, 10, 1, seed=0), (-0.5, 0.5), None)
    constant, domain = tracing.in_double(layers, box)
    samples = sample_grid(constant, domain, 8)
    solver = ZeroCellSolver(constant, domain, samples.scale)
    seeds = grid_seeds(constant, samples, 8)
    pieces = tracing.follow(solver, tracing.cells_at(solver, seeds))
    assemble(solver, pieces)
    some = pieces.select(torch.arange(1, len(pieces)), pieces.corners)
    with pytest.raises(ExtractionError, match="disagree"):
        assemble(solver, some)


def test_messages():
    network = centred_mlp(3, 6, 1, seed=0)
    with pytest.raises(InputError, match="cap"):
        shapeopt.extract_surface(network, method="trace", cap=True)
    with torch.no_grad():
        network[-1].bias += 100
    with pytest.raises(EmptySurfaceError, match="f ranges from"):
        shapeopt.extract_surface(network, method="trace")


@pytest.mark.parametrize(("dimension", "rate"), [(3, 1e-3), (3, 1e-2), (2, 3e-3)])
def test_warm_start_equals_subdivision_in_every_step(dimension, rate):
    torch.manual_seed(0)
    network = shapeopt.sdf_network(12, 2, dimension)
    optimiser = torch.optim.Adam(network.parameters(), lr=rate)
    generator = torch.Generator().manual_seed(0)
    tracer = tracer_of(network, search_every=1000)
    changed, before = 0, []
    for _ in range(40):
        fit_step(network, optimiser, torch.zeros(1, dimension), generator, radius=0.3)
        with torch.no_grad():
            surface = tracer()
            expected = shapeopt.extract_surface(network, dtype=torch.float64)
        assert_same(surface, expected, tolerance=1e-5)
        changed += before != cells(surface)
        before = cells(surface)
    assert changed > 20


def test_warm_start_survives_a_jump_and_finds_new_components():
    network = trained_mlp(3, 12, 12, 1, seed=1, steps=100)
    other = trained_mlp(3, 12, 12, 1, seed=2, steps=100)
    tracer = tracer_of(network, search_every=1)
    with torch.no_grad():
        tracer()
        network.load_state_dict(other.state_dict())
        for _ in range(2):
            surface = tracer()
        assert_same(surface, shapeopt.extract_surface(network, dtype=torch.float64), 1e-5)


def test_warm_start_keeps_a_part_that_the_search_cannot_see():
    network = octahedron(0.3)
    tracer = tracer_of(network, seeds=3, search_every=0)
    with torch.no_grad():
        network[0].weight += 0.1 * torch.rand(6, 3)  # no more coinciding folds
        tracer()
        for radius in torch.linspace(0.3, 0.02, 30):
            network[2].bias.fill_(-radius)
            surface = tracer()
        assert_same(surface, shapeopt.extract_surface(network), 1e-9)


def test_warm_start_has_the_gradient_of_a_cold_start():
    network = trained_mlp(3, 10, 10, 1, seed=4).double()
    tracer = tracer_of(network)
    with torch.no_grad():
        tracer()
        network[0].bias += 1e-4
    gradients = []
    for surface in (tracer(), shapeopt.extract_surface(network)):
        network.zero_grad()
        (surface.edge_lengths().sum() + surface.dihedral_angles()[0].sum()).backward()
        gradients.append([parameter.grad.clone() for parameter in network.parameters()])
    for mine, theirs in zip(*gradients, strict=True):
        assert torch.allclose(mine, theirs, rtol=1e-6, atol=1e-8)


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


@pytest.mark.parametrize("seed", range(8))
def test_tracing_ends_on_networks_far_from_general_position(seed):
    network = with_related_neurons(centred_mlp(3, 33, 65, 1, seed=seed), 12)
    # It may say that it cannot follow the surface.
    with torch.no_grad(), suppress(ExtractionError):
        assert shapeopt.extract_surface(network, method="trace").num_faces > 0


def test_waves_that_come_round_are_an_error(monkeypatch):
    monkeypatch.setattr(tracing, "FRONTS_TO_CHECK", 3)
    solver, _ = solvers(centred_mlp(3, 10, 10, 1, seed=0))
    samples = sample_grid(solver.layers, solver.box, 8)
    found = tracing.cells_at(solver, grid_seeds(solver.layers, samples, 8)[:1])
    inner = torch.nonzero(found.facets < solver.constraints.output)[:1, 0]
    behind = solver.flipped(found.signs, found.facets[inner])
    pair = solver.solve(behind, found.facet_middles()[inner])
    back = torch.nonzero(pair.facets == found.facets[inner])[:1, 0]
    there_and_back = {int(found.keys): inner, int(pair.keys): back}
    monkeypatch.setattr(
        tracing, "_new_neighbours", lambda _, pieces, known: there_and_back[int(pieces.keys)]
    )
    with pytest.raises(ExtractionError, match="disagree"):
        tracing.follow(solver, found)


def test_vertices_that_are_no_numbers_do_not_hold():
    network = centred_mlp(3, 10, 1, seed=0)
    signs = shapeopt.extract_surface(network).signs
    nowhere = torch.full((len(signs.vertex_zeros), 3), torch.nan, dtype=torch.float64)
    for solver in solvers(network):
        _, holds, _ = solver.solve_vertices(
            nowhere, signs.vertex_zeros.long(), signs.vertex_plus_bits
        )
        assert not holds.any()
