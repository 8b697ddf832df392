"""Tracing that goes on from the last surface must give the surface of a cold start."""

import dataclasses

import pytest
import torch
from torch import nn

import shapeopt
from shapeopt.complex.differentiate import outputs_at
from shapeopt.extraction.tracing.assemble import assemble
from shapeopt.extraction.tracing.seeds import find_seeds
from shapeopt.extraction.tracing.trace import follow, starts_at
from shapeopt.extraction.tracing.warm_start import moved, solve_again
from tests.extraction.tracing.comparing import (
    BACKENDS,
    assert_same,
    cells,
    centred_mlp,
    fit_step,
    solver_of,
    tracer_of,
    trained_mlp,
)
from tests.sample_networks import octahedron

pytestmark = pytest.mark.filterwarnings("error:edge subdivision was used")
"""Tracing that gives up would be right here by falling back."""


@pytest.mark.thorough
@pytest.mark.parametrize(
    ("dimension", "rate", "backend"),
    [
        (3, 1e-3, "compiled"),
        (3, 1e-2, "compiled"),
        (3, 1e-2, "plain"),
        (2, 3e-3, "plain"),
    ],
)
def test_warm_start_equals_subdivision_in_every_step(dimension, rate, backend):
    torch.manual_seed(0)
    network = shapeopt.sdf_network(12, 2, dimension)
    optimiser = torch.optim.Adam(network.parameters(), lr=rate)
    generator = torch.Generator().manual_seed(0)
    tracer = tracer_of(network, search_every=1000, backend=backend)
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


@pytest.mark.parametrize("backend", BACKENDS)
def test_warm_start_survives_a_jump_and_finds_new_components(backend):
    network = trained_mlp(3, 12, 12, 1, seed=1, steps=100)
    other = trained_mlp(3, 12, 12, 1, seed=2, steps=100)
    tracer = tracer_of(network, search_every=1, backend=backend)
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


def test_another_network_starts_cold():
    extractor = shapeopt.Tracing()
    networks = [centred_mlp(3, 12, 12, 1, seed=seed) for seed in (1, 2)]
    with torch.no_grad():
        for network in networks:
            surface = shapeopt.extract_surface(network, extractor=extractor)
        cold = shapeopt.extract_surface(network, extractor=shapeopt.Tracing())
    assert torch.equal(surface.vertices, cold.vertices)


def gradient_of(surface: shapeopt.PolyhedralSurface, network: nn.Module) -> tuple:
    """Of edge lengths and angles, to the weights."""
    measured = surface.edge_lengths().sum() + surface.dihedral_angles()[0].sum()
    return torch.autograd.grad(measured, list(network.parameters()), allow_unused=True)[:-1]


def test_vertices_that_are_solved_far_away_stay_and_have_their_own_outputs():
    network = centred_mlp(3, 12, 9, 1, seed=0)
    solver = solver_of(network, "compiled")
    found = assemble(solver, follow(solver, starts_at(solver, find_seeds(solver, 8))))
    vertices = solve_again(solver, found, torch.float64)
    shifted = found.vertices.clone()
    shifted[3] += 1e-6
    after, known = moved(solver, dataclasses.replace(found, vertices=shifted), vertices)
    expected = vertices.where.positions.clone()
    expected[3] = shifted[3]
    assert torch.equal(after.vertices, expected)
    given = solver.layers, solver.constraints, expected, found.signs.vertex_plus_bits
    assert torch.allclose(known.where.outputs, outputs_at(*given), rtol=0, atol=1e-12)
    assert (known.where.outputs - vertices.where.outputs)[3].abs().max() > 1e-8


def test_a_warm_start_is_a_cold_one_bit_for_bit():
    torch.manual_seed(0)
    network = shapeopt.sdf_network(12, 2)
    optimiser = torch.optim.Adam(network.parameters(), 3e-3)
    generator = torch.Generator().manual_seed(0)
    tracing = shapeopt.Tracing()
    for _ in range(10):
        warm = shapeopt.extract_surface(network, extractor=tracing, dtype=torch.float64)
        cold = shapeopt.extract_surface(network, method="trace", dtype=torch.float64)
        for name in ("vertices", "edges", "face_offsets", "face_vertices", "face_normals"):
            assert torch.equal(getattr(warm, name), getattr(cold, name)), name
        one, other = (gradient_of(surface, network) for surface in (warm, cold))
        assert all(torch.equal(*pair) for pair in zip(one, other, strict=True))
        fit_step(network, optimiser, torch.zeros(1, 3), generator, radius=0.3)


@pytest.mark.parametrize("backend", BACKENDS)
def test_normals_after_a_step_are_those_of_the_new_weights(backend):
    network = trained_mlp(3, 10, 10, 1, seed=4).double()
    tracer = tracer_of(network, backend=backend)
    torch.manual_seed(0)
    with torch.no_grad():
        before = tracer().face_normals
        network[0].weight += 1e-6 * torch.randn_like(network[0].weight)
        warm, cold = tracer(), shapeopt.extract_surface(network, method="trace")
    assert len(warm.face_normals) == len(before)
    assert torch.allclose(warm.face_normals, cold.face_normals, rtol=0, atol=1e-12)
    assert not torch.allclose(warm.face_normals, before, rtol=0, atol=1e-9)


@pytest.mark.parametrize("backend", BACKENDS)
def test_warm_start_has_the_gradient_of_a_cold_start(backend):
    network = trained_mlp(3, 10, 10, 1, seed=4).double()
    tracer = tracer_of(network, backend=backend)
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
